"""MACE models: the calculator and batches."""
import json
import pickle

import numpy as np
import pytest
from ase import Atoms
from conftest import ROOT

import acerust

GOLDEN = ROOT / "test" / "golden" / "mace" / "models"


def golden(name):
    """The model, and the atoms with results that mace-torch has for it."""
    data = json.loads((GOLDEN / f"{name}.json").read_text())
    model = acerust.Model(GOLDEN / f"{name}.json")
    return model, [(Atoms(s["numbers"], s["positions"], cell=s["cell"], pbc=s["pbc"]), s) for s in data["structures"]]


@pytest.mark.parametrize("name", ["off_like", "mp0_like", "one_layer"])
def test_golden(name):
    model, structures = golden(name)
    calc = acerust.Calculator(model)
    for (atoms, expected), batch in zip(structures, acerust.evaluate([s[0] for s in structures], model)):
        assert calc.get_property("energy", atoms) == pytest.approx(expected["energy"], rel=1e-10)
        np.testing.assert_allclose(calc.get_property("forces", atoms), expected["forces"], atol=1e-9)
        np.testing.assert_allclose(batch["energy"], expected["energy"], rtol=1e-10)
        np.testing.assert_allclose(batch["forces"], expected["forces"], atol=1e-9)
        if all(atoms.pbc):
            stress = np.array(expected["stress"])
            np.testing.assert_allclose(calc.get_property("stress", atoms), stress.reshape(9)[[0, 4, 8, 5, 2, 1]], atol=1e-10)
        assert calc.get_property("descriptors", atoms).shape[0] == len(atoms)
    twin = pickle.loads(pickle.dumps(calc))
    assert twin.get_property("energy", atoms) == calc.get_property("energy", atoms)


def test_conditions():
    model, structures = golden("off_like")
    atoms = structures[0][0]
    assert model.heads == ["Default"]
    calc = acerust.Calculator(model, head="Default")
    energy = calc.get_property("energy", atoms)
    # A head of other models does not matter where one is said; alone it does.
    atoms.info["head"] = "dft"
    assert calc.get_property("energy", atoms) == energy
    with pytest.raises(acerust.errors.ArgumentError, match="dft"):
        acerust.Calculator(model).get_property("energy", atoms)
    with pytest.raises(acerust.errors.ArgumentError, match="structure 0.*dft"):
        acerust.evaluate([atoms], model)
    with pytest.raises(acerust.errors.ArgumentError, match="'dft'.*Default"):
        acerust.Calculator(model, head="dft")
    plan, arrays = acerust.Plan(model), (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    for bad, message in [({"heads": "Default"}, "none of head"), ({"total_charge": 0.5}, "whole"), ({"head": 1}, "text")]:
        with pytest.raises(acerust.errors.ArgumentError, match=message):
            plan.evaluate(*arrays, conditions=bad)
    whole = [plan.evaluate(*arrays, conditions={"total_charge": charge})["energy"] for charge in (0, 0.0, np.int32(0), np.float64(0))]
    assert plan.heads == model.heads and len(set(whole)) == 1
    with pytest.raises(acerust.errors.ArgumentError, match="2 for 1"):
        plan.evaluate_batch([arrays], conditions=[{}, {}])


def test_linear_fits_are_refused():
    model, structures = golden("one_layer")
    atoms = structures[0][0]
    with pytest.raises(acerust.errors.Error, match="linear"):
        acerust.rows([atoms], model)
    with pytest.raises(acerust.errors.Error):
        acerust.Plan(model).set_committee([[1.0]])
    with pytest.raises(acerust.errors.Error, match="parts"):
        model.extract([0])
