"""What goes wrong stops LAMMPS on all processes, with one message that names the culprit."""
import os
import signal
import subprocess
import sys
import time

import pytest
from lammps_runs import BIN, MODELS, crystal, lammps, random_system, setup

SILICON = str(MODELS / "si_fit.json")


def stops(tmp_path, commands, message, processes=(1, 4)):
    for n in processes:
        status, output = lammps(tmp_path, commands, n, timeout=120, check=False)
        assert status != 0 and message in output, output[-2000:]


@pytest.mark.parametrize("style,coefficients,message", [
    ("acerust", ["* * nowhere.json Si"], "cannot read nowhere.json"),
    ("acerust", [f"* * {__file__} Si"], "model: "),
    ("acerust", [f"* * {SILICON} Ge"], "has no element Ge"),
    ("acerust", [f"* * {SILICON} Xx"], "no element has the symbol Xx"),
    ("acerust", [f"* * {SILICON}"], "expected * * FILE and 1 elements"),
    ("acerust", [f"1 1 {SILICON} Si"], "Pair_coeff must start with * *"),
    ("acerust device gpu", [], "device gpu is none of cpu, cuda, cuda:N"),
    ("acerust device cuda:64", [f"* * {SILICON} Si"], "device: "),
    ("acerust precision f16", [], "precision f16 is none of"),
    ("acerust precision f24-radial", [f"* * {SILICON} Si"], "f24-radial: is for MACE models on CUDA devices"),
    ("acerust threads -1", [], "-1 threads"),
    ("acerust threads", [], "threads needs a value"),
    ("acerust radial -1", [f"* * {SILICON} Si"], "table tolerance -1 is not above"),
    ("acerust speed 11", [], "unknown keyword speed"),
])
def test_input(tmp_path, style, coefficients, message):
    commands = setup(tmp_path, crystal((1, 1, 1)), style, coefficients=coefficients)
    stops(tmp_path, commands + ["run 0"], message)


def test_units(tmp_path):
    commands = setup(tmp_path, crystal((1, 1, 1)))
    stops(tmp_path, [c.replace("units metal", "units real") for c in commands] + ["run 0"], "its units are metal, not real")


def test_bonds(tmp_path):
    """Special neighbours would be missing from the list."""
    commands = setup(tmp_path, crystal((1, 1, 1)), commands=[])
    commands = [c.replace("units metal", "units metal\natom_style bond") for c in commands]
    data = tmp_path / "crystal.data"
    text = data.read_text().replace("Atoms # atomic", "Atoms # bond")
    lines = text.splitlines()
    at = lines.index("Atoms # bond") + 2
    lines[at:at + 8] = [" ".join([w.split()[0], "1", *w.split()[1:]]) for w in lines[at:at + 8]]
    data.write_text("\n".join(lines[:at + 8]) + "\n")
    stops(tmp_path, commands + ["run 0"], "special_bonds lj/coul 1 1 1")


def test_lost_atoms(tmp_path):
    system = random_system("fly", "sio_o2", ["Si", "O"], (12, 12, 12), pbc=(0, 0, 0), inside=0.5, seed=1)
    commands = setup(tmp_path, system, boundary="f f f") + ["velocity all set 0 0 500", "fix 1 all nve", "thermo 20", "run 1000"]
    stops(tmp_path, commands, "Lost atoms")


def test_atoms_in_one_place(tmp_path):
    system = crystal((2, 2, 2))
    system.positions[17] = system.positions[16]
    stops(tmp_path, setup(tmp_path, system) + ["run 0"], "pair_style acerust: ")


def test_positions_that_are_none(tmp_path):
    """After the list was built, where LAMMPS does not look any more."""
    lines = setup(tmp_path, crystal((2, 2, 2), seed=2)) + ["fix 1 all nve", "neigh_modify delay 100", "run 1"]
    script = f"""
from lammps import lammps
lmp = lammps(cmdargs=["-log", "none"])
lmp.commands_list({lines!r})
if lmp.extract_setting("world_rank") == 0:
    x = lmp.extract_atom("x")
    x[3][1] = float("nan")
lmp.command("run 1 pre no")
print("WENT ON")
"""
    (tmp_path / "nan.py").write_text(script)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(BIN.parent / "lib"))
    for n in (1, 4):
        command = [BIN / "mpirun", "-n", str(n), sys.executable, "nan.py"]
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        output = run.stdout + run.stderr
        assert run.returncode != 0 and "is not finite" in output and "WENT ON" not in output, output[-2000:]


def test_a_process_dies(tmp_path):
    commands = setup(tmp_path, crystal((2, 2, 2), temperature=300)) + ["fix 1 all nve", "thermo 10", "run 1000000"]
    (tmp_path / "in.lammps").write_text("\n".join(commands))
    command = [BIN / "mpirun", "-n", "2", BIN / "lmp", "-in", "in.lammps", "-log", "none"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout:
            if line.split()[:1] == ["10"]:
                break
        # The processes that the run has started, and theirs.
        family = [run.pid]
        for pid in family:
            tasks = f"/proc/{pid}/task/{pid}/children"
            family += map(int, open(tasks).read().split()) if os.path.exists(tasks) else []
        victim = next(p for p in reversed(family) if "lmp" in os.path.basename(os.readlink(f"/proc/{p}/exe")))
        os.kill(victim, signal.SIGKILL)
        start = time.time()
        run.communicate(timeout=60)
        assert run.returncode != 0 and time.time() - start < 60
