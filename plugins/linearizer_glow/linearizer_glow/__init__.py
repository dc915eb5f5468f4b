"""The backbone ``glow``: ActNorm, invertible 1x1 mixing and couplings over several scales.

- `linearizer_glow.config.GlowConfig`: its options
- `linearizer_glow.backbone.glow_backbone`: makes it
- `linearizer_glow.hooks`: registers it
"""
