"""Energies, forces and virials are those of the library, on any number of processes."""
from dataclasses import replace

import numpy as np
import pytest
from lammps_runs import NKTV2P, PACE, PLACES, close, crystal, expected, lammps, like_the_library, random_system, report, results, setup

SYSTEMS = [
    random_system("bulk", "sio_o2", ["Si", "O"], (11, 12, 13), seed=1),
    random_system("types", "sio_o2", ["Si", "O", "Si", "O", "O"], (10, 10, 10), seed=2),
    random_system("alloy", "hea_bench", ["Cr", "Ni", "Mn", "Co", "Fe"], (9, 10, 11), density=0.05, seed=3),
    random_system("triclinic", "sio_o2", ["O", "Si"], (11, 10, 9), tilt=(3.1, -2.4, 4.0), seed=4),
    random_system("slab", "sio_o2", ["Si", "O"], (10, 11, 14), pbc=(1, 1, 0), inside=0.5, seed=5),
    random_system("tilted_slab", "sio_o2", ["Si", "O"], (10, 11, 14), tilt=(4.0, 0, 0), pbc=(1, 1, 0), inside=0.5, seed=6),
    random_system("wire", "sio_o2", ["Si", "O"], (13, 12, 9), pbc=(0, 0, 1), inside=0.5, seed=7),
    random_system("cluster", "sio_o2", ["Si", "O"], (14, 13, 12), pbc=(0, 0, 0), inside=0.5, seed=8),
    random_system("images", "sio_o2", ["Si", "O"], (4.5, 5.0, 6.0), seed=9),
    random_system("tilted_images", "sio_o2", ["Si", "O"], (4.0, 4.5, 5.0), tilt=(1.9, -1.4, 2.1), seed=10),
    random_system("one_atom", "sio_o2", ["Si", "O"], (3.0, 3.2, 3.4), density=0.01, seed=11),
    random_system("isolated", "sio_o2", ["Si", "O"], (30, 30, 30), pbc=(0, 0, 0), density=2e-4, inside=10.0, seed=12),
]
GRIDS = [(1, None, "on"), (1, None, "off"), (2, "1 1 2", "on"), (2, "1 2 1", "off"), (4, "1 2 2", "on"), (4, "4 1 1", "off"), (8, "2 2 2", "on")]


@pytest.mark.parametrize("processes,grid,newton", GRIDS)
def test_values_of_the_library(tmp_path, processes, grid, newton):
    commands = []
    for system in SYSTEMS:
        # Fixed walls as well as those that shrink around the atoms.
        boundary = None if newton == "on" else " ".join("fp"[p] for p in system.pbc)
        commands += setup(tmp_path, system, newton=newton, boundary=boundary, processors=grid)
        commands += ["compute e all pe/atom", "run 0", *report(system.name, tmp_path, "id fx fy fz c_e")]
    found = results(tmp_path, lammps(tmp_path, commands, processes))
    for system in SYSTEMS:
        like_the_library(found[system.name], system, 1e-12)


@pytest.mark.parametrize("style,options", [
    ("acerust precision f32", ["--precision", "f32"]),
    ("acerust radial 1e-8", ["--radial", "table=1e-8"]),
    ("acerust threads 2", []),
])
def test_options(tmp_path, style, options):
    system = random_system("options", "sio_o2", ["Si", "O"], (10, 11, 12), seed=20)
    output = lammps(tmp_path, [*setup(tmp_path, system, style), "run 0", *report("options", tmp_path)], 2)
    found, reference = results(tmp_path, output)["options"], expected(system, options)
    # In f32 the order of neighbours shows.
    tolerance = 1e-5 if "f32" in style else 1e-10
    close(found["dump"], reference["forces"], tolerance)
    exact = expected(system)
    assert options == [] or np.max(np.abs(exact["forces"] - found["dump"])) > 1e-12


@pytest.mark.parametrize("name,elements,extension", [("si-rank4", ["Si"], "yace"), ("cuzr-zbl", ["Zr", "Cu"], "yace"), ("cuzr-zbl", ["Cu", "Zr"], "yaml")])
def test_potentials_of_pacemaker(tmp_path, name, elements, extension):
    """`pair_coeff * * potential.yace Si`, as `pair_style pace` has it."""
    system = random_system("pace", "sio_o2", elements, (10, 11, 12), seed=26)
    system = replace(system, model=str(PACE / f"{name}.{extension}"))
    for style, options in [("acerust", []), ("acerust radial pace-table", ["--radial", "pace-table"])]:
        commands = [*setup(tmp_path, system, style), "run 0", *report("pace", tmp_path)]
        reference = expected(system, options)
        for processes in (1, 2):
            found = results(tmp_path, lammps(tmp_path, commands, processes))["pace"]
            close(found["energy"], reference["energy"], 1e-12)
            close(found["dump"], reference["forces"], 1e-10)
            close(found["virial"], reference["virial"], 1e-10)


