#!/usr/bin/env python3
"""The energy that NVE runs in LAMMPS do not conserve, in double and single precision.

    make bench-drift [STEPS=100000] [DEVICE=cuda] [ONLY=mace] [JOBS=1]

Silicon, steps of 1 fs: 216 atoms at about 600 K (ACE), and 64 at about 500 K with a small network that was trained on molecular
dynamics (MACE, test/mace/silicon.safetensors).
The drift is the slope of the total energy, its error that of the fit; the ripple, what is left then, belongs to the integrator. JOBS runs at a
time. Needs `make lammps`. Writes benchmark/results/drift-<machine>.csv, or drift-cuda.csv.
"""
import csv
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lammps" / "test"), str(ROOT / "benchmark")]
from lammps_runs import BIN, crystal, setup  # noqa: E402
from pace import machine  # noqa: E402

MACE = ROOT / "test" / "mace" / "silicon.safetensors"
STYLES = [("ACE", "acerust"), ("ACE", "acerust precision f32"), ("ACE", "acerust radial 1e-8"), ("MACE", "acerust"), ("MACE", "acerust precision f32")]
ON_DEVICE = [s for s in STYLES if "radial" not in s[1]] + [("MACE", "acerust precision f24-radial")]


def system_of(potential):
    if potential == "ACE":
        return crystal((3, 3, 3), temperature=1200)
    return replace(crystal((2, 2, 2), temperature=600), model=str(MACE))


def energies(potential, style, device, steps):
    """ps, eV an atom."""
    system = system_of(potential)
    with tempfile.TemporaryDirectory() as folder:
        commands = setup(folder, system, f"{style} device {device}") + [
            "neighbor 0.5 bin", "timestep 0.001", "thermo_style custom time etotal", "thermo 100", "thermo_modify format float %.15g",
            "fix 1 all nve", f"run {steps // 20}", f"run {steps}"]
        Path(folder, "in.drift").write_text("\n".join(commands) + "\n")
        command = [BIN / "mpirun", "-n", "1", BIN / "lmp", "-in", "in.drift", "-log", "none"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    rows = [line.split() for line in run.stdout[run.stdout.rindex("Time "):run.stdout.rindex("Loop time")].splitlines()[1:]]
    return np.array([(float(time), float(e)) for time, e in rows]).T / np.array([[1], [len(system.types)]])


def main():
    steps, device, only = [*sys.argv[1:], *["100000", "cpu", ""][len(sys.argv) - 1:]]
    styles, rows = [s for s in (STYLES if device == "cpu" else ON_DEVICE) if not only or s[0].lower() == only], []
    print(f"{'potential':>10} {'style':>24} {'drift µeV/atom/ns':>20} {'error':>8} {'ripple µeV/atom':>16}")
    with ThreadPoolExecutor(int(os.environ.get("JOBS", 1))) as pool:
        runs = pool.map(lambda key: energies(*key, device, int(steps)), styles)
        for (potential, style), (time, energy) in zip(styles, runs):
            (slope, start), covariance = np.polyfit(time, energy, 1, cov=True)
            ripple = np.std(energy - start - slope * time)
            rows.append([potential, style, *(f"{1e6 * x:.3g}" for x in (1000 * slope, 1000 * covariance[0, 0] ** 0.5, ripple))])
            print("{:>10} {:>24} {:>20} {:>8} {:>16}".format(*rows[-1]), flush=True)
    path = ROOT / f"benchmark/results/drift-{machine() if device == 'cpu' else 'cuda'}.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["potential", "style", "drift_ueV_per_atom_ns", "error", "ripple_ueV_per_atom"], *rows])
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
