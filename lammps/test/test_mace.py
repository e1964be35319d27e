"""MACE models: features of ghosts travel between layers, or ghosts have neighbours of their own."""
from dataclasses import replace

import numpy as np
import pytest
from lammps_runs import NKTV2P, ROOT, close, expected, lammps, like_the_library, random_system, report, results, setup

OWN = ROOT / "test" / "mace"


def system(name, path, elements, lengths, **options):
    return replace(random_system(name, "sio_o2", elements, lengths, **options), model=str(path))


SYSTEMS = [
    system("bulk", OWN / "three_layers.json", ["Si", "O"], (14, 13, 12), seed=31),
    system("triclinic", OWN / "three_layers.json", ["O", "Si"], (12, 13, 14), tilt=(3.1, -2.4, 4.0), seed=32),
    system("slab", OWN / "three_layers.json", ["Si", "O"], (12, 13, 15), pbc=(1, 1, 0), inside=0.5, seed=33),
    system("cluster", OWN / "three_layers.json", ["Si", "O"], (14, 13, 12), pbc=(0, 0, 0), inside=0.5, seed=34),
    system("images", OWN / "three_layers.json", ["Si", "O"], (4.5, 5.0, 6.0), seed=35),
    system("types", OWN / "three_layers.json", ["Si", "O", "Si"], (12, 13, 12), seed=36),
]
GRIDS = [(1, None, "on"), (1, None, "off"), (2, "1 1 2", "on"), (2, "2 1 1", "off"), (4, "1 2 2", "on"), (4, "2 2 1", "off"), (8, "2 2 2", "on")]


def has_values_of_the_library(tmp_path, style, processes, grid, newton, tolerance):
    commands = []
    for s in SYSTEMS:
        commands += setup(tmp_path, s, style, newton=newton, processors=grid)
        commands += ["compute e all pe/atom", "compute s all stress/atom NULL virial", "run 0"]
        commands += report(s.name, tmp_path, "id fx fy fz c_e c_s[1] c_s[2] c_s[3]")
    found = results(tmp_path, lammps(tmp_path, commands, processes))
    for s in SYSTEMS:
        result = found[s.name]
        like_the_library(result, s, tolerance)
        # LAMMPS' stress of an atom is minus its virial, in bar Å³.
        close(-result["dump"][:, 4:].sum(axis=0) / NKTV2P, np.diag(result["virial"]), 1e-9, f"{s.name}: virials of atoms")


def follow_the_first(tmp_path, s, styles):
    """Pairs of words of the pair style and processes lead to the same positions and forces."""
    paths = []
    for style, processes in styles:
        commands = setup(tmp_path, s, f"acerust {style}") + ["fix 1 all nve", "timestep 0.0005", "thermo 20", "run 60"]
        output = lammps(tmp_path, commands + report("end", tmp_path, "id x y z fx fy fz"), processes)
        paths.append(results(tmp_path, output)["end"]["dump"])
    assert np.max(np.abs(paths[0][:, :3] - s.positions)) > 0.05
    for key, path in zip(styles[1:], paths[1:]):
        close(path, paths[0], 1e-7, f"{key}")


@pytest.mark.parametrize("ghosts", ["exchange", "wide"])
@pytest.mark.parametrize("processes,grid,newton", GRIDS)
def test_values_of_the_library(tmp_path, processes, grid, newton, ghosts):
    has_values_of_the_library(tmp_path, f"acerust ghosts {ghosts}", processes, grid, newton, 1e-11)


def test_ranks_follow_the_same_path(tmp_path):
    """Atoms come and go between processes, and lists are built anew."""
    s = SYSTEMS[0]
    rng = np.random.default_rng(1)
    s = replace(s, velocities=rng.normal(0, 3.0, s.positions.shape))
    follow_the_first(tmp_path, s, [("ghosts exchange", 1), ("ghosts exchange", 2), ("ghosts exchange", 4), ("ghosts exchange", 8), ("ghosts wide", 4)])


@pytest.mark.parametrize("name,elements,style,options", [
    ("two_heads", ["C", "O"], "acerust head b", ["--head", "b"]),
    ("nonlinear", ["O", "H"], "acerust charge 1 spin 2", None),
])
def test_heads_charges_and_spins(tmp_path, name, elements, style, options):
    s = system(name, OWN / f"{name}.json", elements, (9, 8, 7), seed=37)
    found = [results(tmp_path, lammps(tmp_path, [*setup(tmp_path, s, t), "run 0", *report(name, tmp_path)], n))[name] for t, n in [(style, 2), ("acerust", 1)]]
    assert found[0]["energy"] != found[1]["energy"]
    if options:
        close(found[0]["energy"], expected(s, options)["energy"], 1e-11)


def test_wrong_words(tmp_path):
    code, output = lammps(tmp_path, [*setup(tmp_path, SYSTEMS[0], "acerust head b"), "run 0"], 1, check=False)
    assert code and "head `b`: the model has" in output
    code, output = lammps(tmp_path, setup(tmp_path, SYSTEMS[0], "acerust ghosts none"), 1, check=False)
    assert code and "none of exchange, wide" in output


def test_threads_that_mpi_does_not_know_of(tmp_path):
    s = SYSTEMS[0]
    code, output = lammps(tmp_path, [*setup(tmp_path, s, "acerust threads 2"), "run 0"], 2, check=False)
    assert code and "use threads 1 or ghosts wide" in output
    commands = [*setup(tmp_path, s, "acerust threads 2 ghosts wide"), "run 0", *report("wide", tmp_path)]
    close(results(tmp_path, lammps(tmp_path, commands, 2))["wide"]["energy"], expected(s)["energy"], 1e-11)
    commands = [*setup(tmp_path, s, "acerust threads 2"), "run 0", *report("one", tmp_path)]
    close(results(tmp_path, lammps(tmp_path, commands, 1))["one"]["energy"], expected(s)["energy"], 1e-11)
