#!/usr/bin/env python3
"""Writes the models in test/mace that the reference data lack, and what mace-torch 0.3.16 computes with them in double precision.

    OMP_NUM_THREADS=1 python tools/mace/generate.py [NAME …]

Weights are random. Each file is the neutral form of `export.py` with `structures`; `tiny.model` is a checkpoint and `tiny.json` its
neutral form.
"""

import json
import os
import sys
import warnings

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
warnings.filterwarnings("ignore")
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
from ase import Atoms
from e3nn import o3
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import export

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "mace")
BLOCK = modules.interaction_classes
GRAPH_VALUES = {"total_charge": -1, "total_spin": 2}


def structures(zs, seed):
    """A molecule with an atom beyond reach of the others, and a small triclinic cell with edges to own images."""
    rng = np.random.default_rng(seed)
    spiral = np.array([[0.9 * np.cos(1.9 * k), 0.9 * np.sin(1.9 * k), 0.55 * k] for k in range(5)])
    points = np.vstack([spiral + rng.normal(size=(5, 3)) * 0.08, [[30.0, 1.0, 2.0]]])
    yield Atoms([zs[k % len(zs)] for k in range(6)], positions=points)
    cell = np.array([[3.1, 0.1, 0.0], [-0.4, 2.9, 0.2], [0.5, 0.3, 3.4]])
    inside = np.array([[0.1, 0.0, 0.1], [0.5, 0.55, 0.45], [0.1, 0.5, 0.6]]) @ cell + rng.normal(size=(3, 3)) * 0.05
    yield Atoms([zs[k % len(zs)] for k in (0, 1, 1)], positions=inside, cell=cell, pbc=True)


def array(x):
    x = x.detach().numpy()
    return {"shape": list(x.shape), "data": x.ravel().tolist()}


def evaluate(model, atoms, head):
    table = AtomicNumberTable([int(z) for z in model.atomic_numbers])
    graph = data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=float(model.r_max), heads=model.heads)
    batch = next(iter(torch_geometric.dataloader.DataLoader([graph], batch_size=1))).to_dict()
    batch["head"] = torch.tensor([head])
    given = {k: GRAPH_VALUES[k] for k in getattr(model, "embedding_specs", None) or {}}
    batch.update({k: torch.tensor([v]) for k, v in given.items()})
    edges, shifts = batch["edge_index"].numpy(), batch["unit_shifts"].numpy().astype(int)
    seen = {}

    def keep(name):
        def hook(_module, _input, out):
            for k, x in enumerate(out if isinstance(out, tuple) else [out]):
                if x is not None:
                    seen[f"{name}.{k}" if isinstance(out, tuple) else name] = array(x)
        return hook

    hooks = []
    for t, (interaction, product) in enumerate(zip(model.interactions, model.products)):
        hooks.append(interaction.register_forward_hook(keep(f"interaction.{t}")))
        hooks.append(product.symmetric_contractions.register_forward_hook(keep(f"contraction.{t}")))
        hooks.append(product.register_forward_hook(keep(f"node_feats.{t}")))
    hooks += [r.register_forward_hook(keep(f"readout.{t}")) for t, r in enumerate(model.readouts)]
    out = model(batch, training=False, compute_force=True, compute_virials=True, compute_edge_forces=True)
    for hook in hooks:
        hook.remove()
    return {
        "numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(), "cell": np.array(atoms.cell).tolist(),
        "pbc": [bool(x) for x in atoms.pbc], "head": head, **given, "sender": edges[0].tolist(), "receiver": edges[1].tolist(),
        "shift": shifts.tolist(), "energy": out["energy"].item(), "node_energy": out["node_energy"].detach().tolist(),
        "forces": out["forces"].detach().tolist(), "virials": out["virials"][0].detach().tolist(),
        "intermediates": {"dE_dvector": array(out["edge_forces"]), **seen},
    }


