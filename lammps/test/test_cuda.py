"""On a CUDA device: the values of the library, however many processes share it. Skipped without one, unless ACERUST_GPU=1 demands it."""
import ctypes
import os
from dataclasses import replace

import numpy as np
import pytest
from lammps_runs import close, expected, lammps, like_the_library, random_system, report, results, setup
from test_mace import SYSTEMS as MACE
from test_mace import follow_the_first, has_values_of_the_library, system
from test_values import SYSTEMS as ACE


def has_device():
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not has_device() and "ACERUST_GPU" not in os.environ, reason="no test ran on a GPU: there is none")
# More processes than devices: these take turns.
GRIDS = [(1, None, "on"), (2, "2 1 1", "off"), (4, "1 2 2", "on")]


@pytest.mark.parametrize("processes,grid,newton", GRIDS)
@pytest.mark.parametrize("ghosts", ["exchange", "wide"])
def test_mace(tmp_path, processes, grid, newton, ghosts):
    has_values_of_the_library(tmp_path, f"acerust device cuda ghosts {ghosts}", processes, grid, newton, 1e-10)


@pytest.mark.parametrize("processes,grid,newton", GRIDS)
def test_ace(tmp_path, processes, grid, newton):
    commands = []
    for s in ACE:
        commands += setup(tmp_path, s, "acerust device cuda", newton=newton, processors=grid)
        commands += ["compute e all pe/atom", "run 0", *report(s.name, tmp_path, "id fx fy fz c_e")]
    found = results(tmp_path, lammps(tmp_path, commands, processes))
    for s in ACE:
        like_the_library(found[s.name], s, 1e-10)


@pytest.mark.parametrize("ghosts", ["exchange", "wide"])
def test_single_precision(tmp_path, ghosts):
    s = MACE[0]
    commands = setup(tmp_path, s, f"acerust device cuda:0 precision f32 ghosts {ghosts}") + ["run 0", *report("f32", tmp_path)]
    found, reference = results(tmp_path, lammps(tmp_path, commands, 2))["f32"], expected(s)
    close(found["energy"], reference["energy"], 1e-5)
    close(found["dump"], reference["forces"], 1e-5)
    assert np.max(np.abs(found["dump"] - reference["forces"])) > 1e-12


def test_an_empty_process(tmp_path):
    """All atoms on one of four processes, which exchange features all the same; then none at all."""
    s = system("corner", MACE[0].model, ["Si", "O"], (40, 40, 40), density=0, seed=21)
    s.positions = np.array([[1.0, 1.0, 1.0], [2.5, 1.2, 0.8], [1.1, 2.9, 1.0]])
    s.types = np.array([1, 2, 2])
    commands = setup(tmp_path, s, "acerust device cuda ghosts exchange") + ["run 0", *report("corner", tmp_path)]
    output = lammps(tmp_path, [*commands, "delete_atoms group all", "run 0", 'print "EMPTY $(pe)"'], 4)
    found, reference = results(tmp_path, output)["corner"], expected(s)
    close(found["energy"], reference["energy"], 1e-10)
    close(found["dump"], reference["forces"], 1e-10)
    assert "EMPTY 0" in output


@pytest.mark.parametrize("first", [MACE[0], random_system("many", "sio_o2", ["Si", "O"], (15, 16, 17), seed=41)])
def test_processes_follow_the_same_path(tmp_path, first):
    """That of the processor: atoms come and go between processes, lists are built anew."""
    s = replace(first, velocities=np.random.default_rng(1).normal(0, 3.0, first.positions.shape))
    exchange = "device cuda ghosts exchange"
    follow_the_first(tmp_path, s, [("", 1), (exchange, 1), (exchange, 2), (exchange, 4), ("device cuda", 2)])
