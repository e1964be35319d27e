#!/usr/bin/env python3
"""Compares acerust with ML-PACE (the package python-ace of PyPI) on one core.

    python3 benchmark/pace.py [PROGRAM]
    python3 benchmark/pace.py --fetch

First linear models: both evaluate the same silicon crystal with the same cutoff and the same list of functions, all products of `order`
factors with total degree `n + 1.5 l` up to `degree`. Then potentials of pacemaker with embeddings of several densities: the same file in
both, those of test/golden/pace and one like published ones of copper. They take turns, and the shortest time of each counts: processor time of ML-PACE, time on the
clock of acerust. PROGRAM is the command line of this repository
(default: target/release/acerust). A virtual environment with python-ace is made in target/pace; where that fails, a line that
starts with SKIPPED says why; `--fetch` does that alone. Writes benchmark/results/pace-<machine>.csv and benchmark/results/pace-potentials-<machine>.csv.
"""
import csv
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "pace"
PACKAGE = "python-ace==0.4.0rc1"
RCUT, LMAX, ROUNDS = 5.5, 6, 3
SECONDS = 0.5
MODELS = [("si_2_8", 2, 8), ("si_3_10", 3, 10), ("si_bench", 3, 12), ("si_3_14", 3, 14), ("si_3_16", 3, 16)]


def fetch():
    """Makes the environment that has python-ace; its interpreter."""
    python = VENV / "bin" / "python"
    if subprocess.run([python, "-c", "import pyace"], capture_output=True).returncode if python.exists() else True:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        install = subprocess.run([VENV / "bin" / "pip", "install", "--quiet", "--only-binary=:all:", PACKAGE], capture_output=True, text=True)
        if install.returncode:
            reason = (install.stderr.strip().splitlines() or ["pip failed"])[-1]
            sys.exit(print(f"SKIPPED: the comparison with ML-PACE: no wheel of {PACKAGE} for {sys.version.split()[0]}: {reason}"))
    return python


def enter_venv():
    """Runs this script again in that environment."""
    if Path(sys.prefix).resolve() != VENV.resolve():
        python = fetch()
        os.execv(python, [python, __file__, *sys.argv[1:]])


def functions(order, degree):
    """The functions: sorted tuples of (n, l) that couple to an invariant."""
    factors = sorted(((n, l) for l in range(LMAX + 1) for n in range(1, degree + 1)), key=lambda f: f[::-1])
    factors = [(n, l) for n, l in factors if n + 1.5 * l <= degree]
    for k in range(1, order + 1):
        for product in itertools.combinations_with_replacement(factors, k):
            l = [l for _, l in product]
            if sum(n + 1.5 * l for n, l in product) > degree or sum(l) % 2:
                continue
            if 2 * max(l) <= sum(l):
                yield product


def basis(order, degree):
    """ML-PACE's basis of these functions with random coefficients, and their number."""
    import numpy as np
    import pyace

    products = list(functions(order, degree))
    n_first = max(p[0][0] for p in products if len(p) == 1)
    n_most = max(n for p in products if len(p) > 1 for n, _ in p)
    l_most = max(l for p in products for _, l in p)
    config = pyace.create_multispecies_basis_config({
        "deltaSplineBins": 0.001,
        "elements": ["Si"],
        "embeddings": {"ALL": {"npot": "FinnisSinclair", "fs_parameters": [1, 1], "ndensity": 1, "rho_core_cut": 1e9, "drho_core_cut": 1e3}},
        "bonds": {"ALL": {
            "NameOfCutoffFunction": "cos", "core-repulsion": [0.0, 5.0], "dcut": 0.01,
            "radbase": "ChebExpCos", "radparameters": [5.25], "rcut": RCUT,
        }},
        "functions": {"ALL": {"nradmax_by_orders": [n_first] + [n_most] * (order - 1), "lmax_by_orders": [0] + [1] * (order - 1)}},
    })
    block = config.funcspecs_blocks[0]
    block.nradmaxi, block.lmaxi = n_most, l_most
    block.radcoefficients = [[np.eye(n_first)[n].tolist() for _ in range(l_most + 1)] for n in range(n_most)]
    rng = random.Random(1)
    block.funcspecs = [
        pyace.BBasisFunctionSpecification(
            elements=["Si"] * (len(p) + 1), ns=[n for n, _ in p], ls=[l for _, l in p],
            LS=[p[2][1]] if len(p) == 3 else [], coeffs=[rng.gauss(0, 1e-3)],
        )
        for p in products
    ]
    config.funcspecs_blocks = [block]
    return pyace.ACEBBasisSet(config), len(products)


