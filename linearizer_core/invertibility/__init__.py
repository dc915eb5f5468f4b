"""How invertible a network is in floating point. Every measure takes a bijection and a batch, draws no global random number and changes nothing.

Round trips
    `round_trip`, `latent_round_trip` (both give a `RoundTrip`), `logdet_error` (`LogDetError`)
How errors grow
    `gain` (`Gain`): the largest singular values of the Jacobians of g and of g^-1
One latent for two inputs
    `collisions` (`Collisions`)
Which layer
    `measure_layers`, `worst_layer` (`LayerMeasure`)
Where to look
    `far_off_inputs`, `adversarial`
"""

from linearizer_core.invertibility.collisions import Collisions, collisions
from linearizer_core.invertibility.gain import Gain, gain
from linearizer_core.invertibility.inputs import adversarial, far_off_inputs
from linearizer_core.invertibility.layers import LayerMeasure, measure_layers, worst_layer
from linearizer_core.invertibility.logdet import LogDetError, logdet_error
from linearizer_core.invertibility.round_trip import RoundTrip, latent_round_trip, round_trip

__all__ = [
    "Collisions",
    "Gain",
    "LayerMeasure",
    "LogDetError",
    "RoundTrip",
    "adversarial",
    "collisions",
    "far_off_inputs",
    "gain",
    "latent_round_trip",
    "logdet_error",
    "measure_layers",
    "round_trip",
    "worst_layer",
]
