"""Modules with the arguments of cuequivariance_torch's."""

import torch

from .. import _acerust
from ..errors import ArgumentError
from . import operators
from .conventions import chains, check_math, convention_of, irrep, layout_of, order_of, pick, rank, text, to_ir_mul
from .operation import Operation


class Weighted(torch.nn.Module):
    """A module with weights of its own, or without."""

    def _init_weights(self, shape, shared, internal, device, dtype):
        self.shared_weights = shared
        self.internal_weights = shared if internal is None else internal
        if self.internal_weights and not shared:
            raise ArgumentError("internal_weights: they are shared, which shared_weights=False is not")
        self.weight = torch.nn.Parameter(torch.randn(*shape, device=device, dtype=dtype)) if self.internal_weights else None

    def _weights(self, weight):
        if (weight is None) != self.internal_weights:
            raise ArgumentError("weight: the module has its own" if self.internal_weights else "weight: it is missing")
        return self.weight if weight is None else weight

    def extra_repr(self):
        return f"shared_weights={self.shared_weights}, internal_weights={self.internal_weights}, weight_numel={self.weight_numel}"


class SphericalHarmonics(torch.nn.Module):
    """The arguments of `cuequivariance_torch.SphericalHarmonics`: (n, 3) → (n, Σ 2l+1), `Σ_m Y_lm² = 2l+1`, polar axis y. Vectors of length 0
    have none. `method` and `use_fallback` choose among the kernels of the other library: here and below they do nothing."""

    def __init__(self, ls, normalize=True, device=None, math_dtype=None, use_fallback=None, method=None):
        super().__init__()
        self.ls = [ls] if isinstance(ls, int) else list(ls)
        if not self.ls or self.ls != sorted(set(self.ls)) or self.ls[0] < 0:
            raise ArgumentError(f"ls: {self.ls}, expected ascending degrees")
        self.normalize = normalize
        self.operation = Operation({"harmonics": {"lmax": self.ls[-1]}})

    def forward(self, vectors):
        y = self.operation(vectors)
        if self.normalize and self.ls == list(range(self.ls[-1] + 1)):
            return y
        # Without normalisation they are polynomials, homogeneous in the vector.
        r = None if self.normalize else torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        parts = [y[:, l * l : (l + 1) ** 2] if r is None else y[:, l * l : (l + 1) ** 2] * r**l for l in self.ls]
        return torch.cat(parts, dim=-1)


class Linear(Weighted):
    """The arguments of `cuequivariance_torch.Linear`; e3nn's weights in e3nn's order, (weight_classes, weight_numel). With classes,
    `weight_indices` chooses one for each row. There are no weights of each row's own: shared_weights=False is refused."""

    def __init__(
        self,
        irreps_in,
        irreps_out,
        *,
        layout=None,
        layout_in=None,
        layout_out=None,
        shared_weights=True,
        internal_weights=None,
        weight_classes=1,
        device=None,
        dtype=None,
        math_dtype=None,
        use_fallback=None,
        method=None,
        convention=None,
    ):
        super().__init__()
        if not shared_weights:
            raise ArgumentError("shared_weights: False, but linear maps have no weights of each row's own here")
        check_math(math_dtype, dtype)
        self.irreps_in, self.irreps_out, self.weight_classes = text(irreps_in), text(irreps_out), weight_classes
        linear = {"irreps_in": self.irreps_in, "irreps_out": self.irreps_out}
        if weight_classes > 1:
            linear["species"] = weight_classes
        words = {"layout": layout_of(layout_in, layout), "layout_out": layout_of(layout_out, layout)}
        convention, _ = convention_of(convention, irreps_in, irreps_out)
        self.operation = Operation({"linear": linear}, convention=convention, **words)
        self.weight_numel = self.operation.inputs[1][2]
        self._init_weights((weight_classes, self.weight_numel), shared_weights, internal_weights, device, dtype)

    def forward(self, x, weight=None, weight_indices=None):
        if (self.weight_classes > 1) != (weight_indices is not None):
            raise ArgumentError(f"weight_indices: {'missing' if weight_indices is None else 'given'} for {self.weight_classes} weight classes")
        weight, rows = self._weights(weight), x.reshape(-1, x.shape[-1])
        species = {} if weight_indices is None else {"species": weight_indices.reshape(-1)}
        out = self.operation(rows, weight, **species)
        return out.reshape(*x.shape[:-1], out.shape[-1])


