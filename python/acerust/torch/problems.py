"""Modules with the arguments of OpenEquivariance's."""

from .. import _acerust
from ..errors import ArgumentError
from .conventions import layout_of, text
from .modules import Product


class TPProblem:
    """The arguments of `openequivariance.TPProblem`, which may be given instead. Types are those of the tensors."""

    def __init__(
        self,
        irreps_in1,
        irreps_in2,
        irreps_out,
        instructions,
        in1_var=None,
        in2_var=None,
        out_var=None,
        irrep_normalization="component",
        path_normalization="element",
        internal_weights=False,
        shared_weights=None,
        label=None,
        irrep_dtype=None,
        weight_dtype=None,
        layout="mul_ir",
    ):
        self.irreps_in1, self.irreps_in2, self.irreps_out = irreps_in1, irreps_in2, irreps_out
        self.instructions_raw = [tuple(i) for i in instructions]
        self.in1_var, self.in2_var, self.out_var = in1_var, in2_var, out_var
        self.irrep_normalization, self.path_normalization = irrep_normalization, path_normalization
        self.internal_weights = internal_weights
        self.shared_weights = True if shared_weights is None else shared_weights
        self.label, self.layout = label, layout


class TensorProduct(Product):
    """The arguments of OpenEquivariance's module: the product of a TPProblem. All its instructions are `uvu` with multiplicities 1 in the
    second argument and a block of the result each, or all are `uvw`; others are refused. Weights are in e3nn's order; signs are those of
    OpenEquivariance and of e3nn since 0.5, or `convention="O3_e3nn"` those before."""

    def __init__(self, problem, torch_op=True, use_opaque=False, convention="O3"):
        super().__init__()
        refused = {"irrep_normalization": "component", "path_normalization": "element", "internal_weights": False}
        refused |= {"in1_var": None, "in2_var": None, "out_var": None}
        for name, only in refused.items():
            value = getattr(problem, name, only)
            if value != only and value is not None:
                raise ArgumentError(f"{name}: {value!r}, expected {only!r}")
        raw = getattr(problem, "instructions_raw", None) or problem.instructions
        instructions = [(*i, 1.0)[:6] for i in raw]
        modes = {mode for _, _, _, mode, *_ in instructions}
        if modes not in ({"uvu"}, {"uvw"}):
            raise ArgumentError(f"instructions: {', '.join(sorted(modes)) or 'none'}, expected all uvu or all uvw")
        for i, (_, _, _, _, has_weight, path_weight) in enumerate(instructions):
            if not has_weight or path_weight != 1.0:
                raise ArgumentError(f"instruction {i}: has_weight={has_weight}, path_weight={path_weight}, expected True and 1")
        self.irreps_in1, self.irreps_in2, self.irreps_out = (text(i) for i in (problem.irreps_in1, problem.irreps_in2, problem.irreps_out))
        layouts, uvu = (layout_of(getattr(problem, "layout", None)), None, None, None), modes == {"uvu"}
        out = _acerust.irreps(self.irreps_out)
        fields = {"irreps_in1": self.irreps_in1, "irreps_in2": self.irreps_in2, "shared_weights": bool(problem.shared_weights)}
        fields |= {"targets": self.irreps_out} if uvu else {"irreps_out": self.irreps_out}
        paths, blocks = self._init_product("channelwise" if uvu else "fully_connected", fields, layouts, convention)
        # What each path is: its blocks, and those of the result by irrep where there is one block for each path.
        key = (lambda a, b, c: (a, b, *blocks[c][1:])) if uvu else (lambda a, b, c: (a, b, c))
        known = {key(*path): k for k, path in enumerate(paths)}
        asked = [(a, b, *out[c][1:]) if uvu else (a, b, c) for a, b, c, *_ in instructions]
        for k, path in enumerate(asked):
            if path not in known or path in asked[:k]:
                raise ArgumentError(f"instruction {k}: {instructions[k][:3]} is no product, or there twice")
        if len(asked) < len(known):
            missing = next(path for path in known if path not in asked)
            raise ArgumentError(f"instructions: blocks {missing[0]} and {missing[1]} have another product in irreps_out, which is missing")
        weights, order = [known[path] for path in asked], range(len(out))
        if uvu:
            targets = [c for _, _, c, *_ in instructions]
            if sorted(targets) != list(order) or any(out[c][0] != blocks[k][0] for c, k in zip(targets, weights)):
                raise ArgumentError("irreps_out: expected one block for each instruction, of the multiplicity of its first argument")
            order = [k for _, k in sorted(zip(targets, weights))]
        first, second = _acerust.irreps(self.irreps_in1), _acerust.irreps(self.irreps_in2)
        sizes = [first[a][0] * second[b][0] * (1 if uvu else out[c][0]) for a, b, c in paths]
        self._columns(sizes, weights, blocks, order)
        self.shared_weights, self.internal_weights, self.weight = bool(problem.shared_weights), False, None

    def forward(self, x, y, W):
        return super().forward(x, y, W)

    def reorder_weights_from_e3nn(self, weights, has_batch_dim=True):
        """They are e3nn's."""
        return weights

    reorder_weights_to_e3nn = reorder_weights_from_e3nn


class TensorProductConv(TensorProduct):
    """The arguments of OpenEquivariance's module: the same, for edges from nodes `cols` to nodes `rows`. The result is always the same to
    the last bit, for edges in any order, so `deterministic` and `sender_perm` do nothing; `kahan` is refused."""

    def __init__(self, problem, *, deterministic=False, kahan=False, torch_op=True, use_opaque=False, convention="O3"):
        if kahan:
            raise ArgumentError("kahan: sums are not compensated here")
        super().__init__(problem, convention=convention)

    def forward(self, X, Y, W, rows, cols, sender_perm=None):
        return Product.forward(self, X, Y, W, indices_1=cols, indices_out=rows, size_out=X.shape[0])
