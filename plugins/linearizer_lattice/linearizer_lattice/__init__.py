"""The backbone ``lattice``: additive couplings on a fixed-point grid, inverted bit for bit.

- `linearizer_lattice.config.LatticeConfig`: its options
- `linearizer_lattice.backbone.lattice_backbone`: makes it
- `linearizer_lattice.lattice.Lattice`: the numbers that it computes with
- `linearizer_lattice.ends`: `PixelEntry`, `GridEntry` and `LatticeExit`, the ways onto the lattice
- `linearizer_lattice.coupling.LatticeCoupling`: the brick
- `linearizer_lattice.exact_layers`, `linearizer_lattice.exact_conditioners`: networks whose sums are not rounded
- `linearizer_lattice.hooks`: registers it
"""
