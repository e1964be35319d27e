"""Equivariant operations of cuEquivariance and OpenEquivariance on the problems of `gpu_ops`, in f32: milliseconds by events, of forward, and of forward
with backward for all arguments. `make bench-ops-gpu` runs it after ours, on the same device.

    pip install torch cuequivariance-torch cuequivariance-ops-torch-cu13 openequivariance     # CUDA 13
    python3 benchmark/gpu/peers.py

What is missing, or fails, says SKIPPED and why. Where a device has no network: `pip download` elsewhere, then `pip install --no-index --no-deps`; OpenEquivariance
is compiled when it is first imported, which takes nvcc.
"""
import statistics
import sys

CHANNELS, NODES = 128, 10_000


def skipped(what, why):
    print(f"SKIPPED: {what}: {why}", flush=True)


try:
    import torch

    assert torch.cuda.is_available(), "it sees no device"
except Exception as e:
    skipped("others' operations", f"torch: {e}")
    sys.exit(0)

f32 = {"device": "cuda", "dtype": torch.float32}
torch.backends.cuda.matmul.allow_tf32 = False


def milliseconds(run, reset=None):
    """The median of 15 runs. A copy keeps the device busy while a run is queued: what is timed is the device's work, or queueing where that takes longer."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for k in range(20):
        if reset:
            reset()
        target.copy_(source), target.copy_(source), target.copy_(source)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        if k >= 5:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def measure(name, peer, make):
    try:
        function, arguments = make()
        [a.requires_grad_(True) for a in arguments]
        cotangent = torch.randn_like(function(*arguments))

        def both():
            torch.autograd.grad(function(*arguments), arguments, cotangent)

        with torch.no_grad():
            forward = milliseconds(lambda: function(*arguments))
        print(f"{name:42} {peer:34} {forward:8.3f} {milliseconds(both):8.3f}", flush=True)
    except Exception as e:
        skipped(f"{name}, {peer}", f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")
    torch.cuda.empty_cache()


def graph(nodes, edges):
    """Random edges in both directions, by receiver: senders, receivers, and where the other direction of an edge is."""
    i, j = torch.randint(nodes, (2, edges // 2), device="cuda")
    receiver, sender = torch.cat([i, j]), torch.cat([j, i])
    order = torch.argsort(receiver * nodes + sender, stable=True)
    receiver, sender = receiver[order], sender[order]
    return sender, receiver, torch.argsort(sender * nodes + receiver, stable=True)


def irreps(lmax, mul=CHANNELS):
    return "+".join(f"{mul}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


CONVOLUTIONS = [
    ("uvu convolution l <= 1, 10 000 edges", 1, 1000, 10_000),
    ("uvu convolution l <= 3, 50 000 edges", 3, 1000, 50_000),
    ("uvu convolution l <= 3, 500 000 edges", 3, NODES, 500_000),
]

try:
    import cuequivariance as cue
    import cuequivariance_torch as cuet
except Exception as e:
    skipped("cuEquivariance", str(e).splitlines()[0])
else:
    of = lambda text: cue.Irreps("O3", text)
    plain = {"layout": cue.ir_mul, **f32}

    def convolution(lmax, nodes, edges):
        product = cuet.ChannelWiseTensorProduct(
            of(irreps(1)), of(irreps(lmax, 1)), [ir for _, ir in of(irreps(lmax, 1))], shared_weights=False, internal_weights=False, **plain
        )
        sender, receiver, _ = graph(nodes, edges)
        sender, receiver = sender.int(), receiver.int()
        x, y = torch.randn(nodes, 4 * CHANNELS, **f32), torch.randn(edges, (lmax + 1) ** 2, **f32)
        w = torch.randn(edges, product.weight_numel, **f32)
        return lambda x, y, w: product(x, y, w, indices_1=sender, indices_out=receiver, size_out=nodes), [x, y, w]

    def contraction(nodes):
        product = cuet.SymmetricContraction(
            of(irreps(3)), of(irreps(1)), 3, 10, layout_in=cue.ir_mul, layout_out=cue.ir_mul, original_mace=True, **f32
        )
        species = torch.randint(10, (nodes,), device="cuda", dtype=torch.int32)
        weights = list(product.parameters())
        return lambda x, *_: product(x, species), [torch.randn(nodes, 16 * CHANNELS, **f32), *weights]

    def linear(classes, method):
        more = {"weight_classes": classes} if classes else {}
        product = cuet.Linear(of(irreps(1)), of(irreps(1)), internal_weights=False, shared_weights=True, method=method, **more, **plain)
        w = torch.randn(classes or 1, product.weight_numel, **f32)
        index = {"weight_indices": torch.randint(classes, (NODES,), device="cuda", dtype=torch.int32).sort()[0]} if classes else {}
        return lambda x, w: product(x, w, **index), [torch.randn(NODES, 4 * CHANNELS, **f32), w]

    peer = f"cuEquivariance {cue.__version__}"
    measure("symmetric contraction, 1 000 nodes", peer, lambda: contraction(1000))
    measure("symmetric contraction, 10 000 nodes", peer, lambda: contraction(NODES))
    for name, *sizes in CONVOLUTIONS:
        measure(name, peer, lambda: convolution(*sizes))
    measure("linear, 10 000 nodes", peer, lambda: linear(None, "naive"))
    for method in ("naive", "indexed_linear"):
        measure("indexed linear, 20 species, 10 000 nodes", f"{peer}, {method}", lambda: linear(20, method))

try:
    import numpy
    import openequivariance as oeq
except Exception as e:
    skipped("OpenEquivariance", str(e).splitlines()[0])
else:

    def convolution(deterministic, lmax, nodes, edges):
        x, y = oeq.Irreps(irreps(1)), oeq.Irreps(irreps(lmax, 1))
        paths = [(a, b, l) for a in range(2) for b in range(lmax + 1) for l in range(lmax + 1) if abs(a - b) <= l <= a + b and (a + b + l) % 2 == 0]
        paths.sort(key=lambda p: p[2])
        out = oeq.Irreps("+".join(f"{CHANNELS}x{l}{'eo'[l % 2]}" for _, _, l in paths))
        instructions = [(a, b, k, "uvu", True) for k, (a, b, _) in enumerate(paths)]
        kinds = {"irrep_dtype": numpy.float32, "weight_dtype": numpy.float32}
        problem = oeq.TPProblem(x, y, out, instructions, shared_weights=False, internal_weights=False, **kinds)
        product = oeq.TensorProductConv(problem, deterministic=deterministic)
        sender, receiver, other = graph(nodes, edges)
        more = [other] if deterministic else []
        arguments = [torch.randn(nodes, 4 * CHANNELS, **f32), torch.randn(edges, (lmax + 1) ** 2, **f32)]
        arguments.append(torch.randn(edges, len(paths) * CHANNELS, **f32))
        return lambda x, y, w: product(x, y, w, receiver, sender, *more), arguments

    for name, *sizes in CONVOLUTIONS:
        for kind in ("atomic", "deterministic"):
            measure(name, f"OpenEquivariance {oeq.__version__}, {kind}", lambda: convolution(kind == "deterministic", *sizes))
