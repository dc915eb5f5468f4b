"""Image features: what the Frechet distance and perceptual losses compare.

- `linearizer_core.features.classifier`: the last hidden layer of a small classifier trained on the data itself
- `linearizer_core.features.perceptual`: feature maps of a pretrained timm model, and the distance between them
- `linearizer_core.features.pretrained`: the pooled last features of a pretrained timm model
"""
