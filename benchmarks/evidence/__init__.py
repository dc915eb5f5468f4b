"""Models trained side by side under one budget, measured with one yardstick: the tables and figures of docs/evidence.

- `benchmarks.evidence.recipes`: what is compared: recipes, the trials they are chosen from, ablations, sizes
- `benchmarks.evidence.contender`: what a model has to offer to be compared
- `benchmarks.evidence.linearizers`, `benchmarks.evidence.likelihood`, `benchmarks.evidence.matching`: the contenders
- `benchmarks.evidence.budget`: from seconds to steps
- `benchmarks.evidence.yardstick`: quality of samples, the same for all
- `benchmarks.evidence.run`: one run, in a process of its own
- `benchmarks.evidence.plan`: which runs, in which order, how many at a time
- `benchmarks.evidence.page`: from records to docs/evidence
"""
