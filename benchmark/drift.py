#!/usr/bin/env python3
"""The energy that NVE runs in LAMMPS do not conserve, in double and single precision.

    make bench-drift [STEPS=100000]

216 atoms of silicon at about 600 K, steps of 1 fs. The drift is the slope of the total energy, its error that of the fit; the ripple, what is
left then, belongs to the integrator. Needs `make lammps`. Writes benchmark/results/drift-<machine>.csv.
"""
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lammps" / "test"), str(ROOT / "benchmark")]
from lammps_runs import BIN, crystal, setup  # noqa: E402
from pace import machine  # noqa: E402

STYLES = ["acerust", "acerust precision f32", "acerust radial 1e-8"]


def energies(style, system, steps):
    """ps, eV an atom."""
    with tempfile.TemporaryDirectory() as folder:
        commands = setup(folder, system, style) + [
            "timestep 0.001", "neighbor 0.5 bin", "thermo_style custom step etotal", "thermo 100", "thermo_modify format float %.15g",
            "fix 1 all nve", "run 5000", f"run {steps}"]
        Path(folder, "in.drift").write_text("\n".join(commands) + "\n")
        command = [BIN / "mpirun", "-n", "1", BIN / "lmp", "-in", "in.drift", "-log", "none"]
        output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in output[output.rindex("Step"):output.rindex("Loop time")].splitlines()[1:]]
    return np.array([(float(step) / 1000, float(e)) for step, e in rows]).T / np.array([[1], [len(system.types)]])


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    system = crystal((3, 3, 3), temperature=1200)
    rows = []
    print(f"{'style':>24} {'drift µeV/atom/ns':>20} {'error':>8} {'ripple µeV/atom':>16}")
    for style in STYLES:
        time, energy = energies(style, system, steps)
        (slope, start), covariance = np.polyfit(time, energy, 1, cov=True)
        ripple = np.std(energy - start - slope * time)
        rows.append([style, *(f"{1e6 * x:.3g}" for x in (1000 * slope, 1000 * covariance[0, 0] ** 0.5, ripple))])
        print("{:>24} {:>20} {:>8} {:>16}".format(*rows[-1]), flush=True)
    path = ROOT / f"benchmark/results/drift-{machine()}.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["style", "drift_ueV_per_atom_ns", "error", "ripple_ueV_per_atom"], *rows])
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
