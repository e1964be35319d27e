"""The calculator in ASE."""
import multiprocessing
import os
import pickle
import subprocess
import time

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from conftest import MODELS, ROOT, crystal, mixture

import acerust


def test_forces_and_stress_are_derivatives(silica):
    atoms = mixture(1)
    atoms.calc = acerust.Calculator(silica)
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)

    def energy(change):
        copy = atoms.copy()
        change(copy)
        copy.calc = atoms.calc
        return copy.get_potential_energy()

    h = 1e-4
    for atom, axis in [(0, 0), (3, 1), (7, 2)]:
        def move(copy, step, atom=atom, axis=axis):
            copy.positions[atom, axis] += step

        slope = (energy(lambda c: move(c, h)) - energy(lambda c: move(c, -h))) / (2 * h)
        assert forces[atom, axis] == pytest.approx(-slope, rel=1e-5, abs=1e-5)
    for a, b in [(0, 0), (1, 2), (0, 2)]:
        def strain(copy, step, a=a, b=b):
            change = np.eye(3)
            change[a, b] += step
            copy.set_cell(copy.cell.array @ change, scale_atoms=True)

        slope = (energy(lambda c: strain(c, h)) - energy(lambda c: strain(c, -h))) / (2 * h)
        assert stress[a, b] * atoms.get_volume() == pytest.approx(slope, rel=1e-5, abs=1e-4)


def test_properties(silica):
    atoms, plan = mixture(2), acerust.Plan(silica)
    atoms.calc = calc = acerust.Calculator(plan)
    expected = plan.evaluate(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, ["energy", "site_energies", "forces", "virial", "descriptors"])
    assert atoms.get_potential_energy() == expected["energy"] == atoms.get_potential_energy(force_consistent=True)
    np.testing.assert_allclose(atoms.get_potential_energies(), expected["site_energies"], rtol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), -expected["virial"] / atoms.get_volume(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(calc.get_property("descriptors", atoms), expected["descriptors"], rtol=1e-11, atol=1e-11)
    # All of these are there at once, and copies.
    assert not calc.calculation_required(atoms, ["energy", "forces", "stress", "stresses", "descriptors"])
    atoms.get_forces()[:] = 0
    assert np.any(atoms.get_forces() != 0)
    assert calc.atoms == Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    with pytest.raises(PropertyNotImplementedError):
        calc.get_property("dipole", atoms)


def test_what_changes_is_computed_anew(silica):
    atoms = mixture(3)
    atoms.calc = calc = acerust.Calculator(silica)

    def fresh():
        copy = atoms.copy()
        copy.calc = acerust.Calculator(silica)
        return copy.get_potential_energy(), copy.get_forces()

    def check():
        energy, forces = fresh()
        assert calc.calculation_required(atoms, ["energy"])
        assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-13)
        np.testing.assert_allclose(atoms.get_forces(), forces, rtol=1e-10, atol=1e-10)

    check()
    atoms.positions[2, 1] += 1e-9
    check()
    atoms.symbols[0] = "O" if atoms.symbols[0] == "Si" else "Si"
    check()
    atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=False)
    check()
    atoms.pbc = (True, False, True)
    check()
    del atoms[4]
    check()
    energy = atoms.get_potential_energy()
    calc.plan.set_linear_parameters(2 * silica.linear_parameters)
    assert calc.calculation_required(atoms, ["energy"]) and atoms.get_potential_energy() != energy
    calc.plan.set_linear_parameters(silica.linear_parameters)
    assert atoms.get_potential_energy() == energy
    # A failure leaves nothing behind.
    atoms.symbols[0] = "Ge"
    for _ in range(2):
        with pytest.raises(acerust.errors.ArgumentError, match="Ge"):
            atoms.get_potential_energy()
    assert calc.results == {}
    atoms.symbols[0] = "Si"
    check()


def test_molecules_have_no_stress(silicon):
    atoms = Atoms("Si2", [(0, 0, 0), (0, 0, 2.3)])
    atoms.calc = acerust.Calculator(silicon)
    assert np.abs(atoms.get_forces().sum(axis=0)).max() < 1e-12
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    empty = Atoms()
    empty.calc = acerust.Calculator(silicon)
    assert empty.get_potential_energy() == 0


def test_optimisers(silicon):
    reference = bulk("Si", "diamond", 5.47, cubic=True) * 2
    reference.calc = acerust.Calculator(silicon)
    for optimiser in (BFGS, FIRE):
        atoms = crystal(2, rattle=0.05)
        atoms.calc = acerust.Calculator(silicon)
        assert optimiser(atoms, logfile=None).run(fmax=1e-4, steps=500)
        assert atoms.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=1e-5)
    atoms = crystal(1, rattle=0.02)
    atoms.calc = acerust.Calculator(silicon)
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=500)
    assert np.abs(atoms.get_stress()).max() < 1e-5 and 5.3 < atoms.cell[0, 0] < 5.6


def test_elastic_constants_of_silicon(silicon):
    """From stresses and from energies: the same numbers, of cubic symmetry."""
    atoms = bulk("Si", "diamond", 5.43, cubic=True)
    atoms.calc = acerust.Calculator(silicon)
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6, steps=500)
    h, volume, zero = 2e-3, atoms.get_volume(), atoms.get_potential_energy()

    def strained(*voigt):
        xx, yy, zz, yz, xz, xy = voigt
        copy = atoms.copy()
        change = np.eye(3) + [[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]]
        copy.set_cell(atoms.cell.array @ change, scale_atoms=True)
        copy.calc = atoms.calc
        return copy

    def curvature(voigt):
        ahead, behind = (strained(*(sign * h * voigt)).get_potential_energy() for sign in (1, -1))
        return (ahead - 2 * zero + behind) / h**2 / volume / units.GPa

    unit = np.eye(6)
    c = np.array([(strained(*(h * u)).get_stress() - strained(*(-h * u)).get_stress()) / (2 * h) for u in unit]) / units.GPa
    np.testing.assert_allclose(np.diag(c), [curvature(u) for u in unit], rtol=2e-3)
    assert curvature(unit[0] + unit[1]) == pytest.approx(c[0, 0] + c[1, 1] + 2 * c[0, 1], rel=2e-3)
    np.testing.assert_allclose(c, c.T, atol=0.1)
    np.testing.assert_allclose([c[0, 0], c[3, 3], c[0, 1]], [c[2, 2], c[5, 5], c[1, 2]], rtol=1e-4)
    assert c[0, 0] > c[0, 1] > 0 and c[3, 3] > 0


