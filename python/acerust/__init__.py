"""Interatomic potentials of the atomic cluster expansion (ACE) at hardware speed.

>>> import acerust
>>> model = acerust.Model("benchmark/models/si_fit.json")
>>> atoms.calc = acerust.Calculator(model)          # ASE
>>> plan = acerust.Plan(model)                      # plain arrays
>>> plan.evaluate([14, 14], [[0, 0, 0], [0, 0, 2.3]])["energy"]

Units are eV and Å. Calls let other Python threads run; plans may be shared by them.
"""

import json
from collections.abc import Mapping

from . import _acerust, errors
from ._acerust import Evaluation, LossScale, Model, Neighbours, Plan, Training, __version__
from .errors import Error

__all__ = [
    "Calculator",
    "Error",
    "Evaluation",
    "LossScale",
    "Model",
    "Neighbours",
    "Plan",
    "Training",
    "__version__",
    "errors",
    "evaluate",
    "fit",
    "rows",
]


def __getattr__(name):
    # ASE is needed for its calculator alone.
    if name == "Calculator":
        from .calculator import Calculator

        return Calculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _arrays(atoms):
    return atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc


def _conditions(atoms, heads, head=None):
    """What MACE models with such heads are told of atoms; a head of their own comes before `head`, if the model has it."""
    if not heads:
        return {}
    info = atoms.info
    found = {key: info[key] for key in ("total_charge", "total_spin") if key in info}
    own = info.get("head")
    head = own if own is not None and (head is None or own in heads) else head
    return found if head is None else {"head": head, **found}


def evaluate(images, plan, outputs=("energy", "forces", "virial")):
    """Evaluates many ASE Atoms: a list of dictionaries of outputs, as of `Plan.evaluate`. `plan` may be a model as well.

    For MACE models, `head`, `total_charge` and `total_spin` of the atoms' `info` count.
    """
    plan = plan if isinstance(plan, Plan) else Plan(plan)
    images, heads = list(images), plan.heads
    conditions = [_conditions(atoms, heads) for atoms in images]
    return plan.evaluate_batch([_arrays(atoms) for atoms in images], list(outputs), conditions)


def rows(images, plan):
    """The design rows of many ASE Atoms, as of `Plan.rows`. `plan` may be a model as well."""
    plan = plan if isinstance(plan, Plan) else Plan(plan)
    return [plan.rows(*_arrays(atoms)) for atoms in images]


def fit(recipe, images, active_set=False, device="cpu"):
    """Fits the model of a recipe to ASE Atoms with energies, forces and stresses.

    `recipe`: a dictionary, or the name of a .toml or .json file, as in docs/fit.md; its section `fit` has data, weights, prior, solver
    and committee. Data are those of the atoms' calculators, or what `info` and `arrays` hold under the names of that section. `device`: cpu, cuda or
    cuda:N, where design rows are computed and factorised.

    Returns a dictionary: `model`; `committee` (members, length_basis); `active_set`, bytes where it is asked for; `errors` by group,
    root-mean-square; `skipped`, frames that were not used, by reason; `rows`, how many equations there were.
    """
    if isinstance(recipe, Mapping):
        return _acerust.fit(json.dumps(recipe), list(images), active_set, device)
    with open(recipe, encoding="utf-8") as file:
        return _acerust.fit(file.read(), list(images), active_set, device)