def test_an_empty_process_and_an_empty_box(tmp_path):
    """All atoms on one of four processes; then none at all."""
    system = random_system("corner", "sio_o2", ["Si", "O"], (40, 40, 40), pbc=(1, 1, 1), density=0, seed=21)
    system.positions = np.array([[1.0, 1.0, 1.0], [2.5, 1.2, 0.8], [1.1, 2.9, 1.0]])
    system.types = np.array([1, 2, 2])
    commands = setup(tmp_path, system) + ["run 0", *report("corner", tmp_path)]
    commands += ["delete_atoms group all", "run 0", 'print "EMPTY $(pe)"']
    # None of the atoms of some processes are ours.
    system = replace(system, name="none")
    coefficients = [f"* * acerust {system.model} Si NULL", "* * zero"]
    commands += setup(tmp_path, system, "hybrid/overlay acerust zero 5.0", coefficients=coefficients)
    commands += ["run 0", *report("none", tmp_path)]
    output = lammps(tmp_path, commands, 4)
    found, reference = results(tmp_path, output)["corner"], expected(system)
    assert np.all(results(tmp_path, output)["none"]["dump"] == 0)
    close(found["energy"], reference["energy"], 1e-12)
    close(found["dump"], reference["forces"], 1e-10)
    assert "EMPTY 0" in output


def test_types_of_others(tmp_path):
    """`hybrid/overlay`: elements named NULL belong to another style, and pairs of both add up."""
    system = random_system("hybrid", "sio_o2", ["Si", "O", "Si"], (11, 11, 11), seed=22)
    model, commands = system.model, []
    for newton in ["on", "off"]:
        for tag, style, coefficients in [
            ("sum", "hybrid/overlay acerust lj/cut 5.0", [f"* * acerust {model} Si O Si", "* * lj/cut 0.01 2.0"]),
            ("lj", "lj/cut 5.0", ["* * 0.01 2.0"]),
            ("part", "hybrid/overlay acerust lj/cut 5.0", [f"* * acerust {model} Si NULL Si", "* * lj/cut 0.01 2.0"]),
        ]:
            commands += setup(tmp_path, system, style, newton=newton, coefficients=coefficients)
            commands += ["run 0", *report(f"{tag}_{newton}", tmp_path)]
    silicon = system.types != 2
    whole, part = expected(system), expected(replace(system, positions=system.positions[silicon], types=system.types[silicon]))
    for processes in (1, 4):
        found = results(tmp_path, lammps(tmp_path, commands, processes))
        for newton in ["on", "off"]:
            total, lj, some = (found[f"{tag}_{newton}"] for tag in ("sum", "lj", "part"))
            close(total["energy"], whole["energy"] + lj["energy"], 1e-12)
            close(total["dump"], whole["forces"] + lj["dump"], 1e-10)
            close(total["virial"], whole["virial"] + lj["virial"], 1e-10)
            forces = lj["dump"].copy()
            forces[silicon] += part["forces"]
            close(some["energy"], part["energy"] + lj["energy"], 1e-12)
            close(some["dump"], forces, 1e-10)
            close(some["virial"], part["virial"] + lj["virial"], 1e-10)


def test_comm_styles(tmp_path):
    """Irregular tilings of the box."""
    system = crystal((3, 3, 3))
    commands = setup(tmp_path, system) + ["comm_style tiled", "balance 1.0 rcb", "run 0", *report("tiled", tmp_path)]
    found, reference = results(tmp_path, lammps(tmp_path, commands, 4))["tiled"], expected(system)
    close(found["energy"], reference["energy"], 1e-12)
    close(found["dump"], reference["forces"], 1e-10)


@pytest.mark.parametrize("newton", ["on", "off"])
def test_virials_of_atoms(tmp_path, newton):
    """Their sums are the virial; those in the centroid form carry the heat: Σ_j W_j v_j is the change of Σ_i x_i E_i, finite differences say."""
    system = random_system("heat", "sio_o2", ["Si", "O"], (12, 12, 12), pbc=(0, 0, 0), inside=2.5, seed=23)
    velocities, h = np.random.default_rng(24).normal(size=system.positions.shape), 1e-5
    computes = ["compute s all stress/atom NULL virial", "compute c all centroid/stress/atom NULL virial", "compute e all pe/atom"]
    columns = "id fx fy fz c_e " + " ".join(f"c_s[{k}]" for k in range(1, 7)) + " " + " ".join(f"c_c[{k}]" for k in range(1, 10))
    commands = setup(tmp_path, system, newton=newton) + computes + ["run 0", *report("heat", tmp_path, columns)]
    reference = results(tmp_path, lammps(tmp_path, commands, 1))["heat"]
    for n in (2, 4):
        found = results(tmp_path, lammps(tmp_path, commands, n))["heat"]
        close(found["dump"], reference["dump"], 1e-11)
    forces, pairs, centroid = (reference["dump"][:, part] for part in (slice(0, 3), slice(4, 10), slice(10, 19)))
    pairs, centroid = -pairs / NKTV2P, -centroid / NKTV2P
    total = np.array([reference["virial"][place] for place in PLACES])
    close(pairs.sum(axis=0), total, 1e-10)
    close(centroid[:, :6].sum(axis=0), total, 1e-10)
    carried = np.zeros(3)
    for k, (a, b) in enumerate([*PLACES, (1, 0), (2, 0), (2, 1)]):
        carried[a] += centroid[:, k] @ velocities[:, b]
    ahead, behind = (expected(replace(system, positions=system.positions + s * h * velocities))["site_energies"] for s in (1, -1))
    change = (ahead - behind) / (2 * h) + np.sum(forces * velocities, axis=1)
    close(carried, system.positions.T @ change, 1e-7)
