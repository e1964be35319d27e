#!/usr/bin/env python3
"""Strong and weak scaling of the pair style acerust over processes.

    make bench-lammps-scaling [RANKS="1 2 4 8"] [DEVICE=cuda] [MACE=model.safetensors]
    scaling.py --plot FILE.csv …       draws what has been measured, FILE.svg

Silicon at 300 K, made by LAMMPS itself; the shortest of ROUNDS (2) runs. Strong: one crystal for all processes. Weak: a crystal for each process.
Copies: as many runs of one process at once, which share nothing but the machine: what it lets a process have. MACE models exchange the features
of ghosts, or (wide) compute them again. Needs `make lammps`. Writes
benchmark/results/scaling-<machine>.csv and, where matplotlib is, a picture.
"""
import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "lammps" / "test"), str(ROOT / "benchmark")]
from lammps_runs import BIN, MODELS, PLUGIN  # noqa: E402
from pace import machine  # noqa: E402

HEADER = ["potential", "kind", "processes", "atoms", "ms_a_step", "pair_ms", "list_ms", "communication_ms", "ghosts_a_process", "efficiency"]
ROUNDS = int(os.environ.get("ROUNDS", 2))


def script(cells, style, coefficients, steps):
    """The commands of a run; cells along each axis."""
    return f"""plugin load {PLUGIN}
units metal
lattice diamond 5.47
region box block 0 {cells[0]} 0 {cells[1]} 0 {cells[2]}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
displace_atoms all random 0.05 0.05 0.05 1
velocity all create 300 1 loop geom
neighbor 1.0 bin
pair_style acerust {style}
pair_coeff * * {coefficients}
timestep 0.001
fix 1 all nve
thermo 0
run 2 post no
run {steps}
"""


def split(n):
    """Processes along each axis."""
    shape = [1, 1, 1]
    while n > 1:
        shape[shape.index(min(shape))] *= 2
        n //= 2
    return shape


def start(folder, text, processes, name):
    Path(folder, name).write_text(text)
    command = [BIN / "mpirun", "-n", str(processes), BIN / "lmp", "-in", name, "-log", "none", "-nocite"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(run):
    """ms a step: all of it, the pair style, lists, communication; ghosts of a process, atoms."""
    output = run.communicate()[0]
    if run.returncode:
        sys.exit(output[-3000:])
    end = output[output.rindex("Loop time"):]
    loop, steps, atoms = re.search(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", end).groups()
    parts = [float(re.search(rf"^{key}\s+\|\s*\S+\s*\|\s*(\S+)", end, re.M).group(1)) for key in ("Pair", "Neigh", "Comm")]
    ghosts = float(re.search(r"^Nghost:\s+(\S+) ave", end, re.M).group(1))
    return [1e3 * float(t) / int(steps) for t in (loop, *parts)] + [ghosts, int(atoms)]


def measure(folder, texts):
    """The shortest run of so many processes, or the mean of copies."""
    found = []
    for _ in range(ROUNDS):
        runs = [start(folder, text, n, f"in.{k}") for k, (text, n) in enumerate(texts)]
        found.append([sum(x) / len(x) for x in zip(*map(finish, runs))])
    return min(found)


def scale(potential, style, coefficients, cells, ranks, kinds, steps):
    """Efficiencies are those beside the first run."""
    rows, first = [], None
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            for n in ranks:
                shape = split(n) if kind == "weak" else (1, 1, 1)
                text = script([cells * s for s in shape], style, coefficients, steps)
                found = first if first and n == 1 else measure(folder, [(text, 1)] * n if kind == "copies" else [(text, n)])
                first = first or found
                *times, ghosts, atoms = found
                efficiency = first[0] / times[0] / (n if kind == "strong" else 1)
                row = [potential, kind, n, round(atoms), *(f"{t:.4g}" for t in times), round(ghosts), f"{efficiency:.3f}"]
                print("".join(f"{v:>18}" for v in row), flush=True)
                rows.append(row)
    return rows


def plot(path):
    try:
        import matplotlib
    except ImportError:
        return print("SKIPPED: the picture: no matplotlib")

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    with open(path) as file:
        rows = list(csv.DictReader(file))
    series = list(dict.fromkeys((row["potential"], row["kind"], row["atoms"] if row["kind"] == "strong" else "") for row in rows))
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    styles, colours = {"strong": "o-", "weak": "s--", "copies": "x:"}, {p: f"C{k}" for k, p in enumerate(dict.fromkeys(s[0] for s in series))}
    for potential, kind, atoms in series:
        chosen = [r for r in rows if (r["potential"], r["kind"]) == (potential, kind) and atoms in ("", r["atoms"])]
        label = f"{potential}, {kind}" + (f", {int(atoms):,} atoms" if atoms else f", {int(chosen[0]['atoms']):,} atoms a process")
        axes.plot([int(r["processes"]) for r in chosen], [float(r["efficiency"]) for r in chosen], styles[kind], color=colours[potential], label=label)
    axes.set(xlabel="processes", ylabel="efficiency", ylim=(0, 1.25), xscale="log")
    axes.set_xticks(sorted({int(r["processes"]) for r in rows}), sorted({r["processes"] for r in rows}, key=int))
    axes.minorticks_off()
    axes.legend(fontsize="x-small")
    picture = Path(path).with_suffix(".svg")
    plt.rcParams["svg.hashsalt"] = "acerust"
    figure.savefig(picture, metadata={"Date": None})
    print(picture)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--plot", nargs="+")
    options.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    options.add_argument("--device", default="cpu")
    options.add_argument("--mace")
    options.add_argument("--cells", type=int, nargs="+", default=[24])
    options.add_argument("--mace-cells", type=int, nargs="+", default=[8])
    options.add_argument("--models", nargs="*", default=["si_bench"])
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--out", default=str(ROOT / f"benchmark/results/scaling-{machine()}.csv"))
    given = options.parse_args()
    if given.plot:
        return list(map(plot, given.plot))
    on_device = given.device != "cpu"
    print("".join(f"{h:>18}" for h in HEADER))
    rows = []
    for model in given.models:
        for precision in ["f64", "f32"] if on_device else ["f64"]:
            for cells in given.cells:
                kinds = ["strong"] if on_device else ["strong", "weak", "copies"]
                style, name = f"device {given.device} precision {precision}", f"{model} {precision}"
                rows += scale(name, style, f"{MODELS}/{model}.json Si", cells, given.ranks, kinds, given.steps)
    for ghosts in ["exchange", "wide"] if given.mace else []:
        for cells in given.mace_cells:
            style = f"device {given.device} precision {'f32' if on_device else 'f64'} ghosts {ghosts}"
            name = f"MACE {style.split()[3]} {ghosts}"
            rows += scale(name, style, f"{Path(given.mace).resolve()} Si", cells, given.ranks, ["strong"], max(given.steps // 4, 4))
    with open(given.out, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    print(given.out)
    return plot(given.out)


if __name__ == "__main__":
    main()
