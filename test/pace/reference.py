"""What python-ace computes: reads a JSON list of jobs from the standard input, writes a list of results.

A job has `potential` (a file), `structures` (symbols, positions, cell or null, pbc) and may have `active_set` (a file, for a `.yaml`). A
result has, for each structure, `energies` (eV), `forces` (eV/Å) and, with an active set, `grade`.
"""
import contextlib
import json
import os
import sys

from ase import Atoms
from pyace.asecalc import PyACECalculator


def compute(job):
    calculator = PyACECalculator(job["potential"])
    if job.get("active_set"):
        calculator.set_active_set(job["active_set"])
    results = []
    for s in job["structures"]:
        atoms = Atoms(s["symbols"], s["positions"], cell=s["cell"], pbc=s["pbc"])
        calculator.calculate(atoms)
        r = calculator.results
        results.append({key: r[name].tolist() for key, name in [("energies", "energies"), ("forces", "forces"), ("grade", "gamma")] if name in r})
    return results


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    # Warnings of the library go where they do no harm.
    os.dup2(2, 1)
    with contextlib.redirect_stdout(sys.stderr):
        results = [compute(job) for job in json.load(sys.stdin)]
    json.dump(results, out)
