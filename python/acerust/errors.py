"""What goes wrong; every message names the culprit."""


class Error(Exception):
    """Any error of the library."""


class IoError(Error, OSError):
    """A file could not be read or written."""


class ModelError(Error, ValueError):
    """A model file is malformed or inconsistent."""


class StructureError(Error, ValueError):
    """A structure is malformed."""


class GraphError(Error, ValueError):
    """A neighbour graph is inconsistent or cannot be built."""


class ArgumentError(Error, ValueError):
    """An argument has the wrong shape or value."""


class DeviceError(Error, RuntimeError):
    """The device cannot do what was asked."""


class MemoryError(Error, MemoryError):  # noqa: A001
    """More memory than there is."""


class NotFiniteError(Error, ArithmeticError):
    """A result is not a finite number."""


class RecipeError(Error, ValueError):
    """A recipe is malformed, or asks for what cannot be built."""


class FitError(Error, RuntimeError):
    """A fit lacks data or has no solution; a file of a fit is something else."""
