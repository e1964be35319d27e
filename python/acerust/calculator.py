"""The calculator of ASE."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as Base
from ase.calculators.calculator import PropertyNotImplementedError, all_changes

from . import _conditions
from ._acerust import Model, Plan
from .errors import ArgumentError

# What one pass over the atoms gives, by the names of the library.
FORCES = ["energy", "site_energies", "forces", "virial"]
MORE = ["committee_energies", "committee_site_energies", "committee_forces", "committee_virials", "grade", "descriptors"]
# Standard deviations over the committee, and what they are of.
SPREADS = {"energy_std": "committee_energies", "forces_std": "committee_forces"}
VOIGT = [0, 4, 8, 5, 2, 1]


def _volume(a, b, c):
    # Plain numbers: NumPy takes longer for so few.
    return abs(a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0]))


def _stress(virial, volume):
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = virial
    voigt = (xx, yy, zz, 0.5 * (yz + zy), 0.5 * (xz + zx), 0.5 * (xy + yx))
    return np.array([-v / volume for v in voigt])


class Calculator(Base):
    """Energy, free_energy, energies, forces, stress and stresses of a model, in ASE's units.

    `model` is a Model, a Plan, or the name of a model file; the options are those of Plan. The neighbour list is kept while no
    atom has moved by more than half the `skin` (Å). Committees, their standard deviations `energy_std` and `forces_std`, the
    extrapolation `grade` and `descriptors` come by these names: `calc.get_property("grade", atoms)`.

    MACE models are told `head`, `total_charge` and `total_spin` of the atoms' `info`; `head` is for atoms that name none the model has.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses", *MORE, *SPREADS]
    ignored_changes = {"initial_charges", "initial_magmoms"}

    def __init__(self, model, *, device="cpu", precision="f64", radial="auto", threads=0, committee=None, active_set=None, skin=0.5, head=None, **kwargs):
        if isinstance(model, Plan):
            self.plan = model
        else:
            model = model if isinstance(model, Model) else Model(model)
            self.plan = Plan(model, device, precision, radial, threads, committee, active_set)
        self.skin = skin
        self.head = head
        self._heads = self.plan.heads
        if head is not None and head not in self._heads:
            raise ArgumentError(f"head {head!r}: the model has {', '.join(self._heads) or 'none'}")
        self._neighbours = self.plan.neighbours(skin)
        # Those of the plan, and of the atoms, that the results have seen.
        self._changes, self._conditions = 0, {}
        # Who once asked for forces will want them at every step.
        self._outputs = FORCES[:2]
        super().__init__(**kwargs)

    @property
    def atoms(self):
        """The atoms of the last evaluation, a copy."""
        last = self._neighbours.last()
        return last and Atoms(last[0], positions=last[1], cell=last[2], pbc=last[3])

    @atoms.setter
    def atoms(self, atoms):
        if atoms is None:
            self._neighbours.forget()

    def check_state(self, atoms, tol=0.0):
        if self._holds(atoms):
            return []
        changes = super().check_state(atoms, tol)
        return changes or ["positions"]

    def calculation_required(self, atoms, properties):
        return not self._holds(atoms) or any(name not in self.results for name in properties)

    def get_property(self, name, atoms=None, allow_calculation=True):
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} property not implemented")
        if atoms is None:
            atoms = self.atoms
        elif not self._holds(atoms):
            self.results = {}
        if name not in self.results:
            if not allow_calculation:
                return None
            if atoms is None:
                raise RuntimeError("acerust.Calculator: no atoms to evaluate")
            self.calculate(atoms, [name])
        result = self.results[name]
        return result.copy() if isinstance(result, np.ndarray) else result

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        atoms = self.atoms if atoms is None else atoms
        spreads = [name for name in properties if name in SPREADS]
        if spreads and not len(self.plan.committee):
            raise PropertyNotImplementedError(f"{spreads[0]}: the calculator has no committee")
        more = [name for name in MORE if name in properties or name in map(SPREADS.get, spreads)]
        if any(name in ("forces", "stress", "stresses") for name in properties):
            self._outputs = FORCES
        outputs = self._outputs + (["site_virials"] if "stresses" in properties else []) + more
        cell = atoms.cell.array
        volume = _volume(*cell.tolist()) if "forces" in outputs else 0.0
        if volume == 0.0 and ("stress" in properties or "stresses" in properties):
            raise PropertyNotImplementedError("a stress needs a cell with a volume")
        known = self.results if self._holds(atoms) else {}
        self.results, self._changes = {}, self.plan.changes
        self._conditions = conditions = _conditions(atoms, self._heads, self.head)
        arrays = atoms.arrays
        found = self.plan.evaluate(arrays["numbers"], arrays["positions"], cell, atoms.pbc, outputs, self._neighbours, conditions)
        energies = found.pop("site_energies")
        results = known | {"energy": found["energy"], "free_energy": found["energy"], "energies": energies}
        virial, virials = found.pop("virial", None), found.pop("site_virials", None)
        if virial is not None and volume:
            results["stress"] = _stress(virial.tolist(), volume)
        if virials is not None:
            virials = (virials + virials.transpose(0, 2, 1)).reshape(-1, 9)
            results["stresses"] = virials[:, VOIGT] / (-2 * volume)
        results |= {name: found[SPREADS[name]].std(axis=0) for name in spreads}
        self.results = results | found

    def _holds(self, atoms):
        if self.plan.changes != self._changes or self._heads and _conditions(atoms, self._heads, self.head) != self._conditions:
            return False
        arrays = atoms.arrays
        return self._neighbours.holds(arrays["numbers"], arrays["positions"], atoms.cell.array, atoms.pbc)

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key != "_neighbours"} | {"results": {}}

    def __setstate__(self, state):
        self.__dict__.update(state, _changes=0)
        self._neighbours = self.plan.neighbours(self.skin)