class Product(Weighted):
    """Products of two arguments: on rows, or with indices as a convolution."""

    def _init_product(self, kind, fields, layouts, convention):
        layout, layout_in1, layout_in2, layout_out = layouts
        first, second = layout_of(layout_in1, layout), layout_of(layout_in2, layout)
        # One layout for both arguments; it does not matter where multiplicities are 1.
        self._second = _acerust.irreps(self.irreps_in2) if first != second and first == "ir_mul" else None
        if first != second and first == "mul_ir" and any(mul > 1 and l > 0 for mul, l, _ in _acerust.irreps(self.irreps_in2)):
            raise ArgumentError("layout_in2: ir_mul with layout_in1=mul_ir is not here; the other way round is")
        words = {"layout": first, "layout_out": layout_of(layout_out, layout), "convention": convention}
        self.rowwise = Operation({kind: {**fields, "convolution": False}}, **words)
        self.convolution = Operation({kind: {**fields, "convolution": True}}, **words)
        self.weight_numel = self.rowwise.inputs[2][2]
        return operators.operation(self.rowwise.descriptor, "f32").paths()

    def _columns(self, sizes, weights, blocks, order, device=None):
        """Weights, of so many numbers a path, come in the order of these paths; the blocks of the result leave in this order."""
        columns = order_of(sizes, weights, device)
        self.register_buffer("_w", None if columns is None else torch.argsort(columns), persistent=False)
        self.register_buffer("_out", order_of([mul * (2 * l + 1) for mul, l, _ in blocks], order, device), persistent=False)

    def forward(self, x1, x2, weight=None, indices_1=None, indices_2=None, indices_out=None, size_out=None):
        """`indices_1`, `indices_2` gather rows of the arguments, `indices_out` adds results up in `size_out` rows."""
        if (indices_out is None) != (size_out is None):
            raise ArgumentError(f"size_out: {'missing' if size_out is None else 'given'}, and indices_out is not")
        weight = pick(self._weights(weight), self._w)
        if indices_2 is not None:
            x2 = x2.index_select(0, indices_2)
        if self._second is not None:
            x2 = to_ir_mul(x2, self._second)
        if indices_1 is not None and indices_out is not None and size_out == x1.shape[0]:
            return pick(self.convolution(x1, x2, weight, sender=indices_1, receiver=indices_out), self._out)
        if indices_1 is not None:
            x1 = x1.index_select(0, indices_1)
        out = self.rowwise(x1, x2, weight)
        if indices_out is not None:
            out = out.new_zeros(size_out, out.shape[1]).index_add(0, indices_out, out)
        return pick(out, self._out)


class ChannelWiseTensorProduct(Product):
    """The arguments of `cuequivariance_torch.ChannelWiseTensorProduct` (`uvu`), for a second argument of multiplicities 1."""

    def __init__(
        self,
        irreps_in1,
        irreps_in2,
        filter_irreps_out=None,
        *,
        layout=None,
        layout_in1=None,
        layout_in2=None,
        layout_out=None,
        shared_weights=True,
        internal_weights=None,
        device=None,
        dtype=None,
        math_dtype=None,
        use_fallback=None,
        method=None,
        convention=None,
    ):
        super().__init__()
        check_math(math_dtype, dtype)
        self.irreps_in1, self.irreps_in2 = text(irreps_in1), text(irreps_in2)
        convention, natural = convention_of(convention, irreps_in1, irreps_in2)
        if filter_irreps_out is None:
            pairs = [(a, b) for a in _acerust.irreps(self.irreps_in1) for b in _acerust.irreps(self.irreps_in2)]
            every = {(l, a[2] * b[2]) for a, b in pairs for l in range(abs(a[1] - b[1]), a[1] + b[1] + 1)}
            targets = "+".join(irrep(*i) for i in sorted(every))
        elif isinstance(filter_irreps_out, str) or hasattr(filter_irreps_out, "dim"):
            targets = text(filter_irreps_out)
        else:
            targets = "+".join(text(i) for i in filter_irreps_out)
        fields = {"irreps_in1": self.irreps_in1, "irreps_in2": self.irreps_in2, "targets": targets, "shared_weights": shared_weights}
        paths, blocks = self._init_product("channelwise", fields, (layout, layout_in1, layout_in2, layout_out), convention)
        order = sorted(range(len(blocks)), key=lambda k: rank(natural)(blocks[k][1:]))
        self._columns([mul for mul, *_ in blocks], order, blocks, order, device)
        self.irreps_out = "+".join(f"{blocks[k][0]}x{irrep(*blocks[k][1:])}" for k in order)
        self._init_weights((1, self.weight_numel), shared_weights, internal_weights, device, dtype)


