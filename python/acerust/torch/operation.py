"""Any operation as a module."""

import json

import torch

from ..errors import ArgumentError
from . import operators


class Operation(torch.nn.Module):
    """One operation of docs/operations.md: `operation`, a dictionary such as `{"linear": {"irreps_in": "8x0e", "irreps_out": "4x0e"}}`.

    Called with its inputs in their order, (rows or nodes, width) each, weights (width,) where there is one row of them; and its indices by
    name, int32 or int64: `convolution(x, y, w, sender=j, receiver=i)`.
    """

    def __init__(self, operation, *, layout="ir_mul", layout_out=None, convention="O3_e3nn", arithmetic="full"):
        super().__init__()
        words = {"layout": layout, "layout_out": layout_out, "convention": convention, "arithmetic": arithmetic}
        words = {key: value for key, value in words.items() if value is not None}
        self.descriptor = json.dumps({"operation": operation, **words})
        inputs, indices, _ = operators.ports(self.descriptor)
        self.inputs = tuple((name, int(extent) if extent.isdigit() else None, width) for name, extent, width in inputs)
        self.indices = tuple(name for name, _ in indices)

    def forward(self, *inputs, **indices):
        if len(inputs) != len(self.inputs):
            raise ArgumentError(f"{len(inputs)} inputs, expected {len(self.inputs)}: {', '.join(p[0] for p in self.inputs)}")
        if set(indices) != set(self.indices):
            raise ArgumentError(f"indices {', '.join(indices) or 'none'}: expected {', '.join(self.indices) or 'none'}")
        found = []
        for (name, rows, width), x in zip(self.inputs, inputs):
            if rows == 1 and x.dim() == 1 or width == 1 and rows is None and x.dim() == 1:
                x = x.reshape(-1, width) if rows is None else x.unsqueeze(0)
            if x.dim() != 2 or x.shape[1] != width or rows is not None and x.shape[0] != rows:
                raise ArgumentError(f"{name}: shape {tuple(x.shape)}, expected ({'n' if rows is None else rows}, {width})")
            found.append(x)
        return torch.ops.acerust.forward.default(self.descriptor, found, [indices[name] for name in self.indices])

    def extra_repr(self):
        return self.descriptor