def copper(path):
    """A potential like published ones of copper: products of up to four factors, two densities, 140 neighbours."""
    import pyace

    config = pyace.create_multispecies_basis_config({
        "deltaSplineBins": 0.001,
        "elements": ["Cu"],
        "embeddings": {"ALL": {
            "npot": "FinnisSinclairShiftedScaled", "fs_parameters": [1, 1, 1, 0.5], "ndensity": 2, "rho_core_cut": 200000, "drho_core_cut": 250,
        }},
        "bonds": {"ALL": {
            "NameOfCutoffFunction": "cos", "core-repulsion": [100.0, 5.0], "dcut": 0.01,
            "radbase": "ChebExpCos", "radparameters": [5.25], "rcut": 7.4,
        }},
        "functions": {"ALL": {"nradmax_by_orders": [15, 6, 5, 3], "lmax_by_orders": [0, 4, 3, 1]}},
    })
    rng = random.Random(1)
    # What python-ace hands out are copies.
    block = config.funcspecs_blocks[0]
    functions = block.funcspecs
    for f in functions:
        f.coeffs = [rng.gauss(0, 1e-3) for _ in f.coeffs]
    block.funcspecs = functions
    config.funcspecs_blocks = [block]
    pyace.ACEBBasisSet(config).to_ACECTildeBasisSet().save_yaml(str(path))


def crystals():
    """The atoms that each potential is measured on."""
    import ase.build

    silicon = ase.build.bulk("Si", "diamond", a=5.43, cubic=True) * (3, 3, 3)
    copper = ase.build.bulk("Cu", "fcc", a=3.61, cubic=True) * (4, 4, 4)

    def mixed(elements, a):
        atoms = ase.build.bulk("Cu", "fcc", a=a, cubic=True) * (4, 4, 4)
        rng = random.Random(1)
        atoms.set_chemical_symbols([rng.choice(elements) for _ in atoms])
        return atoms

    return {
        "si-rank4": silicon,
        "alni-sbessel": mixed(["Al", "Ni"], 3.9),
        "cho-chebpow": mixed(["C", "H", "O"], 3.4),
        "cuzr-zbl": mixed(["Cu", "Zr"], 4.1),
        "ch-linear": mixed(["C", "H"], 3.4),
        "copper": copper,
    }


def potentials(program, folder):
    """Times of potentials of pacemaker in both."""
    import ase.io
    import pyace

    copper(folder / "copper.yace")
    print(f"\n{PACKAGE}, recursive evaluator, potentials of pacemaker, one core, µs an atom; list at hand")
    print(f"{'potential':14}{'atoms':>7}{'neighbours':>11}{'ML-PACE':>9}{'acerust':>9}{'ratio':>7}{'% of peak':>11}{'convert, s':>12}")
    rows = []
    for name, atoms in crystals().items():
        path = folder / "copper.yace" if name == "copper" else ROOT / f"test/golden/pace/{name}.yace"
        atoms.rattle(0.05, seed=1)
        frames = folder / f"{name}.xyz"
        ase.io.write(frames, atoms, format="extxyz")
        expanded = pyace.ACECTildeBasisSet(str(path))
        elements = {e: k for k, e in enumerate(expanded.elements_name)}
        environment = pyace.aseatoms_to_atomicenvironment(atoms, cutoff=expanded.cutoffmax, elements_mapper_dict=elements)
        recursive, calculator = pyace.evaluator.ACERecursiveEvaluator(expanded), pyace.ACECalculator()
        recursive.set_recursive(True)
        calculator.set_evaluator(recursive)
        theirs, mine = [], []
        for _ in range(ROUNDS):
            theirs.append(1e6 * shortest(lambda: calculator.compute(environment, False)) / len(atoms))
            mine.append(ours(program, path, frames))
        best = min(mine, key=lambda m: m["us_per_atom"])
        pace, own = min(theirs), best["us_per_atom"]
        started = time.perf_counter()
        subprocess.run([program, "convert", path, "-o", folder / f"{name}.json"], check=True)
        convert = time.perf_counter() - started
        row = [len(atoms), best["edges_per_atom"], pace, own, pace / own, 100 * best["share_of_peak"], convert]
        print(f"{name:14}{row[0]:>7}{row[1]:>11.1f}{pace:>9.2f}{own:>9.3f}{pace / own:>7.1f}{row[5]:>11.1f}{convert:>12.2f}")
        rows.append([name, len(atoms), *(f"{x:.4g}" for x in row[1:])])
    save("pace-potentials", ["potential", "atoms", "neighbours", "pace", "acerust", "ratio", "percent_of_peak", "convert_s"], rows)


