"""Pictures: image grids as files, panels and strips for reports, plots that belong to a saved model.

- `linearizer_core.figures.files`: single pictures in files, read and written
- `linearizer_core.figures.images`: what is an image, and a grid of images as one PNG
- `linearizer_core.figures.panels`: grids side by side and labelled strips, each with headings
- `linearizer_core.figures.curves`: curves with labelled axes
- `linearizer_core.figures.singular_values`: the spectrum of a collapsed operator, as bytes
- `linearizer_core.figures.training`: the curves of a training log, as bytes

They need torchvision and matplotlib, which the extra ``train`` brings; each module is imported on first use.
"""
