"""Six studies of trained models, and a quick check-up.

- `linearizer_studies.interpolation`: straight lines in the induced space against lines in pixels
- `linearizer_studies.invertibility`: round trips under stress, information loss, collisions, checkpoints
- `linearizer_studies.integration`: collapse, loop and exact solution over T, solver and terminal rule
- `linearizer_studies.rank`: quality, cost and condition number over the rank
- `linearizer_studies.nullspace`: what f does not see, what it cannot make, and what it can therefore represent
- `linearizer_studies.spectrum`: singular values and singular vectors as pictures
- `linearizer_studies.doctor`: the quick parts as signatures of failure, each with a number, a threshold and advice
- `linearizer_studies.config`: options, torch-free; `linearizer_studies.hooks`: registers them
- `linearizer_studies.examples`, `linearizer_studies.triplets`, `linearizer_studies.refusals`, `linearizer_studies.words`: what they share
"""