def save(name, header, rows):
    path = ROOT / f"benchmark/results/{name}-{machine()}.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print(path.relative_to(ROOT))


def shortest(f):
    """The shortest processor time of `f` in seconds: what others do meanwhile does not count."""
    f()
    start, best = time.perf_counter(), float("inf")
    while time.perf_counter() - start < SECONDS:
        t = time.process_time()
        f()
        best = min(best, time.process_time() - t)
    return best


def ours(program, model, frames):
    command = [program, "bench", model, frames, "--threads", "1", "--seconds", str(SECONDS / 2), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def machine():
    """The name that `make bench` gives this machine."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = [re.search(rf"^{key}\s*:(.*)$", info, re.M) for key in ("model name", "cpu family", "model")]
    words = re.findall("[0-9A-Za-z]+", " ".join(f.group(1) for f in fields if f) or os.uname().machine)
    return "-".join(words) + f"-{len(os.sched_getaffinity(0))}cpu"


def main():
    if sys.argv[1:] == ["--fetch"]:
        return fetch()
    program = Path(sys.argv[1] if len(sys.argv) > 1 else VENV.parent / "release/acerust")
    if not program.exists():
        sys.exit(f"{program} does not exist: cargo build --release")
    enter_venv()
    import ase.build
    import ase.io
    import pyace

    crystal = ase.build.bulk("Si", "diamond", a=5.43, cubic=True) * (4, 4, 4)
    crystal.rattle(0.05, seed=1)
    n = len(crystal)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "crystal.xyz"
        ase.io.write(frames, crystal, format="extxyz")
        print(f"{PACKAGE}, {n} atoms of silicon, cutoff {RCUT} Å, one core, µs an atom; list at hand")
        print(f"{'':10}{'':>10}{'energy, forces':>30}{'design rows':>30}")
        print(f"{'model':10}{'functions':>10}{'ML-PACE':>10}{'acerust':>10}{'ratio':>10}{'ML-PACE':>10}{'acerust':>10}{'ratio':>10}")
        for model, order, degree in MODELS:
            b, n_functions = basis(order, degree)
            environment = pyace.aseatoms_to_atomicenvironment(crystal, cutoff=RCUT, elements_mapper_dict={"Si": 0})
            # python-ace keeps bare pointers: every object has to outlive its use.
            expanded = b.to_ACECTildeBasisSet()
            recursive, linear = pyace.evaluator.ACERecursiveEvaluator(expanded), pyace.ACEBEvaluator(b)
            recursive.set_recursive(True)
            forces, design = pyace.ACECalculator(), pyace.ACECalculator()
            forces.set_evaluator(recursive)
            design.set_evaluator(linear)
            mine, theirs = [], []
            for _ in range(ROUNDS):
                times = shortest(lambda: forces.compute(environment, False)), shortest(lambda: design.compute(environment, True, True))
                theirs.append([1e6 * t / n for t in times])
                mine.append(ours(program, ROOT / f"benchmark/models/{model}.json", frames))
            pace, pace_rows = map(min, zip(*theirs))
            own, own_rows = (min(m[key] for m in mine) for key in ("us_per_atom", "us_per_atom_rows"))
            print(f"{model:10}{n_functions:>10}{pace:>10.2f}{own:>10.2f}{pace / own:>10.1f}{pace_rows:>10.1f}{own_rows:>10.1f}{pace_rows / own_rows:>10.1f}")
            rows.append([model, order, degree, n_functions, n, *(f"{t:.4g}" for t in (pace, own, pace / own, pace_rows, own_rows, pace_rows / own_rows))])
        save("pace", ["model", "order", "degree", "functions", "atoms", "pace_forces", "acerust_forces", "ratio_forces", "pace_rows", "acerust_rows", "ratio_rows"], rows)
        potentials(program, Path(folder))


if __name__ == "__main__":
    main()
