"""Options of the backbone ``irevnet``. Torch-free."""
