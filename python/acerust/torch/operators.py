"""Operators: forward, backward and double backward of any operation. A descriptor is a text, so that exported programs hold all that there is
to know."""

import collections
import functools
import threading
from collections.abc import Sequence

import torch
from torch import Tensor, library

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
    return torch.utils.dlpack.to_dlpack(tensor.detach().contiguous())


def _run(descriptor, inputs, indices, results, cotangent=None, directions=None):
    # Programs of AOTInductor have None for no tensors.
    indices = indices or []
    first, names = inputs[0], [name for name, *_ in ports(descriptor)[0]]
    for name, x in [*zip(names, inputs), ("cotangent", cotangent), *zip(names, directions or ())]:
        if x is not None and (x.dtype != first.dtype or x.device != first.device):
            raise ArgumentError(f"{name}: {x.dtype} on {x.device}, but {names[0]} is {first.dtype} on {first.device}")
    if first.dtype not in _STORAGE:
        raise ArgumentError(f"{names[0]}: {first.dtype}, expected one of {', '.join(map(str, _STORAGE))}")
    op = operation(descriptor, _STORAGE[first.dtype])
    rows, nodes, _ = _sizes(descriptor, inputs)
    optional = lambda tensors: [None if x is None else _array(x) for x in tensors]
    arguments = [[_array(x) for x in inputs], optional(results)]
    more = [None if cotangent is None else _array(cotangent), None if directions is None else optional(directions)]
    if first.device.type == "cpu":
        op.run(rows, nodes, arguments[0], [_array(i) for i in indices], arguments[1], *more)
    elif first.device.type == "cuda":
        # The library makes the device the thread's own, which it is not for longer than this.
        with torch.cuda.device(first.device):
            prepared = _prepared(op, first.device, rows, nodes, indices)
            # 1 is the default stream; by 0 the library means its own.
            prepared.run(torch.cuda.current_stream().cuda_stream or 1, *arguments, *more)
    else:
        raise ArgumentError(f"{names[0]}: on {first.device}, expected cpu or cuda")


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


@library.custom_op("acerust::forward", mutates_args=())
def _forward(descriptor: str, inputs: Sequence[Tensor], indices: Sequence[Tensor]) -> Tensor:
    out = inputs[0].new_empty(_sizes(descriptor, inputs)[2])
    _run(descriptor, inputs, indices, [out])
    return out


@_forward.register_fake
def _(descriptor, inputs, indices):
    return inputs[0].new_empty(_sizes(descriptor, inputs)[2])


@library.custom_op("acerust::backward", mutates_args=())
def _backward(
    descriptor: str, inputs: Sequence[Tensor], indices: Sequence[Tensor], cotangent: Tensor, wanted: Sequence[bool]
) -> list[Tensor]:
    found = _like(inputs, wanted)
    _run(descriptor, inputs, indices, _spread(found, wanted), cotangent)
    return found


@_backward.register_fake
def _(descriptor, inputs, indices, cotangent, wanted):
    return _like(inputs, wanted)


# `along`: which inputs have a direction; `wanted`: of the inputs and, last, the cotangent.
@library.custom_op("acerust::double_backward", mutates_args=())
def _double_backward(
    descriptor: str,
    inputs: Sequence[Tensor],
    indices: Sequence[Tensor],
    cotangent: Tensor,
    directions: Sequence[Tensor],
    along: Sequence[bool],
    wanted: Sequence[bool],
) -> list[Tensor]:
    found = _like([*inputs, cotangent], wanted)
    _run(descriptor, inputs, indices, _spread(found, wanted), cotangent, _spread(directions, along))
    return found


@_double_backward.register_fake
def _(descriptor, inputs, indices, cotangent, directions, along, wanted):
    return _like([*inputs, cotangent], wanted)


def _keep(ctx, inputs, output):
    ctx.descriptor, tensors, indices = inputs[:3]
    ctx.counts = len(tensors), len(indices)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *indices, *inputs[3:4])
    ctx.wanted = list(inputs[4]) if len(inputs) > 4 else None


def _kept(ctx):
    tensors, (n, m) = list(ctx.saved_tensors), ctx.counts
    return tensors[:n], tensors[n : n + m], tensors[n + m :]


def _forward_backward(ctx, cotangent):
    inputs, indices, _ = _kept(ctx)
    wanted = list(ctx.needs_input_grad[1])
    if cotangent is None or not any(wanted):
        return None, [None] * len(inputs), [None] * len(indices)
    found = _backward(ctx.descriptor, inputs, indices, cotangent, wanted)
    return None, _spread(found, wanted), [None] * len(indices)


def _backward_backward(ctx, directions):
    inputs, indices, [cotangent] = _kept(ctx)
    directions = _spread(directions, ctx.wanted)
    along = [d is not None for d in directions]
    wanted = [*ctx.needs_input_grad[1], ctx.needs_input_grad[3]]
    seconds = [None] * len(wanted)
    if any(along) and any(wanted):
        given = [d for d in directions if d is not None]
        seconds = _spread(_double_backward(ctx.descriptor, inputs, indices, cotangent, given, along, wanted), wanted)
    return None, seconds[:-1], [None] * len(indices), seconds[-1], None


_forward.register_autograd(_forward_backward, setup_context=_keep)
_backward.register_autograd(_backward_backward, setup_context=_keep)
for _device in ("cpu", "cuda"):
    _forward.register_autocast(_device, torch.float32)