class FullyConnectedTensorProduct(Product):
    """The arguments of `cuequivariance_torch.FullyConnectedTensorProduct` (`uvw`)."""

    def __init__(
        self,
        irreps_in1,
        irreps_in2,
        irreps_out,
        *,
        layout=None,
        layout_in1=None,
        layout_in2=None,
        layout_out=None,
        shared_weights=True,
        internal_weights=None,
        device=None,
        dtype=None,
        math_dtype=None,
        use_fallback=None,
        method=None,
        convention=None,
    ):
        super().__init__()
        check_math(math_dtype, dtype)
        self.irreps_in1, self.irreps_in2, self.irreps_out = text(irreps_in1), text(irreps_in2), text(irreps_out)
        convention, _ = convention_of(convention, irreps_in1, irreps_in2, irreps_out)
        irreps = {"irreps_in1": self.irreps_in1, "irreps_in2": self.irreps_in2, "irreps_out": self.irreps_out}
        layouts = (layout, layout_in1, layout_in2, layout_out)
        self._init_product("fully_connected", {**irreps, "shared_weights": shared_weights}, layouts, convention)
        self._w = self._out = None
        self._init_weights((1, self.weight_numel), shared_weights, internal_weights, device, dtype)


class SymmetricContraction(torch.nn.Module):
    """The arguments of `cuequivariance_torch.SymmetricContraction`; weights (num_elements, paths, multiplicity).

    With `original_mace` they are those of e3nn's basis, as the training program of MACE has them; without it those of cuEquivariance's own
    basis, which that library has to be there for, or its `projection` given.
    """

    def __init__(
        self,
        irreps_in,
        irreps_out,
        contraction_degree,
        num_elements,
        *,
        layout=None,
        layout_in=None,
        layout_out=None,
        device=None,
        dtype=None,
        math_dtype=None,
        original_mace=False,
        use_fallback=None,
        method=None,
        convention=None,
        projection=None,
    ):
        super().__init__()
        check_math(math_dtype, dtype)
        convention, natural = convention_of(convention, irreps_in, irreps_out)
        self.irreps_in, self.irreps_out = text(irreps_in), text(irreps_out)
        if not self.irreps_in or contraction_degree not in range(1, 5):
            raise ArgumentError(f"contraction_degree: {contraction_degree} of {self.irreps_in or 'no irreps'}, expected 1 to 4 of some")
        blocks, outputs = _acerust.irreps(self.irreps_in), [tuple(irrep) for _, *irrep in _acerust.irreps(self.irreps_out)]
        irreps = [tuple(irrep) for _, *irrep in blocks]
        # Where each of our paths is among theirs, if that is not the same place.
        order = None
        if natural:
            theirs = {path: k for k, path in enumerate(chains(irreps, outputs, contraction_degree, True))}
            order = [theirs[path] for path in chains(irreps, outputs, contraction_degree, False)]
        self.contraction_degree, self.num_elements = contraction_degree, num_elements
        fields = {"irreps_in": self.irreps_in, "irreps_out": self.irreps_out, "correlation": contraction_degree, "species": num_elements}
        if not original_mace:
            projection = _projection(irreps_in, irreps_out, contraction_degree) if projection is None else projection
            rows = projection if order is None else [projection[k] for k in order]
            fields["projection"] = [[float(x) for x in row] for row in rows]
        words = {"layout_out": layout_of(layout_out, layout), "convention": convention}
        self.operation = Operation({"contraction": fields}, layout="ir_mul", **words)
        paths = None if order is None or not original_mace else torch.tensor(order, device=device)
        self.register_buffer("_paths", paths, persistent=False)
        self._blocks = blocks if layout_of(layout_in, layout) == "mul_ir" else None
        mul = blocks[0][0]
        self.weight_shape = (self.operation.inputs[1][2] // mul, mul)
        self.weight = torch.nn.Parameter(torch.randn(num_elements, *self.weight_shape, device=device, dtype=dtype))

    def forward(self, x, indices):
        x = x if self._blocks is None else to_ir_mul(x, self._blocks)
        weight = self.weight if self._paths is None else self.weight.index_select(1, self._paths)
        return self.operation(x, weight.flatten(1), species=indices)

    def extra_repr(self):
        return f"contraction_degree={self.contraction_degree}, weight_shape={self.weight_shape}"


def _projection(irreps_in, irreps_out, degree):
    try:
        from cuequivariance.group_theory.experimental.mace.symmetric_contractions import symmetric_contraction
    except ImportError:
        message = "original_mace: False needs a basis of cuEquivariance, which is not installed; give `projection`, or e3nn's weights"
        raise ArgumentError(message) from None
    if not all(hasattr(irreps, "irrep_class") for irreps in (irreps_in, irreps_out)):
        raise ArgumentError("original_mace: False is for irreps of cuEquivariance, of the group that its basis is of")
    return symmetric_contraction(irreps_in, irreps_out, tuple(range(1, degree + 1)))[1]
