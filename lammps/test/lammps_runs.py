"""Random systems, LAMMPS on any number of processes, and the program acerust that it is compared with."""
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("LAMMPS_BIN", Path(sys.executable).parent))  # of mpirun and lmp
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ACERUST = os.environ.get("ACERUST", str(TARGET / "release" / "acerust"))
PLUGIN = Path(os.environ.get("ACERUST_PLUGIN", TARGET / "lammps" / "acerustplugin.so")).resolve()
MODELS = ROOT / "benchmark" / "models"
PACE = ROOT / "test" / "golden" / "pace"
SYMBOLS = {8: "O", 14: "Si", 24: "Cr", 25: "Mn", 26: "Fe", 27: "Co", 28: "Ni"}
NKTV2P = 1.6021765e6  # bar of 1 eV/Å³ in LAMMPS' units metal
WORDS = "xx yy zz xy xz yz".split()
PLACES = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


@dataclass
class System:
    """Atoms in a cell whose vectors are the rows of a lower triangle, as LAMMPS wants it; `types` count from 1."""

    name: str
    model: str
    cell: np.ndarray
    pbc: tuple
    positions: np.ndarray
    types: np.ndarray
    elements: list  # the symbol of each type
    velocities: np.ndarray = field(default=None)

    def data(self):
        """The data file of LAMMPS."""
        n, (lx, ly, lz) = len(self.types), np.diag(self.cell)
        lines = ["", "", f"{n} atoms", f"{len(self.elements)} atom types"]
        lines += [f"0.0 {length!r} {x}lo {x}hi" for x, length in zip("xyz", map(float, (lx, ly, lz)))]
        if np.any(self.cell != np.diag(np.diag(self.cell))):
            lines.append("{!r} {!r} {!r} xy xz yz".format(*map(float, (self.cell[1, 0], self.cell[2, 0], self.cell[2, 1]))))
        lines += ["", "Masses", ""] + [f"{t + 1} 28.0" for t in range(len(self.elements))] + ["", "Atoms # atomic", ""]
        lines += [f"{i + 1} {t} {x[0]!r} {x[1]!r} {x[2]!r}" for i, (t, x) in enumerate(zip(self.types, self.positions.tolist()))]
        if self.velocities is not None:
            lines += ["", "Velocities", ""]
            lines += [f"{i + 1} {v[0]!r} {v[1]!r} {v[2]!r}" for i, v in enumerate(self.velocities.tolist())]
        return "\n".join(lines) + "\n"

    def extxyz(self):
        lattice = " ".join(repr(float(x)) for x in self.cell.ravel())
        pbc = " ".join("FT"[p] for p in self.pbc)
        lines = [str(len(self.types)), f'Lattice="{lattice}" pbc="{pbc}" Properties=species:S:1:pos:R:3']
        lines += [f"{self.elements[t - 1]} {x[0]!r} {x[1]!r} {x[2]!r}" for t, x in zip(self.types, self.positions.tolist())]
        return "\n".join(lines) + "\n"


def random_system(name, model, elements, lengths, tilt=(0, 0, 0), pbc=(1, 1, 1), density=0.03, seed=0, inside=0.0):
    """Atoms no closer than 1.6 Å, those of boxes with walls `inside` of these."""
    rng = np.random.default_rng(seed)
    cell = np.diag(np.asarray(lengths, float))
    cell[1, 0], cell[2, 0], cell[2, 1] = tilt
    margin = np.where(pbc, 0.0, inside / np.diag(cell))
    positions, inverse = [], np.linalg.inv(cell)
    shifts = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]) * np.array(pbc)
    images = shifts @ cell
    for _ in range(20000):
        if len(positions) >= max(1, round(density * np.prod(lengths))):
            break
        x = (margin + rng.random(3) * (1 - 2 * margin)) @ cell
        d = np.array(positions).reshape(-1, 1, 3) + images - x
        if not len(positions) or np.min(np.sum(d**2, axis=-1)) > 1.6**2:
            positions.append(x)
    assert np.all(np.abs(np.array(positions) @ inverse - 0.5) <= 0.5)
    types = rng.integers(1, len(elements) + 1, len(positions))
    return System(name, str(MODELS / f"{model}.json"), cell, tuple(map(bool, pbc)), np.array(positions), types, elements)


