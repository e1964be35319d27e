"""What irreps, layouts and orders of paths are called elsewhere."""

import torch

from ..errors import ArgumentError


def text(irreps):
    return str(irreps).replace(" ", "")


def convention_of(convention, *irreps):
    """The signs of the 3j symbols, and whether irreps of natural parity come first: in cuEquivariance's O3. In its O3_e3nn and in e3nn
    odd parity does; e3nn has changed the signs in its version 0.5."""
    groups = {getattr(getattr(i, "irrep_class", None), "__name__", None) for i in irreps} - {None}
    if convention is None and len(groups) > 1:
        raise ArgumentError(f"irreps of {' and '.join(sorted(groups))}: expected one group")
    if convention is None and not groups and any(type(i).__module__.startswith("e3nn.") for i in irreps):
        from e3nn.o3 import wigner_3j

        w = wigner_3j(1, 2, 2)
        return ("O3_e3nn" if w[w.abs() > 1e-3][0] > 0 else "O3"), False
    convention = convention or (groups.pop() if groups else "O3_e3nn")
    if convention not in ("O3", "O3_e3nn"):
        raise ArgumentError(f"irreps of {convention}: expected O3 or O3_e3nn")
    return convention, convention == "O3"


def rank(natural):
    """The order of irreps (l, parity)."""
    return lambda irrep: (irrep[0], irrep[1] != (-1) ** irrep[0] if natural else irrep[1])


def chains(inputs, outputs, degree, natural):
    """What the tensors of a symmetric contraction of (l, parity) are made by: by output, from the highest order to 1, chains of couplings."""

    def order(n):
        chains = [(((k,),), irrep) for k, irrep in enumerate(inputs)]
        for _ in range(n - 1):
            longer = []
            for path, (l, p) in chains:
                for k, (m, q) in enumerate(inputs):
                    found = [(j, p * q) for j in range(abs(l - m), l + m + 1)]
                    # Of order 4 there are natural irreps alone.
                    longer += [((*path, (k, irrep)), irrep) for irrep in found if n < 4 or irrep[1] == (-1) ** irrep[0]]
            chains = sorted(longer, key=lambda chain: rank(natural)(chain[1]))
        return chains

    orders = [order(n) for n in range(degree, 0, -1)]
    return [(k, path) for k, output in enumerate(outputs) for chains in orders for path, irrep in chains if irrep == output]


def layout_of(*layouts):
    """The first that is told, as a text; cuEquivariance's default if none is."""
    layout = next((layout for layout in layouts if layout is not None), "mul_ir")
    name = getattr(layout, "name", layout)
    if name not in ("mul_ir", "ir_mul"):
        raise ArgumentError(f"layout: {name!r}, expected mul_ir or ir_mul")
    return name


def check_math(math_dtype, dtype):
    dtype = dtype or torch.get_default_dtype()
    own = torch.float64 if dtype == torch.float64 else torch.float32
    if isinstance(math_dtype, str):
        math_dtype = getattr(torch, math_dtype, math_dtype)
    if math_dtype not in (None, own):
        raise ArgumentError(f"math_dtype: {math_dtype}, but {dtype} is computed with in {own}")


def order_of(sizes, order, device):
    """The columns of blocks of such sizes in another order; None where it is the same."""
    if list(order) == list(range(len(sizes))):
        return None
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return torch.tensor([c for k in order for c in range(starts[k], starts[k] + sizes[k])], dtype=torch.int64, device=device)


def pick(x, columns):
    return x if columns is None else x.index_select(-1, columns)


def to_ir_mul(x, blocks):
    parts = x.split([mul * (2 * l + 1) for mul, l, _ in blocks], dim=-1)
    swapped = [p.unflatten(-1, (mul, 2 * l + 1)).transpose(-1, -2).flatten(-2) for p, (mul, l, _) in zip(parts, blocks)]
    return torch.cat(swapped, dim=-1)


def irrep(l, parity):
    return f"{l}{'e' if parity == 1 else 'o'}"
