#!/usr/bin/env python3
"""Turns MACE checkpoints into the files that ACERust reads, where mace-torch is installed.

    python export.py checkpoint.model model.safetensors
    python export.py checkpoint.model model.json           (small models)

`acerust convert` does the same without Python. A checkpoint is a pickled program: open only those that you trust. Models that were
converted for an accelerated backend are to be converted back first.
"""

import json
import os
import sys
import warnings

os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
warnings.filterwarnings("ignore")

# What anybody can compute anew, and what belongs to compiled code.
LEFT_OUT = ("output_mask", "_compiled_main", "_w3j", "graph_opt", "contractions_weighting.", "contractions_features.", "spherical_harmonics")


def name_of(function):
    return None if function is None else (getattr(function, "__name__", None) or type(function).__name__).lower()


def linear(m):
    paths = [{"in": p.i_in, "out": p.i_out, "alpha": float(p.path_weight), "shape": list(p.path_shape)} for p in m.instructions]
    return {"kind": "linear", "irreps_in": str(m.irreps_in), "irreps_out": str(m.irreps_out), "paths": paths}


def product(m):
    paths = [{"in1": p.i_in1, "in2": p.i_in2, "out": p.i_out, "mode": p.connection_mode, "alpha": float(p.path_weight), "shape": list(p.path_shape)}
             for p in m.instructions]
    return {"kind": "tensor_product", "irreps_in1": str(m.irreps_in1), "irreps_in2": str(m.irreps_in2), "irreps_out": str(m.irreps_out), "paths": paths}


def activation(act):
    """The name of an activation of e3nn and the constant that multiplies it."""
    if act is None:
        return None, 1.0
    return name_of(act.f), 1.0 if act._is_id else float(act.cst)


def mlp(m):
    if hasattr(m, "net"):
        eps = [layer.eps for layer in m.net if type(layer).__name__ == "LayerNorm"]
        return {"kind": "mlp_layernorm", "sizes": list(m.hs), "eps": eps, "act": "silu"}
    act, constant = activation(m.layer0.act)
    return {"kind": "mlp", "sizes": list(m.hs), "act": act, "act_constant": constant}


def gate(m):
    if hasattr(m, "_scalar_cst"):
        acts = {"act": name_of(m._act_scalar), "act_constant": m._scalar_cst, "gate": name_of(m._act_gate), "gate_constant": m._gate_cst}
    else:  # the gate of e3nn, in older checkpoints
        (act, a), (gating, g) = activation(m.act_scalars.acts[0]), activation(m.act_gates.acts[0])
        acts = {"act": act, "act_constant": a, "gate": gating, "gate_constant": g}
    irreps = {"irreps_in": m.irreps_in, "irreps_out": m.irreps_out, "scalars": m.irreps_scalars, "gates": m.irreps_gates, "gated": m.irreps_gated}
    return {"kind": "gate", **{k: str(v) for k, v in irreps.items()}, **acts}


def interaction(m):
    out = {"class": type(m).__name__, "avg_num_neighbors": float(m.avg_num_neighbors), "node_feats": str(m.node_feats_irreps),
           "target": str(m.target_irreps), "hidden": str(m.hidden_irreps), "conv_tp": product(m.conv_tp), "conv_tp_weights": mlp(m.conv_tp_weights)}
    for k in ("linear_up", "linear", "linear_1", "linear_2", "linear_res", "source_embedding", "target_embedding"):
        if hasattr(m, k):
            out[k] = linear(getattr(m, k))
    if hasattr(m, "skip_tp"):
        out["skip_tp"] = (product if hasattr(m.skip_tp, "irreps_in1") else linear)(m.skip_tp)
    if hasattr(m, "density_fn"):
        out["density_fn"] = mlp(m.density_fn)
    if hasattr(m, "equivariant_nonlin"):
        out["equivariant_nonlin"] = gate(m.equivariant_nonlin)
    return out


def readout(m):
    out = {"class": type(m).__name__}
    for k in ("linear", "linear_1", "linear_mid", "linear_2"):
        if hasattr(m, k):
            out[k] = linear(getattr(m, k))
    if hasattr(m, "non_linearity"):
        out["act"], out["act_constant"] = activation(m.non_linearity.acts[0])
        out["num_heads"] = getattr(m, "num_heads", 1)
    return out


def config(m):
    """All of a model that is not a tensor."""
    radial = m.radial_embedding
    transform = getattr(radial, "distance_transform", None)
    out = {
        "format": "mace-neutral", "version": 1, "class": type(m).__name__, "dtype": str(m.r_max.dtype).split(".")[-1],
        "heads": list(getattr(m, "heads", None) or ["Default"]), "num_interactions": int(m.num_interactions), "layout": "mul_ir",
        "lmax": max(m.spherical_harmonics._ls_list), "harmonics": "e3nn, component, normalised input",
        "radial": {"basis": type(radial.bessel_fn).__name__, "n": int(radial.out_dim), "apply_cutoff": bool(getattr(radial, "apply_cutoff", True)),
                   "transform": None if transform is None else type(transform).__name__},
        "zbl": hasattr(m, "pair_repulsion_fn"), "node_embedding": linear(m.node_embedding.linear),
        "interactions": [interaction(x) for x in m.interactions], "products": [], "readouts": [readout(x) for x in m.readouts],
    }
    for k in ("use_reduced_cg", "use_agnostic_product", "use_last_readout_only"):
        out[k] = bool(getattr(m, k, False))
    for p in m.products:
        c = p.symmetric_contractions
        contraction = {"irreps_in": str(c.irreps_in), "irreps_out": str(c.irreps_out), "correlation": [k.correlation for k in c.contractions]}
        out["products"].append({"use_sc": bool(p.use_sc), "linear": linear(p.linear), "contraction": contraction})
    if hasattr(radial.bessel_fn, "coeff"):
        out["radial"]["gaussian_coefficient"] = float(radial.bessel_fn.coeff)
    if hasattr(m, "joint_embedding"):
        out["embedding_specs"], out["embedding_readout"] = m.embedding_specs, hasattr(m, "embedding_readout")
    return out


def tensors(m):
    """Parameters and constants by name, as numpy arrays."""
    state = {k: v for k, v in m.state_dict().items() if v.numel() > 0 and not any(part in k for part in LEFT_OUT)}
    return {k: v.detach().cpu().contiguous().numpy() for k, v in state.items()}


def as_json(x):
    out = {"shape": list(x.shape), "dtype": str(x.dtype)}
    flat = x.ravel()
    index = [k for k, v in enumerate(flat.tolist()) if v != 0]
    if x.size > 200 and len(index) < 0.3 * x.size:  # couplings
        return {**out, "index": index, "value": flat[index].tolist()}
    return {**out, "data": [int(v) for v in flat] if x.dtype == bool else flat.tolist()}


def neutral(m):
    return {"config": config(m), "tensors": {k: as_json(v) for k, v in tensors(m).items()}}


def main(checkpoint, out):
    import torch

    model = torch.load(checkpoint, map_location="cpu", weights_only=False).eval()
    if out.endswith(".safetensors"):
        from safetensors.numpy import save_file

        save_file(tensors(model), out, metadata={"config": json.dumps(config(model))})
    else:
        with open(out, "w") as f:
            json.dump(neutral(model), f, separators=(",", ":"))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