def crystal(repeat, rattle=0.05, temperature=0.0, seed=0, model="si_fit"):
    """Silicon; velocities in Å/ps that sum to zero."""
    rng = np.random.default_rng(seed)
    basis = np.array([(0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)]) / 4
    cells = np.array([(i, j, k) for i in range(repeat[0]) for j in range(repeat[1]) for k in range(repeat[2])])
    positions = 5.47 * (cells[:, None] + basis + 0.05).reshape(-1, 3)
    positions += rng.normal(0, rattle, positions.shape) if rattle else 0
    velocities = rng.normal(0, 1, positions.shape) * np.sqrt(temperature * 8.617e-5 / 28.0) * 98.2269
    velocities -= velocities.mean(axis=0)
    types = np.ones(len(positions), int)
    return System("crystal", str(MODELS / f"{model}.json"), 5.47 * np.diag(repeat).astype(float), (True,) * 3, positions, types, ["Si"], velocities)


def expected(system, options=()):
    """Energy, forces and virial of the library."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder, "frame.extxyz")
        frame.write_text(system.extxyz())
        run = subprocess.run([ACERUST, "eval", system.model, frame, "--json", *options], capture_output=True, text=True, check=True)
    return {key: np.array(value) for key, value in json.loads(run.stdout).items()}


def setup(folder, system, style="acerust", newton="on", boundary=None, commands=(), coefficients=None, processors=None):
    """The commands that bring a system into LAMMPS."""
    data = Path(folder, f"{system.name}.data")
    data.write_text(system.data())
    coefficients = coefficients or [f"* * {system.model} {' '.join(system.elements)}"]
    return [
        "clear",
        f"plugin load {PLUGIN}",
        "units metal",
        "boundary " + (boundary or " ".join("sp"[p] for p in system.pbc)),
        f"newton {newton}",
        "atom_modify map array",
        f"processors {processors}" if processors else "",
        f"read_data {data}",
        *commands,
        f"pair_style {style}",
        *[f"pair_coeff {c}" for c in coefficients],
        "compute virial all pressure NULL virial",
        "thermo_style custom step temp pe press vol c_virial[1]",
        "thermo_modify lost error",
    ]


def report(tag, folder, columns="id fx fy fz"):
    """Commands that write what there is at the end of a run."""
    virial = " ".join(f"$(c_virial[{i}]*vol:%.17g)" for i in range(1, 7))
    return [
        f'write_dump all custom {folder}/{tag}.dump {columns} modify sort id format float %.17g',
        f'print "RESULT {tag} $(pe:%.17g) {virial}"',
    ]


def lammps(folder, commands, processes=1, arguments=(), timeout=300, check=True):
    """Runs LAMMPS; its output."""
    Path(folder, "in.lammps").write_text("\n".join(commands) + "\n")
    command = [BIN / "mpirun", "-n", str(processes), BIN / "lmp", "-in", "in.lammps", "-log", "none", "-nocite", *arguments]
    # More processes than cores: those that wait make room for the others.
    patience = {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1"}
    run = subprocess.run(command, cwd=folder, env=os.environ | patience, capture_output=True, text=True, timeout=timeout)
    output = run.stdout + run.stderr
    assert not check or run.returncode == 0, output[-3000:]
    return output if check else (run.returncode, output)


def results(folder, output):
    """Energy, virial and the columns of the dump of every report, by tag."""
    found = {}
    for line in output.splitlines():
        if line.startswith("RESULT "):
            _, tag, *numbers = line.split()
            numbers = np.array(numbers, float)
            dump = np.loadtxt(Path(folder, f"{tag}.dump"), skiprows=9, ndmin=2)
            virial = np.zeros((3, 3))
            for (a, b), w in zip(PLACES, numbers[1:] / NKTV2P):
                virial[a, b] = virial[b, a] = w
            found[tag] = {"energy": numbers[0], "virial": virial, "dump": dump[:, 1:]}
    return found


def close(found, expected, tolerance, what=""):
    scale = max(np.max(np.abs(expected), initial=0), 1.0)
    error = np.max(np.abs(np.asarray(found) - expected), initial=0) / scale
    assert error <= tolerance, f"{what}: {error:.1e} > {tolerance:.0e}"


def like_the_library(found, system, tolerance):
    """Energies to `tolerance`, forces and virial to 1e-10; the dump has forces and energies of atoms."""
    reference = expected(system)
    close(found["energy"], reference["energy"], tolerance, f"{system.name}: energy")
    close(found["dump"][:, :3], reference["forces"], 1e-10, f"{system.name}: forces")
    close(found["dump"][:, 3], reference["site_energies"], tolerance, f"{system.name}: energies of atoms")
    close(found["virial"], reference["virial"], 1e-10, f"{system.name}: virial")
