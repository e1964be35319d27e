from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import acerust

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "benchmark" / "models"


@pytest.fixture(scope="session")
def silicon():
    return acerust.Model(MODELS / "si_fit.json")


@pytest.fixture(scope="session")
def silica():
    return acerust.Model(str(MODELS / "sio_o2.json"))


def crystal(repeat=2, rattle=0.08, seed=0):
    atoms = bulk("Si", "diamond", 5.47, cubic=True) * repeat
    atoms.rattle(rattle, seed=seed)
    return atoms


def mixture(seed=0, pbc=True):
    """Silicon and oxygen in a triclinic cell."""
    atoms = bulk("Si", "diamond", 5.0, cubic=True) * (2, 1, 1)
    rng = np.random.default_rng(seed)
    atoms.symbols = rng.choice(["Si", "O"], len(atoms))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(0.2, seed=seed)
    atoms.pbc = pbc
    return atoms
