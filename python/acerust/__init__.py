"""Interatomic potentials of the atomic cluster expansion (ACE) at hardware speed.

>>> import acerust
>>> model = acerust.Model("benchmark/models/si_fit.json")
>>> atoms.calc = acerust.Calculator(model)          # ASE
>>> plan = acerust.Plan(model)                      # plain arrays
>>> plan.evaluate([14, 14], [[0, 0, 0], [0, 0, 2.3]])["energy"]

Units are eV and Å. Calls let other Python threads run; plans may be shared by them.
"""

from . import errors
from ._acerust import Model, Neighbours, Plan, __version__
from .errors import Error

__all__ = ["Calculator", "Error", "Model", "Neighbours", "Plan", "__version__", "errors", "evaluate", "rows"]


def __getattr__(name):
    # ASE is needed for its calculator alone.
    if name == "Calculator":
        from .calculator import Calculator

        return Calculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _arrays(atoms):
    return atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc


def evaluate(images, plan, outputs=("energy", "forces", "virial")):
    """Evaluates many ASE Atoms: a list of dictionaries of outputs, as of `Plan.evaluate`. `plan` may be a model as well."""
    plan = plan if isinstance(plan, Plan) else Plan(plan)
    return plan.evaluate_batch([_arrays(atoms) for atoms in images], list(outputs))


def rows(images, plan):
    """The design rows of many ASE Atoms, as of `Plan.rows`. `plan` may be a model as well."""
    plan = plan if isinstance(plan, Plan) else Plan(plan)
    return [plan.rows(*_arrays(atoms)) for atoms in images]
