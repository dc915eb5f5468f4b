"""Trained linearizers: saved, found, loaded, applied."""

from linearizer_core.pretrained.address import LOCAL_PREFIX, artifact_folder, load, local_folder, uri_of
from linearizer_core.pretrained.hub.address import HUB_PREFIX
from linearizer_core.pretrained.model import Pretrained

__all__ = ["HUB_PREFIX", "LOCAL_PREFIX", "Pretrained", "artifact_folder", "load", "local_folder", "uri_of"]
