"""Grades and committees of the library, on any number of processes; runs that stop where the potential extrapolates."""
import re
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from lammps_runs import ACERUST, ROOT, close, crystal, lammps, report, results, setup

RECIPE = """
elements = ['Si']
order = 2
degree = 8
rcut = 5.0
E0 = { Si = -0.846 }
[fit]
solver = { type = 'ridge', lambda = 1e-5 }
[fit.weights]
default = { energy = 10, force = 1 }
"""


@dataclass
class Fitted:
    model: str
    committee: str
    grade: str

    def style(self):
        return f"acerust committee {self.committee} grade {self.grade}"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    (folder / "si.toml").write_text(RECIPE)
    data = ROOT / "benchmark" / "data" / "Si_test.extxyz"
    command = [ACERUST, "fit", "si.toml", data, "-o", "si.json", "--active-set", "si.asi", "--committee", "5"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return Fitted(*(str(folder / name) for name in ("si.json", "si.committee.npz", "si.asi")))


def system_of(fitted, rattle=0.1, repeat=(2, 2, 2), **options):
    system = crystal(repeat, rattle=rattle, **options)
    system.model = fitted.model
    return system


def of_the_program(folder, fitted, system):
    """Grade and standard deviations of the forces, (n), (n, 3)."""
    (folder / "frame.extxyz").write_text(system.extxyz())
    options = ["--grade", fitted.grade, "--committee", fitted.committee]
    text = subprocess.run([ACERUST, "eval", fitted.model, "frame.extxyz", *options], cwd=folder, check=True, capture_output=True, text=True).stdout
    properties = re.search(r"Properties=(\S+)", text).group(1).split(":")
    at, columns = 0, {}
    for name, _, width in zip(*[iter(properties)] * 3):
        columns[name] = slice(at, at + int(width))
        at += int(width)
    rows = [line.split() for line in text.splitlines()[2:]]
    return tuple(np.array([row[columns[name]] for row in rows], float) for name in ("grade", "forces_std"))


COMPUTES = ["compute g all acerust/grade/atom", "compute c all acerust/committee/atom"]
COLUMNS = "id c_g c_c[1] c_c[2] c_c[3] c_c[4]"


@pytest.mark.parametrize("newton", ["on", "off"])
def test_values_of_the_program(tmp_path, fitted, newton):
    system = system_of(fitted, seed=31)
    commands = setup(tmp_path, system, fitted.style(), newton=newton) + COMPUTES + ["run 0", *report("all", tmp_path, COLUMNS)]
    # Types of others in between: atoms of the graph are not those of LAMMPS then.
    mixed = system_of(fitted, seed=31)
    mixed.name, mixed.elements = "mixed", ["Si", "Ar"]
    mixed.types = np.where(np.arange(len(mixed.types)) % 5 == 2, 2, 1)
    coefficients = [f"* * acerust {fitted.model} Si NULL", "* * zero"]
    commands += setup(tmp_path, mixed, f"hybrid/overlay {fitted.style()} zero 5.0", newton=newton, coefficients=coefficients)
    commands += ["group half id < 30", *COMPUTES, "compute h half acerust/grade/atom", "run 0", *report("mixed", tmp_path, COLUMNS + " c_h")]
    grade, forces = of_the_program(tmp_path, fitted, system)
    ours = mixed.types == 1
    part = system_of(fitted, seed=31)
    part.positions, part.types = part.positions[ours], part.types[ours]
    some_grade, some_forces = of_the_program(tmp_path, fitted, part)
    reference = None
    for n in (1, 2, 4):
        found = results(tmp_path, lammps(tmp_path, commands, n))
        whole, mix = found["all"]["dump"], found["mixed"]["dump"]
        # Rounding grows by the condition of the active set.
        close(whole[:, [0]], grade, 1e-6, "grade")
        close(whole[:, 2:], forces, 1e-8, "spread of forces")
        assert np.all(whole[:, 1] > 0) and np.min(forces) > 1e-5
        reference = whole if reference is None else reference
        close(whole[:, 0], reference[:, 0], 1e-6, "grade and number of processes")
        close(whole[:, 1:], reference[:, 1:], 1e-10, "spread and number of processes")
        assert np.all(mix[~ours] == 0)
        close(mix[ours][:, [0]], some_grade, 1e-6)
        close(mix[ours][:, 2:5], some_forces, 1e-8)
        assert np.all(mix[30:, 5] == 0)
        close(mix[:29, 5], mix[:29, 0], 1e-6)


def test_extrapolating_frames_are_kept_and_the_run_is_halted(tmp_path, fitted):
    """An atom that is pushed into its neighbours: frames above one grade are dumped, above another the run ends."""
    system = system_of(fitted, rattle=0, temperature=10, seed=32)
    system.velocities[5] += np.array([150.0, 120.0, 90.0])
    commands = setup(tmp_path, system, fitted.style()) + [
        "compute g all acerust/grade/atom",
        "compute worst all reduce max c_g",
        "variable worst equal c_worst",
        "variable skip equal c_worst<2",
        "timestep 0.0002",
        "fix 1 all nve",
        "fix stop all halt 5 v_worst > 10 error soft",
        f"dump 1 all custom 5 {tmp_path}/above.dump id x y z c_g",
        "dump_modify 1 skip v_skip",
        "thermo 5",
        "thermo_style custom step c_worst",
        "run 1000",
        'print "STEPS $(step)"',
    ]
    for n in (1, 4):
        output = lammps(tmp_path, commands, n)
        steps = int(output.split("STEPS ")[-1].split()[0])
        assert 0 < steps < 1000, output[-1500:]
        rows = [line.split() for line in output.splitlines()]
        worst = {int(r[0]): float(r[1]) for r in rows if len(r) == 2 and r[0].isdigit() and r[1].replace(".", "").replace("e+", "").isdigit()}
        assert worst[0] < 2 and worst[steps] > 10
        frames = (tmp_path / "above.dump").read_text().split("ITEM: TIMESTEP\n")[1:]
        dumped = {int(frame.split()[0]) for frame in frames}
        assert dumped == {s for s, w in worst.items() if w >= 2} and dumped


@pytest.mark.parametrize("style,extra,message", [
    ("acerust grade nowhere.asi", [], "cannot read nowhere.asi"),
    ("acerust committee nowhere.npz", [], "cannot read nowhere.npz"),
    ("acerust grade {committee}", [], "active set"),
    ("acerust committee {grade}", [], "parameters"),
    ("acerust", ["compute g all acerust/grade/atom"], "needs pair_style acerust … grade FILE"),
    ("acerust", ["compute g all acerust/committee/atom"], "needs pair_style acerust … committee FILE"),
    ("acerust grade {grade}", ["compute g all acerust/grade/atom 3"], "takes no arguments"),
])
def test_errors(tmp_path, fitted, style, extra, message):
    style = style.format(grade=fitted.grade, committee=fitted.committee)
    commands = setup(tmp_path, system_of(fitted), style) + extra + ["run 0"]
    for n in (1, 4):
        status, output = lammps(tmp_path, commands, n, timeout=120, check=False)
        assert status != 0 and message in output, output[-2000:]


def test_stale_forces(tmp_path, fitted):
    commands = setup(tmp_path, system_of(fitted), fitted.style()) + COMPUTES[:1] + [
        "run 0", "delete_atoms group all", f"write_dump all custom {tmp_path}/x.dump id c_g"]
    status, output = lammps(tmp_path, commands, 2, timeout=120, check=False)
    assert status != 0 and "have not been computed" in output, output[-2000:]
