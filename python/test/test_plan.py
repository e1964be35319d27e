"""Plain arrays in, plain arrays out."""
import json
import os
import pickle
import subprocess
import threading

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from conftest import MODELS, ROOT, crystal, mixture

import acerust

ALL = ["energy", "site_energies", "forces", "virial", "site_virials", "descriptors"]


def arrays(atoms):
    return atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc


def test_the_program_says_the_same(silica, tmp_path):
    frames = [mixture(k, pbc) for k, pbc in enumerate([True, False, (True, True, False), (False, False, True)])]
    write(tmp_path / "frames.extxyz", frames)
    program = os.environ.get("ACERUST", ROOT / "target" / "release" / "acerust")
    command = [program, "eval", MODELS / "sio_o2.json", tmp_path / "frames.extxyz", "--json"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    plan = acerust.Plan(silica)
    for atoms, line, batch in zip(frames, lines, acerust.evaluate(frames, plan, ALL), strict=True):
        expected = json.loads(line)
        found = plan.evaluate(*arrays(atoms), ALL)
        # The file has rounded positions.
        for name in ["energy", "site_energies", "forces", "virial"]:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-4)
        for name in ALL:
            np.testing.assert_allclose(batch[name], found[name], rtol=1e-11, atol=1e-11)
        assert np.sum(found["site_energies"]) == pytest.approx(found["energy"], rel=1e-14)
        np.testing.assert_allclose(found["site_virials"].sum(axis=0), found["virial"], rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("file", ["cho-chebpow.yace", "cuzr-zbl.yace", "si-rank4.yace"])
def test_pace_potentials(file):
    path = ROOT / "test" / "golden" / "pace" / file
    plan = acerust.Plan(acerust.Model(path))
    for s in json.loads(path.with_suffix(".json").read_text())["structures"]:
        atoms = Atoms(s["symbols"], s["positions"], cell=s["cell"], pbc=s["pbc"])
        found, expected = plan.evaluate(*arrays(atoms), ALL[:3]), s["exact"]
        np.testing.assert_allclose(found["site_energies"], expected["energies"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=1e-9)


def test_rows_and_parameters(silica):
    atoms, parameters = mixture(3), silica.linear_parameters
    plan = acerust.Plan(silica)
    rows = plan.rows(*arrays(atoms))
    found = plan.evaluate(*arrays(atoms))
    np.testing.assert_allclose(rows["forces"] @ parameters, found["forces"].ravel(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(rows["virial"] @ parameters, found["virial"].ravel(), rtol=1e-9, atol=1e-9)
    one_body = plan.evaluate(*arrays(atoms))["energy"] - rows["energy"] @ parameters
    other = silica.with_linear_parameters(2 * parameters)
    plan.set_linear_parameters(2 * parameters)
    assert plan.model == other and plan.model != silica
    twice = plan.evaluate(*arrays(atoms))
    assert twice["energy"] - one_body == pytest.approx(2 * (found["energy"] - one_body), rel=1e-12)
    np.testing.assert_allclose(twice["forces"], 2 * found["forces"], rtol=1e-11, atol=1e-11)


def test_committee(silica):
    atoms, own = mixture(4), silica.linear_parameters
    members = np.stack([own, 0.9 * own, 1.1 * own])
    plan = acerust.Plan(silica, committee=members)
    names = ["energy", "forces", "committee_energies", "committee_forces", "committee_virials", "committee_site_energies"]
    found = plan.evaluate(*arrays(atoms), names)
    assert found["committee_forces"].shape == (3, len(atoms), 3)
    assert found["committee_energies"][0] == pytest.approx(found["energy"], rel=1e-13)
    np.testing.assert_allclose(found["committee_forces"].mean(axis=0), found["forces"], rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(plan.committee, members)


def test_neighbours_are_kept(silicon):
    atoms, plan = crystal(), acerust.Plan(silicon)
    neighbours = plan.neighbours(0.4)
    for step in range(6):
        atoms.positions += 0.02 * np.random.default_rng(step).normal(size=(len(atoms), 3))
        kept = plan.evaluate(*arrays(atoms), neighbours=neighbours)
        fresh = plan.evaluate(*arrays(atoms))
        np.testing.assert_allclose(kept["forces"], fresh["forces"], rtol=1e-11, atol=1e-11)
        assert neighbours.holds(*arrays(atoms)) and not neighbours.holds(*arrays(atoms * (1, 1, 2)))
    assert 1 <= neighbours.builds < 6


def test_inputs_of_other_kinds(silicon):
    plan, atoms = acerust.Plan(silicon), crystal(1)
    reference = plan.evaluate(*arrays(atoms))
    for numbers in [atoms.numbers.astype(np.int32), list(map(int, atoms.numbers)), atoms.numbers.astype(np.uint8)]:
        for positions in [np.asfortranarray(atoms.positions), atoms.positions.tolist(), np.repeat(atoms.positions, 2, axis=0)[::2]]:
            found = plan.evaluate(numbers, positions, atoms.cell, True)
            np.testing.assert_array_equal(found["forces"], reference["forces"])
    molecule = plan.evaluate([14, 14], [[0, 0, 0], [0, 0, 2.3]])
    assert molecule["forces"].shape == (2, 3)
    empty = plan.evaluate([], np.zeros((0, 3)))
    assert empty["energy"] == 0 and empty["forces"].shape == (0, 3)


@pytest.mark.parametrize("call,error,message", [
    (lambda m, p: acerust.Model("nowhere.json"), acerust.errors.IoError, "nowhere.json"),
    (lambda m, p: acerust.Model.from_json("{}"), acerust.errors.ModelError, "model: "),
    (lambda m, p: acerust.Plan(m, "gpu"), acerust.errors.ArgumentError, "none of cpu, cuda"),
    (lambda m, p: acerust.Plan(m, precision="f8"), acerust.errors.ArgumentError, "precision"),
    (lambda m, p: acerust.Plan(m, precision="f24-radial"), acerust.errors.ArgumentError, "f24-radial: is for MACE models on CUDA devices"),
    (lambda m, p: acerust.Plan(m, radial="table=-1"), acerust.errors.ArgumentError, "tolerance -1"),
    (lambda m, p: p.evaluate([32], [[0, 0, 0]]), acerust.errors.ArgumentError, "atom 0 is Ge; the model knows Si"),
    (lambda m, p: p.evaluate([14, 0], np.zeros((2, 3))), acerust.errors.StructureError, "atom 1"),
    (lambda m, p: p.evaluate([14.5], [[0, 0, 0]]), acerust.errors.ArgumentError, "numbers"),
    (lambda m, p: p.evaluate([14], [[0, 0]]), acerust.errors.ArgumentError, "expected the shape (n, 3)"),
    (lambda m, p: p.evaluate([14], np.zeros((2, 3))), acerust.errors.ArgumentError, "2 positions for 1"),
    (lambda m, p: p.evaluate([14], [[0, 0, np.nan]]), acerust.errors.StructureError, "not finite"),
    (lambda m, p: p.evaluate([14, 14], np.zeros((2, 3))), acerust.errors.GraphError, "place"),
    (lambda m, p: p.evaluate([14], [[0, 0, 0]], np.zeros((3, 3)), True), acerust.errors.StructureError, "cell row 0"),
    (lambda m, p: p.evaluate([14], [[0, 0, 0]], outputs=["enrgy"]), acerust.errors.ArgumentError, '"enrgy"'),
    (lambda m, p: p.evaluate_batch([([14], [[0, 0, 0]], None, None), ([32], [[0, 0, 0]], None, None)]), acerust.errors.ArgumentError, "structure 1: "),
    (lambda m, p: p.set_linear_parameters([1.0]), acerust.errors.ArgumentError, "expected"),
    (lambda m, p: p.set_committee(np.zeros((2, 3))), acerust.errors.ArgumentError, "committee"),
    (lambda m, p: p.neighbours(-1), acerust.errors.ArgumentError, "skin -1"),
    (lambda m, p: m.extract([7]), acerust.errors.ArgumentError, "part 7"),
])
def test_errors(silicon, call, error, message):
    with pytest.raises(error) as caught:
        call(silicon, acerust.Plan(silicon))
    assert message in str(caught.value) and isinstance(caught.value, acerust.Error)


def test_models(silica, tmp_path):
    silica.save(tmp_path / "model.json")
    assert acerust.Model(tmp_path / "model.json") == silica == acerust.Model.from_json(silica.to_json())
    assert pickle.loads(pickle.dumps(silica)) == silica
    assert silica.elements == ["Si", "O"] and silica.species == [14, 8] and silica.rcut == 5.5
    assert silica.length_basis == 2 * silica.n_basis == len(silica.linear_parameters)
    assert silica.extract([0]).parts == ["onebody"] and "sio_o2" in repr(silica) and "cutoff" in silica.summary()


def test_plans_are_pickled_whole(silica):
    own, atoms = silica.linear_parameters, mixture(5)
    plan = acerust.Plan(silica, radial="table=1e-8", threads=2, committee=[own, 2 * own])
    plan.set_linear_parameters(1.5 * own)
    twin = pickle.loads(pickle.dumps(plan))
    assert (twin.radial, twin.threads, twin.device) == ("table=1e-8", 2, "cpu")
    for name in ["energy", "forces", "committee_energies"]:
        np.testing.assert_array_equal(*(p.evaluate(*arrays(atoms), [name])[name] for p in (plan, twin)))


def test_threads_share_a_plan_and_run_at_once(silicon):
    plan, frames = acerust.Plan(silicon, threads=1), [crystal(3, seed=k) for k in range(4)]
    expected = [plan.evaluate(*arrays(atoms))["forces"] for atoms in frames]
    found, inside = [None] * 4, []

    def work(k):
        for _ in range(5):
            found[k] = plan.evaluate(*arrays(frames[k]))["forces"]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        inside.append(1)  # the interpreter is free meanwhile
    assert len(inside) > 100
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


RECIPE = {"elements": ["Si"], "order": 2, "degree": 8, "rcut": 5.0, "E0": {"Si": -0.846},
          "fit": {"solver": {"type": "ridge", "lambda": 1e-5}, "weights": {"default": {"energy": 10, "force": 1}}, "committee": 4}}


def test_fits_are_those_of_the_program(tmp_path):
    """The same data from a file, from calculators, and from `info` and `arrays`."""
    data = ROOT / "benchmark" / "data" / "Si_test.extxyz"
    images = read(data, ":")
    fitted = acerust.fit(RECIPE, images, active_set=True)
    (tmp_path / "si.json").write_text(json.dumps(RECIPE))
    program = os.environ.get("ACERUST", ROOT / "target" / "release" / "acerust")
    subprocess.run([program, "fit", "si.json", data, "-o", "model.json"], cwd=tmp_path, check=True, capture_output=True)
    expected = acerust.Model(tmp_path / "model.json").linear_parameters
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(fitted["model"].linear_parameters, expected, atol=1e-7 * scale)
    assert fitted["committee"].shape == (4, len(expected)) and fitted["rows"] > 1000 and fitted["skipped"] == {}
    named = []
    for atoms in images:
        named.append(atoms.copy())
        named[-1].calc = None
        named[-1].info["dft_energy"], named[-1].arrays["dft_force"] = atoms.get_potential_energy(), atoms.get_forces()
    keys = {"energy_key": "DFT_energy", "force_key": "dft_force"}
    other = acerust.fit(RECIPE | {"fit": RECIPE["fit"] | keys}, named)
    np.testing.assert_array_equal(other["model"].linear_parameters, fitted["model"].linear_parameters)
    again = acerust.fit(tmp_path / "si.json", images)
    np.testing.assert_array_equal(again["model"].linear_parameters, fitted["model"].linear_parameters)
    assert again["active_set"] is None
    plan = acerust.Plan(fitted["model"], committee=fitted["committee"], active_set=fitted["active_set"])
    for found in acerust.evaluate(images, plan, ["grade"]):
        assert found["grade"].max() <= 1.002
    # What a plan computes is fitted to the same parameters.
    labelled = [atoms.copy() for atoms in images]
    for atoms, found in zip(labelled, acerust.evaluate(images, plan)):
        atoms.info = {"config_type": atoms.info["config_type"]}
        v = found["virial"] / -atoms.get_volume()
        stress = (v + v.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / 2
        atoms.calc = SinglePointCalculator(atoms, energy=found["energy"], forces=found["forces"], stress=stress)
    recipe = RECIPE | {"fit": {"solver": {"type": "ridge", "lambda": 1e-12}}}
    same = acerust.fit(recipe, labelled)
    assert all(error < 1e-5 for group in same["errors"].values() for error in group.values())
    with pytest.raises(acerust.errors.RecipeError, match="degre"):
        acerust.fit(RECIPE | {"degre": 3}, images)
    with pytest.raises(acerust.errors.FitError):
        acerust.fit(RECIPE, [])
    with pytest.raises(acerust.errors.ArgumentError, match='device "gpu": none of cpu'):
        acerust.fit(RECIPE, images, device="gpu")
    with pytest.raises(acerust.errors.DeviceError):
        acerust.fit(RECIPE, images, device="cuda:97")


def test_results_go_into_arrays_of_the_caller(silicon):
    atoms = crystal()
    plan, n = acerust.Plan(silicon, committee=np.tile(silicon.linear_parameters, (2, 1))), len(atoms)
    structure = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    shapes = {"forces": (n, 3), "site_energies": (n,), "site_virials": (n, 3, 3), "committee_forces": (2, n, 3)}
    expected = plan.evaluate(*structure, ["energy", "virial", *shapes])
    out = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    found = plan.evaluate_into(*structure[:2], out, *structure[2:])
    assert found["energy"] == expected["energy"]
    np.testing.assert_array_equal(found["virial"], expected["virial"])
    for name, array in out.items():
        np.testing.assert_array_equal(array, expected[name])
    alone = plan.evaluate_into(*structure[:2], {}, *structure[2:], plan.neighbours())
    assert alone == {"energy": pytest.approx(expected["energy"], rel=1e-13)}
    both = np.zeros((2 * n, 3))
    for wrong, message in [
        ({"forces": np.zeros((n, 3), np.float32)}, "forces: float32"),
        ({"forces": np.zeros((3, n)).T}, "side by side"),
        ({"forces": np.zeros((n - 1, 3))}, "forces: expected the shape"),
        ({"forces": [[0.0] * 3] * n}, "DLPack"),
        ({"forces": both[:n], "site_energies": both[n - 1 :].reshape(-1)[:n]}, "overlaps"),
        ({"energy": np.zeros(())}, "energy is returned"),
        ({"force": np.zeros((n, 3))}, "force"),
    ]:
        with pytest.raises(acerust.errors.ArgumentError, match=message):
            plan.evaluate_into(*structure[:2], wrong, *structure[2:])
