"""Operators: forward, backward and double backward of any operation. A descriptor is a text, so that exported programs hold all that there is
to know."""

import collections
import functools
import threading

import torch
from torch import Tensor, library
from torch.utils.dlpack import to_dlpack

from .. import _acerust
from ..errors import ArgumentError

_STORAGE = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


@functools.lru_cache(maxsize=None)
def operation(descriptor, storage):
    return _acerust.Operation(descriptor, storage)


@functools.lru_cache(maxsize=None)
def ports(descriptor):
    return operation(descriptor, "f32").ports()


def _sizes(descriptor, inputs):
    """Rows, nodes (0 where there are none) and the shape of the result."""
    shapes, _, (_, extent, width) = ports(descriptor)
    if len(inputs) != len(shapes):
        raise ArgumentError(f"{len(inputs)} inputs, expected {len(shapes)}: {', '.join(name for name, *_ in shapes)}")
    sizes = {"rows": 0, "nodes": 0}
    for (_, of, _), x in reversed(list(zip(shapes, inputs))):
        if of in sizes:
            sizes[of] = x.shape[0]
    return sizes["rows"], sizes["nodes"], (sizes[extent], width)


def _array(tensor):
    """By DLPack; None for none."""
    return None if tensor is None else to_dlpack(tensor.detach().contiguous())


def _run(descriptor, inputs, indices, results, cotangent=None, directions=None):
    dtype, device = inputs[0].dtype, inputs[0].device
    for k, x in enumerate((*inputs, cotangent, *(directions or ()))):
        if x is not None and (x.dtype != dtype or x.device != device):
            names = [name for name, *_ in ports(descriptor)[0]]
            raise ArgumentError(f"{[*names, 'cotangent', *names][k]}: {x.dtype} on {x.device}, but {names[0]} is {dtype} on {device}")
    if dtype not in _STORAGE or device.type not in ("cpu", "cuda"):
        raise ArgumentError(f"{ports(descriptor)[0][0][0]}: {dtype} on {device}, expected one of {', '.join(map(str, _STORAGE))} on cpu or cuda")
    op = operation(descriptor, _STORAGE[dtype])
    rows, nodes, _ = _sizes(descriptor, inputs)
    arguments = [list(map(_array, inputs)), list(map(_array, results)), _array(cotangent), directions and list(map(_array, directions))]
    if device.type == "cpu":
        op.run(rows, nodes, arguments[0], list(map(_array, indices)), *arguments[1:])
        return
    # The library makes the device the thread's own, which it is not for longer than this.
    with torch.cuda.device(device):
        prepared = _prepared(op, device, rows, nodes, indices)
        # 1 is the default stream; by 0 the library means its own.
        prepared.run(torch.cuda.current_stream().cuda_stream or 1, *arguments)


# Sorted indices on devices. The tensors that they were made of are kept, so that no others can have their addresses.
_lists, _lock = collections.OrderedDict(), threading.Lock()
_LISTS = 64


def _prepared(op, device, rows, nodes, indices):
    # Tensors that do not count their changes are never found again; they go as soon as there is work for their place.
    counted = not any(i.is_inference() for i in indices)
    own = tuple((i.data_ptr(), i._version, i.dtype, i.stride()) for i in indices) if counted else object()
    key = op, device.index, rows, nodes, own
    with _lock:
        if key in _lists:
            _lists.move_to_end(key)
            return _lists[key][0]
    made = op.prepare(device.index, rows, nodes, [_array(i.cpu()) for i in indices])
    with _lock:
        _lists[key] = made, list(indices)
        if len(_lists) > _LISTS:
            # What is queued may be using the oldest.
            torch.cuda.synchronize(device)
            _lists.popitem(last=False)
    return made


def _like(tensors, wanted):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x, is_wanted in zip(tensors, wanted) if is_wanted]


def _spread(given, wanted):
    """Those given, and None where nothing is."""
    rest = iter(given)
    return [next(rest) if is_wanted else None for is_wanted in wanted]


_LIBRARY = library.Library("acerust", "DEF")
for _schema in (
    "forward(str descriptor, Tensor[] inputs, Tensor[] indices) -> Tensor",
    "backward(str descriptor, Tensor[] inputs, Tensor[] indices, Tensor cotangent, bool[] wanted) -> Tensor[]",
    # `along`: which inputs have a direction; `wanted`: of the inputs and, last, the cotangent.
    "double_backward(str descriptor, Tensor[] inputs, Tensor[] indices, Tensor cotangent, Tensor[] directions, bool[] along, bool[] wanted) -> Tensor[]",
):
    _LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))
