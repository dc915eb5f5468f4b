"""The backbone ``transformer``: couplings on patches whose conditioners are attention blocks.

- `linearizer_transformer.config.TransformerConfig`: its options
- `linearizer_transformer.backbone.transformer_backbone`: makes it
- `linearizer_transformer.hooks`: registers it
"""
