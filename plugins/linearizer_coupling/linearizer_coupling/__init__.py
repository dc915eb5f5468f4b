"""The backbone ``coupling``: an invertible network of affine, additive or spline couplings.

- `linearizer_coupling.config.CouplingConfig`: its options
- `linearizer_coupling.backbone.coupling_backbone`: makes it
- `linearizer_coupling.hooks`: registers it
"""
