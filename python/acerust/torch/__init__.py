"""Equivariant operations for PyTorch, on the processor and on CUDA devices: custom operators with derivatives of first and second order.

>>> import acerust.torch as at
>>> linear = at.Linear("128x0e+128x1o", "64x0e", layout="ir_mul")        # the arguments of cuequivariance_torch
>>> operation = at.Operation({"radial": {"r_max": 5.0, "basis": {"bessel": {"n": 8}}, "cutoff": 5}})
>>> operation(r)                                                         # any operation of docs/operations.md

>>> at.Potential("my.model")(numbers, positions)["forces"]                # of a MACE model, to train it

Tensors are float64, float32, float16 or bfloat16, all of a call of one type and on one device; they are not copied where they are
contiguous. On a CUDA device work is queued on the current stream, and nothing waits but the first use of new indices; results that
are not finite are errors on the processor, and stay what they are on a device. Under autocast the operations run in float32.
"""

from .modules import ChannelWiseTensorProduct, FullyConnectedTensorProduct, Linear, SphericalHarmonics, SymmetricContraction
from .operation import Operation
from .potential import Potential
from .problems import TensorProduct, TensorProductConv, TPProblem

__all__ = [
    "ChannelWiseTensorProduct",
    "FullyConnectedTensorProduct",
    "Linear",
    "Operation",
    "Potential",
    "SphericalHarmonics",
    "SymmetricContraction",
    "TPProblem",
    "TensorProduct",
    "TensorProductConv",
]
