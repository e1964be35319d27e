#!/usr/bin/env python3
"""What mace-torch takes on one core for models of the sizes that `make bench-mace` measures.

    OMP_NUM_THREADS=1 python tools/mace/bench.py
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generate
import torch

SIZES = {"64x0e": "64x0e", "128x0e+128x1o": "128x0e+128x1o"}


def model(hidden, dtype):
    torch.set_default_dtype(torch.float64)
    built = generate.build([14, 32], 1, 1.0, hidden_irreps=hidden, r_max=5.0, num_bessel=8, max_ell=3, correlation=3, avg_num_neighbors=28.0,
                           radial_MLP=[64, 64, 64], MLP_irreps=generate.o3.Irreps("16x0e"),
                           interaction_cls_first=generate.BLOCK["RealAgnosticInteractionBlock"])
    return built.to(dtype)


def timed(hidden, dtype):
    from ase.build import bulk

    m = model(hidden, dtype)
    torch.set_default_dtype(dtype)
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(3)
    atoms.rattle(0.05, seed=1)
    table = generate.AtomicNumberTable([14, 32])
    graph = generate.data.AtomicData.from_config(generate.data.config_from_atoms(atoms), z_table=table, cutoff=5.0, heads=m.heads)
    batch = next(iter(generate.torch_geometric.dataloader.DataLoader([graph], batch_size=1))).to_dict()
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        m({k: v.clone() if torch.is_tensor(v) else v for k, v in batch.items()}, compute_force=True, compute_virials=True)
        best = min(best, time.perf_counter() - start)
    return best / len(atoms) * 1e6


if __name__ == "__main__":
    for name, hidden in SIZES.items():
        for dtype in (torch.float64, torch.float32):
            print(f"mace-torch {name} {str(dtype).split('.')[-1]} {timed(hidden, dtype):.0f} us/atom")