def build(zs, seed, gain, heads=("Default",), cls="ScaleShiftMACE", **options):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    e0 = -rng.uniform(1, 9, size=(len(heads), len(zs))).round(3)
    base = dict(
        r_max=3.6, num_bessel=5, num_polynomial_cutoff=5, max_ell=2, num_elements=len(zs), atomic_numbers=zs, correlation=2, num_interactions=2,
        atomic_energies=e0 if len(heads) > 1 else e0[0], avg_num_neighbors=3.25, gate=torch.nn.functional.silu, MLP_irreps=o3.Irreps("4x0e"),
        radial_MLP=[8, 8], use_reduced_cg=False, heads=list(heads), interaction_cls=BLOCK["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=BLOCK["RealAgnosticResidualInteractionBlock"], hidden_irreps="4x0e+4x1o")
    if cls == "ScaleShiftMACE":
        base.update(atomic_inter_scale=[0.83, 1.3] if len(heads) > 1 else 0.83, atomic_inter_shift=[0.21, -0.4] if len(heads) > 1 else 0.21)
    base.update(options)
    for k in ("hidden_irreps", "edge_irreps"):
        if k in base:
            base[k] = o3.Irreps(base[k])
    model = getattr(modules, cls)(**base).eval()
    last = f"conv_tp_weights.layer{len(base['radial_MLP'])}.weight"
    for name, p in model.named_parameters():  # nothing stays at a special value
        if name.endswith("bias") or ("net." in name and p.ndim == 1):
            p.data += 0.3 * torch.randn_like(p)
        elif name.endswith("beta"):
            p.data.fill_(0.6)
        elif name.endswith("alpha"):
            p.data.fill_(1.75)
        elif name.endswith(last):
            p.data *= gain
        elif "_embedding.weight" in name and "node" not in name:
            p.data = torch.randn_like(p)
        elif ".symmetric_contractions." in name:
            p.data *= p.shape[1] ** 0.5
    return model


NONLINEAR = dict.fromkeys(("interaction_cls", "interaction_cls_first"), BLOCK["RealAgnosticResidualNonLinearInteractionBlock"])
DENSITY = dict(interaction_cls=BLOCK["RealAgnosticDensityResidualInteractionBlock"], interaction_cls_first=BLOCK["RealAgnosticDensityInteractionBlock"])
MODELS = {
    # Three layers, hidden l up to 2, density blocks, Agnesi, ZBL, reduced couplings.
    "three_layers": dict(zs=[8, 14, 26], seed=31, gain=1.5, hidden_irreps="3x0e+3x1o+3x2e", correlation=3, num_interactions=3, distance_transform="Agnesi",
                         pair_repulsion=True, use_reduced_cg=True, **DENSITY),
    # Nonlinear blocks, edges of another width, late cutoff, charge and spin, soft transform.
    "nonlinear": dict(zs=[1, 8], seed=32, gain=1.0, hidden_irreps="4x0e+4x1o", edge_irreps="3x0e+3x1o", apply_cutoff=False, use_reduced_cg=True, distance_transform="Soft",
                      embedding_specs={"total_spin": dict(type="categorical", per="graph", in_dim=1, emb_dim=5, num_classes=4, offset=0),
                                       "total_charge": dict(type="categorical", per="graph", in_dim=1, emb_dim=4, num_classes=5, offset=2)}, **NONLINEAR),
    # Two heads, product without species, biased readout.
    "two_heads": dict(zs=[6, 8], seed=33, gain=1.0, heads=("a", "b"), use_agnostic_product=True, apply_cutoff=False,
                      readout_cls=modules.readout_classes["NonLinearBiasReadoutBlock"], **NONLINEAR),
    # Two heads with the plain readout, Chebyshev functions (whose derivatives torch leaves out of the forces), late cutoff with plain blocks, only the last readout.
    "chebyshev": dict(zs=[7, 13], seed=34, gain=1.5, heads=("a", "b"), radial_type="chebyshev", distance_transform="Agnesi", apply_cutoff=False, use_last_readout_only=True),
}


def main():
    for name, options in MODELS.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        model = build(**options)
        out = export.neutral(model)
        zs = [int(z) for z in model.atomic_numbers]
        heads = range(len(model.heads))
        out["structures"] = [evaluate(model, atoms, h) for h in heads for atoms in structures(zs, options["seed"])]
        path = os.path.join(OUT, name + ".json")
        with open(path, "w") as f:
            json.dump(out, f, separators=(",", ":"))
        print(name, os.path.getsize(path) // 1000, "kB", [round(s["energy"], 4) for s in out["structures"]], "largest force",
              [round(float(np.abs(s["forces"]).max()), 3) for s in out["structures"]])
    if len(sys.argv) > 1:
        return
    model = build([3, 9], 35, 1.0, hidden_irreps="2x0e+2x1o", num_bessel=3, radial_MLP=[4], **DENSITY).float()
    model.compiled_code_is_left_out = "X" * 5000
    torch.save(model, os.path.join(OUT, "tiny.model"))
    with open(os.path.join(OUT, "tiny.json"), "w") as f:
        json.dump(export.neutral(model), f, separators=(",", ":"))


if __name__ == "__main__":
    main()
