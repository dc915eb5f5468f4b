"""Every error this framework raises on purpose.

Each message says three things: the value that was found, what was expected, and how to mend it.
All of them derive from `LinearizerError`, so one `except` clause catches what we raise and nothing else.
This module imports nothing heavy: the command line reports errors without loading torch.
"""


class LinearizerError(Exception):
    """Base class of all errors raised on purpose by this framework."""


# --- algebra ---------------------------------------------------------------------------------


class AlgebraError(LinearizerError):
    """The algebra does not allow the operation."""


class ShapeMismatchError(AlgebraError, ValueError):
    """Operands whose shapes do not fit together."""


class SpaceMismatchError(AlgebraError):
    """Two linearizers that do not share the induced space in which they would have to meet."""


class NotEndomorphismError(AlgebraError):
    """An operation that needs gx to be gy (powers, exponentials) on a map between two different spaces."""


class SingularOperatorError(AlgebraError):
    """The inverse of an operator that has none."""


class UndefinedPowerError(AlgebraError):
    """A power that does not exist over the reals, such as the square root of a reflection."""


class DenseLimitError(AlgebraError):
    """An unstructured operation that would form a dense matrix above the stated size."""


class NoTerminalLimitError(AlgebraError):
    """A propagator to t = 1 of a core that has no limit there."""


class StepSizeError(AlgebraError):
    """An adaptive time grid whose steps became too small or too many."""


class DivergedFlowError(AlgebraError):
    """A flow whose operator is not finite."""


class TruncationError(AlgebraError, ValueError):
    """A truncation to a rank that the operator cannot be cut to."""


class UnknownSolverError(AlgebraError, ValueError):
    """A solver name that the core does not offer."""


# --- bijections and conditions -----------------------------------------------------------------


class BijectionError(LinearizerError):
    """A bijection used outside its contract."""


class InputShapeError(BijectionError, ValueError):
    """An input whose shape is not the declared one."""


class InputDtypeError(BijectionError, ValueError):
    """An input that does not hold floating-point numbers."""


class NotInitializedError(BijectionError):
    """A data-dependent layer that is used before its first batch, or whose first batch is empty or holds NaN or infinities."""


class LogDetUnavailableError(BijectionError):
    """The log-determinant of a bijection that does not offer one."""


class SurjectivityError(BijectionError):
    """An operation that needs a bijection onto the whole latent space, on an injective map that is not."""


class ConvergenceError(BijectionError):
    """An iterative inverse that did not reach its tolerance."""


class SecondDerivativeError(BijectionError, RuntimeError):
    """The gradient of a gradient, through a map that can be differentiated once."""


class LatticeError(BijectionError, ValueError):
    """A number that lies off the lattice, or beyond its range."""


class ConditionError(LinearizerError, ValueError):
    """A condition that is missing, of the wrong shape, or out of range."""


# --- plugins -----------------------------------------------------------------------------------


class PluginError(LinearizerError):
    """Something is wrong with a plugin or with what it hands over."""


class UnknownNameError(PluginError, LookupError):
    """A name that no loaded plugin registered."""


class TargetError(PluginError):
    """A target of the form ``pkg.mod:Name`` that cannot be imported or is not what its spec says."""


# --- configuration, data, training, artifacts ----------------------------------------------------


class ConfigError(LinearizerError, ValueError):
    """A run configuration that cannot be used."""


class NoSamplesError(ConfigError):
    """Samples of a task that maps what it is given, and draws nothing."""


class DataError(LinearizerError):
    """Data that is missing, empty or malformed."""


class TrainingError(LinearizerError):
    """Training that cannot go on."""


class NonFiniteLossError(TrainingError):
    """A loss that is NaN or infinite."""


class CheckpointError(TrainingError):
    """A checkpoint that is missing, truncated or belongs to another run."""


class ArtifactError(LinearizerError):
    """A saved model that is truncated, edited, of a future format or not a linearizer."""


class HubError(LinearizerError):
    """The Hub cannot be reached, refuses, holds something else, or what it sent cannot be kept."""


# --- conformance kit --------------------------------------------------------------------------------


class CheckFailure(LinearizerError, AssertionError):  # noqa: N818 (it is what a failing test raises)
    """A component that breaks a law of its kind."""


# --- warnings --------------------------------------------------------------------------------------


class InvertibilityWarning(UserWarning):
    """Training goes on, but a network loses its inverse in floating point; the message names the layer and the numbers."""


class CompilationWarning(UserWarning):
    """Networks could not be compiled, and run as they are; the message names the reason."""
