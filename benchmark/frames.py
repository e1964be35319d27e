"""Supercells of silicon, 64 to 216 atoms, strained and rattled, as extended XYZ without data: frames.py ATOMS. Always the same."""

import random
import sys

CELLS = [(2, 2, 2), (3, 2, 2), (3, 3, 2), (3, 3, 3)]
FCC = [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)]
DIAMOND = FCC + [tuple(x + 0.25 for x in site) for site in FCC]

random.seed(1)
left, frame = int(sys.argv[1]), 0
while left > 0:
    counts, hot = CELLS[frame % 4], frame % 3 == 0
    edges = [5.43 * n * random.uniform(0.97, 1.03) for n in counts]
    shear = [random.gauss(0, 0.1) for _ in range(3)]
    cell = [edges[0], 0, 0, shear[0], edges[1], 0, shear[1], shear[2], edges[2]]
    sites = [
        [(i + n) / count for i, n, count in zip(site, at, counts)]
        for at in ((x, y, z) for x in range(counts[0]) for y in range(counts[1]) for z in range(counts[2]))
        for site in DIAMOND
    ]
    spread = 0.2 if hot else 0.05
    lines = [str(len(sites))]
    lattice = " ".join(f"{x:.6f}" for x in cell)
    lines.append(f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T" config_type={"hot" if hot else "cold"}')
    for site in sites:
        x = [sum(site[d] * cell[3 * d + a] for d in range(3)) + random.gauss(0, spread) for a in range(3)]
        lines.append(f"Si {x[0]:.8f} {x[1]:.8f} {x[2]:.8f}")
    print("\n".join(lines))
    left, frame = left - len(sites), frame + 1