def test_dynamics(silicon):
    def drift(step, n):
        atoms = crystal(2, rattle=0.02)
        atoms.calc = acerust.Calculator(silicon)
        MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(1))
        before = atoms.get_total_energy()
        VelocityVerlet(atoms, step * units.fs).run(n)
        return atoms.get_total_energy() - before

    # That of the integrator, of second order in the time step.
    assert 3.6 < drift(1.0, 50) / drift(0.5, 100) < 4.4
    atoms = crystal(2)
    atoms.calc = acerust.Calculator(silicon)
    Langevin(atoms, 1 * units.fs, temperature_K=300, friction=0.1, rng=np.random.default_rng(2)).run(300)
    assert 150 < atoms.get_temperature() < 500


def test_files_and_copies(silica, tmp_path):
    atoms = mixture(6)
    atoms.calc = acerust.Calculator(silica)
    atoms.get_stress()
    write(tmp_path / "atoms.extxyz", atoms)
    again = read(tmp_path / "atoms.extxyz")
    assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-7)
    twin = pickle.loads(pickle.dumps(atoms))
    assert twin.get_potential_energy() == atoms.get_potential_energy()
    options = acerust.Calculator(MODELS / "sio_o2.json", precision="f32", skin=0.2)
    twin = pickle.loads(pickle.dumps(options))
    assert (twin.plan.precision, twin.skin) == ("f32", 0.2)


def energy(calc, seed):
    atoms = crystal(2, seed=seed)
    atoms.calc = calc
    return os.getpid(), atoms.get_potential_energy(), float(np.abs(atoms.get_forces()).max())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(silicon, method):
    calc = acerust.Calculator(silicon, threads=2)
    expected = [energy(calc, k)[1:] for k in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap_async(energy, [(calc, k) for k in range(4)]).get(timeout=100)
    assert os.getpid() not in [pid for pid, *_ in found]
    np.testing.assert_allclose([values for _, *values in found], expected, rtol=1e-13)


def test_a_fork_has_the_parents_calculator(silicon):
    """Plan and list of the parent, whose threads a fork does not have."""
    calc = acerust.Calculator(silicon)
    atoms = crystal(3)
    atoms.calc = calc
    expected = atoms.get_forces()
    atoms.positions += 0.01
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        same = np.allclose(atoms.get_forces(), expected, atol=1e-9)
        os.write(writer, b"1" if same else b"0")
        os._exit(0)
    deadline = time.time() + 60
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.time() > deadline:
            os.kill(child, 9)
        time.sleep(0.01)
    os.close(writer)
    assert os.read(reader, 1) == b"1"


def test_uncertainty(tmp_path):
    """Grades and spreads, with files of the program."""
    program = os.environ.get("ACERUST", ROOT / "target" / "release" / "acerust")
    recipe = "elements = ['Si']\norder = 2\ndegree = 8\nrcut = 5.0\nE0 = { Si = -0.846 }\n"
    (tmp_path / "si.toml").write_text(recipe)
    data = ROOT / "benchmark" / "data" / "Si_test.extxyz"
    command = [program, "fit", "si.toml", data, "-o", "si.json", "--active-set", "si.asi", "--committee", "5"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    files = {"committee": tmp_path / "si.committee.npz", "active_set": tmp_path / "si.asi"}
    atoms = crystal(2, rattle=0.1)
    write(tmp_path / "frame.extxyz", atoms)
    command = [program, "eval", "si.json", "frame.extxyz", "--grade", "si.asi", "--committee", "si.committee.npz", "-o", "out.extxyz"]
    subprocess.run(command, cwd=tmp_path, check=True)
    expected = read(tmp_path / "out.extxyz")
    calc = acerust.Calculator(tmp_path / "si.json", **files)
    # The file has rounded positions.
    np.testing.assert_allclose(calc.get_property("grade", atoms), expected.arrays["grade"], rtol=1e-4)
    assert calc.get_property("energy_std", atoms) == pytest.approx(expected.info["energy_std"], rel=1e-4)
    np.testing.assert_allclose(calc.get_property("forces_std", atoms), expected.arrays["forces_std"], rtol=1e-3, atol=1e-6)
    twin = pickle.loads(pickle.dumps(calc))
    np.testing.assert_array_equal(twin.get_property("grade", atoms), calc.get_property("grade", atoms))
    calc.plan.set_active_set(None)
    with pytest.raises(acerust.errors.ArgumentError, match="no active set"):
        calc.get_property("grade", atoms)
    with pytest.raises(PropertyNotImplementedError):
        acerust.Calculator(tmp_path / "si.json").get_property("forces_std", atoms)
    for name, value, message in [("active_set", files["committee"], "is no element"), ("committee", files["active_set"], "parameters"),
                                 ("active_set", 3, "neither"), ("active_set", b"PK", "active set")]:
        with pytest.raises(acerust.errors.Error, match=message):
            acerust.Plan(acerust.Model(tmp_path / "si.json"), **{name: value})