_forward, _backward, _double_backward = (getattr(torch.ops.acerust, name).default for name in ("forward", "backward", "double_backward"))


def _empty(descriptor, inputs, indices):
    return inputs[0].new_empty(_sizes(descriptor, inputs)[2])


def _run_forward(descriptor, inputs, indices):
    out = _empty(descriptor, inputs, indices)
    _run(descriptor, inputs, indices, [out])
    return out


def _run_backward(descriptor, inputs, indices, cotangent, wanted):
    found = _like(inputs, wanted)
    _run(descriptor, inputs, indices, _spread(found, wanted), cotangent)
    return found


def _run_double_backward(descriptor, inputs, indices, cotangent, directions, along, wanted):
    found = _like([*inputs, cotangent], wanted)
    _run(descriptor, inputs, indices, _spread(found, wanted), cotangent, _spread(directions, along))
    return found


class _Recorded(torch.autograd.Function):
    """A call of an operator and the rule of its derivative, with its tensors one by one: lists of them take PyTorch's own wrappers long."""

    @staticmethod
    def forward(ctx, call, rule, kept, n_inputs, *tensors):
        ctx.rule, ctx.kept, ctx.n_inputs = rule, kept, n_inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        out = call()
        return out if isinstance(out, Tensor) else tuple(out)

    @staticmethod
    def backward(ctx, *cotangents):
        return None, None, None, None, *ctx.rule(ctx, ctx.needs_input_grad[4:], ctx.saved_tensors, *cotangents)


def _first(ctx, needed, tensors, cotangent):
    n, m = ctx.n_inputs, len(tensors)
    wanted = list(needed[:n])
    if cotangent is None or not any(wanted):
        return [None] * m
    found = _backward(ctx.kept, tensors[:n], tensors[n:], cotangent, wanted)
    return [*_spread(found, wanted), *[None] * (m - n)]


def _second(ctx, needed, tensors, *directions):
    (descriptor, given), n, m = ctx.kept, ctx.n_inputs, len(tensors)
    directions = _spread(directions, given)
    along, wanted = [d is not None for d in directions], [*needed[:n], needed[-1]]
    if not any(along) or not any(wanted):
        return [None] * m
    *inputs, last = _spread(
        _double_backward(descriptor, tensors[:n], tensors[n:-1], tensors[-1], [d for d in directions if d is not None], along, wanted), wanted
    )
    return [*inputs, *[None] * (m - n - 1), last]


def _third(ctx, needed, tensors, *cotangents):
    raise RuntimeError("acerust: third derivatives of operations are not here")


def _register(operator, run, fake, rule):
    name = operator._opname

    def recorded(keys, descriptor, inputs, indices, *more):
        # Programs of AOTInductor have None for no tensors.
        indices = indices or []
        tensors = [*inputs, *indices, *more[:1]]
        if operator is _double_backward:
            tensors += more[1]
        below = keys & torch._C._after_autograd_keyset

        def call():
            with torch._C._AutoDispatchBelowAutograd():
                return operator.redispatch(below, descriptor, inputs, indices, *more)

        if not torch.is_grad_enabled() or not any(x.requires_grad for x in tensors):
            return call()
        kept = (descriptor, more[1]) if operator is _backward else descriptor
        out = _Recorded.apply(call, rule, kept, len(inputs), *tensors)
        return out if isinstance(out, Tensor) else list(out)

    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    _LIBRARY.impl(name, recorded, "Autograd", with_keyset=True)
    library.register_fake(f"acerust::{name}", fake, lib=_LIBRARY)


_register(_forward, _run_forward, _empty, _first)
_register(_backward, _run_backward, lambda descriptor, inputs, indices, cotangent, wanted: _like(inputs, wanted), _second)
_register(_double_backward, _run_double_backward, lambda descriptor, inputs, indices, cotangent, directions, along, wanted: _like([*inputs, cotangent], wanted), _third)
for _device in ("cpu", "cuda"):
    library.register_autocast("acerust::forward", _device, torch.float32, lib=_LIBRARY)
