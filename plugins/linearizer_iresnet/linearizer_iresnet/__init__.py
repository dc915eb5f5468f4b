"""The backbone ``iresnet``: i-ResNet: contractive residual blocks, inverted by fixed point."""
