"""The backbone ``irevnet``: i-RevNet: bottleneck couplings and invertible downsampling."""
