"""The backbone ``iresnet``: i-ResNet: contractive residual blocks, inverted by fixed point.

- `linearizer_iresnet.config.IResNetConfig`: its options
- `linearizer_iresnet.backbone.iresnet_backbone`: makes it
- `linearizer_iresnet.hooks`: registers it
"""
