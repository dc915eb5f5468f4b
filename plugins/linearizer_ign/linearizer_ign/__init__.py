"""The idempotent network: a projector onto what data look like, exact by construction, that also generates."""
