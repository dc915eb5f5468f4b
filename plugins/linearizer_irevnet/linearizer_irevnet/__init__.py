"""The backbone ``irevnet``: bottleneck couplings and invertible downsampling.

- `linearizer_irevnet.config.IRevNetConfig`: its options
- `linearizer_irevnet.backbone.irevnet_backbone`: makes it
- `linearizer_irevnet.bottleneck.BottleneckConditioner`: what moves one half of the channels
- `linearizer_irevnet.hooks`: registers it
"""
