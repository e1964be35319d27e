"""Operations in PyTorch, against e3nn and cuEquivariance where these are."""

import os
import pickle
import shutil

import numpy as np
import pytest

import acerust

torch = pytest.importorskip("torch", reason="torch is not installed: python/run.sh tools torch e3nn cuequivariance cuequivariance-torch")
at = pytest.importorskip("acerust.torch")
from torch import library  # noqa: E402

ROWS, SPECIES, NODES, EDGES = 5, 3, 4, 9


def random(*shape, dtype=torch.float64, seed=0, grad=True):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)


def index(n, bound, dtype=torch.int64, seed=0):
    return torch.randint(bound, (n,), generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Every operation: module, inputs, indices.
OPERATIONS = {
    "harmonics": ({"harmonics": {"lmax": 3}}, [(ROWS, 3)], {}),
    "linear": ({"linear": {"irreps_in": "3x0e+2x1o", "irreps_out": "2x0e+2x1o", "bias": True}}, [(ROWS, 9), (10,), (2,)], {}),
    "indexed": ({"linear": {"irreps_in": "3x0e+2x1o", "irreps_out": "2x0e", "species": SPECIES}}, [(ROWS, 9), (SPECIES, 6)], {"species": (ROWS, SPECIES)}),
    "channelwise": (
        {"channelwise": {"irreps_in1": "2x0e+2x1o", "irreps_in2": "0e+1o+2e", "targets": "0e+1o", "convolution": True}},
        [(NODES, 8), (EDGES, 9), (EDGES, 10)],
        {"sender": (EDGES, NODES), "receiver": (EDGES, NODES)},
    ),
    "fully_connected": (
        {"fully_connected": {"irreps_in1": "2x0e+1o", "irreps_in2": "0e+2x1o", "irreps_out": "2x0e+3x1o", "shared_weights": True}},
        [(ROWS, 5), (ROWS, 7), (23,)],
        {},
    ),
    "contraction": (
        {"contraction": {"irreps_in": "2x0e+2x1o", "irreps_out": "2x0e+2x1o", "correlation": 2, "species": SPECIES}},
        [(ROWS, 8), (SPECIES, 12)],
        {"species": (ROWS, SPECIES)},
    ),
    "radial": ({"radial": {"r_max": 5.0, "basis": {"bessel": {"n": 4}}, "cutoff": 5}}, [(ROWS,)], {}),
    "mlp": ({"mlp": {"widths": [4, 6, 3], "activation": "silu", "constant": 1.6791767923989418}}, [(ROWS, 4), (4, 6), (6, 3)], {}),
    "gate": (
        {"gate": {"scalars": "2x0e", "gated": "1o", "activation": "silu", "constant": 1.6, "gate_activation": "sigmoid", "gate_constant": 1.8}},
        [(ROWS, 6)],
        {},
    ),
}


def case(name, dtype=torch.float64, device="cpu"):
    operation, shapes, indices = OPERATIONS[name]
    inputs = [random(*shape, dtype=dtype, seed=k).detach().to(device) for k, shape in enumerate(shapes)]
    if name == "radial":
        inputs[0] = inputs[0].abs() + 1
    inputs = [x.requires_grad_() for x in inputs]
    return at.Operation(operation), inputs, {key: index(*i, seed=k).to(device) for k, (key, i) in enumerate(indices.items())}


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_those_of_differences(name):
    operation, inputs, indices = case(name)
    f = lambda *x: operation(*x, **indices)
    assert torch.autograd.gradcheck(f, inputs)
    assert torch.autograd.gradgradcheck(f, inputs)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_are_what_pytorch_expects(name):
    operation, inputs, indices = case(name)
    inputs = [x.unsqueeze(0) if rows == 1 else x.reshape(-1, width) for x, (_, rows, width) in zip(inputs, operation.inputs)]
    arguments = (operation.descriptor, [x.detach().requires_grad_() for x in inputs], [indices[i] for i in operation.indices])
    library.opcheck(torch.ops.acerust.forward, arguments)
    cotangent = torch.ones_like(operation(*inputs, **indices)).detach().requires_grad_()
    library.opcheck(torch.ops.acerust.backward, (*arguments, cotangent, [True] * len(inputs)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_some_gradients_and_no_more(name):
    operation, inputs, indices = case(name)
    inputs = [x.detach() for x in inputs]
    inputs[-1].requires_grad_()
    (gradient,) = torch.autograd.grad(operation(*inputs, **indices).square().sum(), inputs[-1])
    every, others, _ = case(name)
    expected = torch.autograd.grad(every(*others, **indices).square().sum(), others)[-1]
    assert torch.equal(gradient, expected)
    assert not operation(*[x.detach() for x in inputs], **indices).requires_grad


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_types_of_numbers(name, dtype, tolerance):
    (operation, inputs, indices), (_, exact, _) = case(name, dtype), case(name)
    exact = [x.detach().to(torch.float64).requires_grad_() for x in inputs]
    out, expected = operation(*inputs, **indices), operation(*exact, **indices)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(torch.autograd.grad(out.float().sum(), inputs), torch.autograd.grad(expected.sum(), exact)):
        assert a.dtype == dtype and a.shape == b.shape
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance * float(b.abs().max() + 1))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        both, words = "4x0e+4x1o", {"layout": "mul_ir", "dtype": torch.float64}
        self.up = at.Linear(both, both, **words)
        self.product = at.ChannelWiseTensorProduct(both, "0e+1o", "0e+1o", shared_weights=False, **words)
        self.harmonics = at.SphericalHarmonics([0, 1])
        self.down = at.Linear(self.product.irreps_out, both, **words)
        self.contraction = at.SymmetricContraction(both, "4x0e", 2, SPECIES, original_mace=True, **words)

    def forward(self, h, v, w, sender, receiver, species):
        message = self.product(self.up(h), self.harmonics(v), w, sender, None, receiver, h.shape[0])
        return self.contraction(self.down(message), species)


def test_compiled_exported_saved(tmp_path):
    torch.manual_seed(1)
    layer = Layer()
    sender, receiver = index(EDGES, NODES), index(EDGES, NODES, seed=1)
    arguments = (random(NODES, 16), random(EDGES, 3), random(EDGES, layer.product.weight_numel), sender, receiver, index(NODES, SPECIES))
    expected = layer(*arguments)
    parameters = [*layer.parameters(), *arguments[:3]]
    gradients = torch.autograd.grad(expected.square().sum(), parameters)

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    out = compiled(*arguments)
    torch.testing.assert_close(out, expected)
    for a, b in zip(torch.autograd.grad(out.square().sum(), parameters), gradients):
        torch.testing.assert_close(a, b)

    edges, nodes = torch.export.Dim("edges", min=2), torch.export.Dim("nodes", min=2)
    free = ({0: nodes}, {0: edges}, {0: edges}, {0: edges}, {0: edges}, {0: nodes})
    detached = tuple(x.detach() for x in arguments)
    program = torch.export.export(layer, detached, dynamic_shapes=free)
    torch.export.save(program, tmp_path / "layer.pt2")
    again = torch.export.load(tmp_path / "layer.pt2").module()
    fewer = (*detached[:1], *(x[:5] for x in detached[1:5]), detached[5])
    torch.testing.assert_close(again(*fewer), layer(*fewer))

    torch.save(layer, tmp_path / "layer.pt")
    for other in (torch.load(tmp_path / "layer.pt", weights_only=False), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(*arguments), expected)
    other = Layer()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(*arguments), expected)
    assert layer.float()(*(x.float() if x.is_floating_point() else x for x in arguments)).dtype == torch.float32


@pytest.mark.skipif(os.environ.get("ACERUST_TEST") != "all" or not shutil.which("c++"), reason="a minute of C++: ACERUST_TEST=all")
def test_compiled_to_machine_code(tmp_path):
    layer = Layer().requires_grad_(False)
    inputs = random(NODES, 16, grad=False), random(EDGES, 3, grad=False), random(EDGES, layer.product.weight_numel, grad=False)
    arguments = (*inputs, index(EDGES, NODES), index(EDGES, NODES, seed=1), index(NODES, SPECIES))
    torch.testing.assert_close(torch.compile(layer, fullgraph=True)(*arguments), layer(*arguments))
    program = torch.export.export(layer, arguments)
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "layer.pt2"))
    torch.testing.assert_close(torch._inductor.aoti_load_package(package)(*arguments), layer(*arguments))


def test_under_autocast_they_run_in_float32():
    linear = at.Linear("4x0e+4x1o", "4x0e")
    x = random(ROWS, 16, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        out = linear(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, linear(x.float()))
    out.sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_tensors_of_any_strides_and_no_rows():
    linear = at.Linear("4x0e", "3x0e", dtype=torch.float64)
    x = random(4, ROWS)
    torch.testing.assert_close(linear(x.T), linear(x.T.contiguous()))
    assert linear(x.T[:0]).shape == (0, 3) and linear(x.T.reshape(1, ROWS, 4)).shape == (1, ROWS, 3)
    convolution, (x, y, w), indices = case("channelwise")
    out = convolution(x, y[:0], w[:0], **{key: i[:0] for key, i in indices.items()})
    assert out.shape[0] == NODES and not out.any()


def test_int32_indices_are_as_good():
    operation, inputs, indices = case("channelwise")
    narrow = {key: i.int() for key, i in indices.items()}
    assert torch.equal(operation(*inputs, **indices), operation(*inputs, **narrow))


def refused(message, f, *arguments, **more):
    with pytest.raises(acerust.Error, match=message):
        f(*arguments, **more)


def test_refusals():
    operation, (x, w), indices = case("indexed")
    refused("species", operation, x, w)
    refused("2: x, w", operation, x, **indices)
    refused("x: shape", operation, x[:, 1:], w, **indices)
    refused("w: shape", operation, x, w[:1], **indices)
    refused("w: torch.float32", operation, x, w.float(), **indices)
    refused("torch.int64", at.Operation({"harmonics": {"lmax": 1}}), torch.ones(2, 3, dtype=torch.int64))
    refused("species: 3 at 0", operation, x, w, species=indices["species"] * 0 + SPECIES)
    refused("species: -1 at 0", operation, x, w, species=indices["species"] * 0 - 1)
    refused("species", operation, x, w, species=indices["species"].double())
    refused("x: NaN|x: nan", operation, x * torch.nan, w, **indices)
    refused("unknown variant", at.Operation, {"lineal": {}})
    refused("tensor cores|tf32", at.Operation({"mlp": {"widths": [1, 1], "activation": "silu", "constant": 1.0}}, arithmetic="tf32"), *[torch.ones(1, 1)] * 2)
    refused("shared_weights", at.Linear, "2x0e", "2x0e", shared_weights=False)
    refused("math_dtype", at.Linear, "2x0e", "2x0e", math_dtype=torch.float64)
    refused("irreps_in2", at.ChannelWiseTensorProduct, "2x0e", "2x0e")
    refused("layout", at.Linear, "2x0e", "2x0e", layout="irmul")
    refused("weight", at.Linear("2x0e", "2x0e"), torch.ones(1, 2), torch.ones(1, 4))
    refused("original_mace", at.SymmetricContraction, "2x0e", "2x0e", 2, 1)
    refused("contraction_degree", at.SymmetricContraction, "2x0e+2x1o+2x2e", "2x1e", 30, 1, original_mace=True, convention="O3")
    product = at.ChannelWiseTensorProduct("2x0e", "0e")
    refused("size_out", product, torch.ones(1, 2), torch.ones(1, 1), indices_out=torch.zeros(1, dtype=torch.int64))


def test_third_derivatives_are_refused():
    operation, (v,), _ = case("harmonics")
    (g,) = torch.autograd.grad(operation(v).pow(3).sum(), v, create_graph=True)
    (h,) = torch.autograd.grad(g.pow(2).sum(), v, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(h.sum(), v)


# e3nn.


@pytest.fixture
def o3():
    """Its factors are of the default type."""
    module, before = pytest.importorskip("e3nn.o3"), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield module
    torch.set_default_dtype(before)


def test_linear_and_products_are_those_of_e3nn(o3):
    torch.manual_seed(0)
    theirs = o3.Linear("4x0e+3x1o+2x0e", "5x0e+2x1o+1x2e", internal_weights=False, shared_weights=True)
    ours = at.Linear(theirs.irreps_in, theirs.irreps_out, internal_weights=False)
    x, w = random(ROWS, theirs.irreps_in.dim), random(1, theirs.weight_numel)
    compare(lambda x, w: ours(x, w), lambda x, w: theirs(x, w[0]), x, w)

    theirs = o3.FullyConnectedTensorProduct("3x0e+2x1o", "2x0e+1x1o", "2x0e+3x1o+1x1e", internal_weights=False, shared_weights=False)
    ours = at.FullyConnectedTensorProduct(theirs.irreps_in1, theirs.irreps_in2, theirs.irreps_out, shared_weights=False)
    inputs = random(ROWS, 9), random(ROWS, 5), random(ROWS, theirs.weight_numel)
    compare(ours, theirs, *inputs)

    harmonics = at.SphericalHarmonics([0, 1, 2, 3])
    v = random(ROWS, 3)
    compare(harmonics, lambda v: o3.spherical_harmonics([0, 1, 2, 3], v, True, "component"), v)
    some = at.SphericalHarmonics([1, 3], normalize=False)
    compare(some, lambda v: o3.spherical_harmonics([1, 3], v, False, "component"), v)


def instructions(irreps_in1, irreps_in2, targets):
    """Those of a uvu product, as MACE and NequIP make them, the result sorted."""
    from e3nn import o3

    out, found = [], []
    for i, (mul, a) in enumerate(o3.Irreps(irreps_in1)):
        for j, (_, b) in enumerate(o3.Irreps(irreps_in2)):
            for irrep in a * b:
                if irrep in o3.Irreps(targets):
                    found.append((i, j, len(out), "uvu", True))
                    out.append((mul, irrep))
    out, places, _ = o3.Irreps(out).sort()
    return out, [(i, j, places[k], *rest) for i, j, k, *rest in found]


def test_openequivariance_takes_the_products_of_e3nn(o3):
    irreps = ("2x0e+2x1o+1x2e", "0e+1o+2e")
    out, uvu = instructions(*irreps, "0e+1o+2e+1e")
    uvw = [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True), (0, 1, 1, "uvw", True), (1, 0, 1, "uvw", True)]
    high = ("2o+3e+4e", "3e+5o+4o")
    products = [(*irreps, out, uvu), (*high, *instructions(*high, "1e+2e+2o+3o+4e+5o+6e+7o+7e+8o")), ("2x0e+3x1o", "2x0e+1o", "3x0e+2x1o", uvw)]
    for irreps_in1, irreps_in2, irreps_out, steps in products:
        for shared in (False, True):
            theirs = o3.TensorProduct(irreps_in1, irreps_in2, irreps_out, steps, shared_weights=shared, internal_weights=False)
            problem = at.TPProblem(irreps_in1, irreps_in2, irreps_out, steps, shared_weights=shared, internal_weights=False)
            ours = at.TensorProduct(problem)
            assert ours.weight_numel == theirs.weight_numel
            weights = random(theirs.weight_numel) if shared else random(ROWS, theirs.weight_numel)
            compare(ours, theirs, random(ROWS, theirs.irreps_in1.dim), random(ROWS, theirs.irreps_in2.dim), weights)
            # Edges from `cols` to `rows`.
            convolution, rows, cols = at.TensorProductConv(problem), index(ROWS, NODES), index(ROWS, NODES, seed=1)
            gather = lambda x, y, w: x.new_zeros(NODES, theirs.irreps_out.dim).index_add(0, rows, theirs(x[cols], y, w))
            x = random(NODES, theirs.irreps_in1.dim)
            compare(lambda *a: convolution(*a, rows, cols), gather, x, random(ROWS, theirs.irreps_in2.dim), weights)
    problem = lambda **more: at.TPProblem(*irreps, **{"irreps_out": out, "instructions": uvu, **more})
    refused("kahan", at.TensorProductConv, problem(), kahan=True)
    refused("path_normalization", at.TensorProduct, problem(path_normalization="path"))
    refused("another product", at.TensorProduct, problem(instructions=uvu[:-1]))
    refused("there twice", at.TensorProduct, problem(instructions=[*uvu, uvu[0]]))
    refused("uvv", at.TensorProduct, problem(instructions=[(*uvu[0][:3], "uvv", True)]))
    refused("has_weight", at.TensorProduct, problem(instructions=[(*uvu[0][:4], False)]))


def compare(ours, theirs, *inputs, tolerance=1e-10):
    """Values, gradients, and gradients of gradients."""
    out, expected = ours(*inputs), theirs(*inputs)
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    cotangent = random(*out.shape, seed=7)
    first, second = [], []
    for y in (out, expected):
        g = torch.autograd.grad((y * cotangent).sum(), inputs, create_graph=True, allow_unused=True)
        g = [torch.zeros_like(x) if d is None else d for d, x in zip(g, inputs)]
        t = sum((d * random(*d.shape, seed=k)).sum() for k, d in enumerate(g))
        h = torch.autograd.grad(t, [*inputs, cotangent], allow_unused=True)
        first.append(g)
        second.append([torch.zeros_like(x) if d is None else d for d, x in zip(h, [*inputs, cotangent])])
    for a, b in zip(first[0] + second[0], first[1] + second[1]):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# cuEquivariance, which computes in PyTorch without a GPU.


@pytest.fixture(scope="module")
def cue():
    pytest.importorskip("cuequivariance_torch")
    return pytest.importorskip("cuequivariance")


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_cuequivariance_takes_the_same_arguments(cue, layout):
    import cuequivariance_torch as cuet

    layout = getattr(cue, layout)
    irreps = lambda text: cue.Irreps("O3", text)
    both = lambda name, *a, **k: (getattr(at, name)(*a, **k), getattr(cuet, name)(*a, method="naive", **k))

    ours, theirs = both("Linear", irreps("4x0e+3x1o"), irreps("2x0e+2x1o"), layout=layout, dtype=torch.float64, weight_classes=SPECIES)
    assert ours.weight.shape == theirs.weight.shape
    ours.load_state_dict(theirs.state_dict(), strict=False)
    species = index(ROWS, SPECIES)
    compare(lambda x: ours(x, weight_indices=species), lambda x: theirs(x, weight_indices=species), random(ROWS, 13))

    arguments = (irreps("2x0e+2x1o+2x1e+2x2e"), irreps("0e+1o+1e+2e"))
    for more in ((), (irreps("0e+0o+1o+1e+2o+2e"),), ([cue.O3(0, 1), cue.O3(1, -1)],)):
        ours, theirs = both("ChannelWiseTensorProduct", *arguments, *more, layout=layout, dtype=torch.float64, shared_weights=False)
        assert cue.Irreps("O3", ours.irreps_out) == theirs.irreps_out and ours.weight_numel == theirs.weight_numel
        inputs = random(ROWS, arguments[0].dim), random(ROWS, arguments[1].dim), random(ROWS, ours.weight_numel)
        compare(ours, theirs, *inputs)
    i, j = index(EDGES, ROWS), index(EDGES, ROWS, seed=1)
    inputs = inputs[0], random(EDGES, arguments[1].dim), random(EDGES, ours.weight_numel)
    for n in (ROWS, ROWS + 2):
        graph = {"indices_1": j, "indices_out": i, "size_out": n}
        compare(lambda *x: ours(*x, **graph), lambda *x: theirs(*x, **graph), *inputs)

    ours, theirs = both("FullyConnectedTensorProduct", irreps("3x0e+2x1o"), irreps("2x0e+2x1o"), irreps("2x0e+3x1o+1e"), layout=layout, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    compare(ours, theirs, random(ROWS, 9), random(ROWS, 8))

    for original in (True, False):
        for arguments in (("2x0e+2x1o+2x2e", "2x1o+2x0e", 3), ("2x1o+2x0e+2x1e", "2x1e+2x1o", 2), ("2x0e+2x1o", "2x0e", 4)):
            arguments = [irreps(text) for text in arguments[:2]] + [arguments[2], SPECIES]
            ours, theirs = both("SymmetricContraction", *arguments, layout=layout, dtype=torch.float64, original_mace=original)
            assert ours.weight.shape == theirs.weight.shape
            ours.load_state_dict(theirs.state_dict(), strict=False)
            compare(lambda x: ours(x, species), lambda x: theirs(x, species), random(ROWS, arguments[0].dim))

    ours, theirs = both("SphericalHarmonics", [0, 1, 2, 3])
    compare(ours, theirs, random(ROWS, 3))


# On a CUDA device.


@pytest.fixture(scope="module")
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda", 0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_devices_agree(name, cuda):
    operation, inputs, indices = case(name)
    _, there, far = case(name, device=cuda)
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = []
            for x, k in ((inputs, indices), (there, far)):
                out = operation(*x, **k)
                gradients = torch.autograd.grad(out.square().sum(), x, create_graph=True)
                second = torch.autograd.grad(sum(g.sin().sum() for g in gradients), x)
                found.append([out, *gradients, *second])
            stream.synchronize()
        for a, b in zip(*found):
            torch.testing.assert_close(a, b.cpu(), rtol=1e-9, atol=1e-9)


def test_indices_on_devices_are_seen_when_they_change(cuda):
    operation, inputs, indices = case("channelwise", device=cuda)
    before = operation(*inputs, **indices)
    indices["sender"].copy_((indices["sender"] + 1) % NODES)
    here = [x.cpu() for x in inputs], {key: i.cpu() for key, i in indices.items()}
    expected = operation(*here[0], **here[1])
    torch.testing.assert_close(operation(*inputs, **indices).cpu(), expected)
    assert not torch.allclose(before.cpu(), expected)
    for k in range(200):
        indices = {key: torch.randint(NODES, (EDGES,), device=cuda) for key in indices}
        out = operation(*inputs, **indices)
    torch.testing.assert_close(out.cpu(), operation(*here[0], **{key: i.cpu() for key, i in indices.items()}))


# DLPack: evaluations into tensors.


def silicon_plan(silicon, device="cpu"):
    from conftest import crystal

    atoms, plan = crystal(), acerust.Plan(silicon, device)
    return atoms, plan, plan.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, ["energy", "forces", "virial", "site_energies"])


def test_results_go_into_tensors(silicon):
    atoms, plan, expected = silicon_plan(silicon)
    out = {"forces": torch.empty(len(atoms), 3, dtype=torch.float64), "site_energies": torch.empty(len(atoms), dtype=torch.float64)}
    positions = torch.tensor(atoms.positions)
    for neighbours in (None, plan.neighbours(0.5)):
        found = plan.evaluate_into(atoms.numbers, positions, out, atoms.cell.array, atoms.pbc, neighbours)
        assert found["energy"] == pytest.approx(expected["energy"], rel=1e-13)
        np.testing.assert_allclose(found["virial"], expected["virial"], atol=1e-9)
        for name, array in out.items():
            np.testing.assert_allclose(array.numpy(), expected[name], atol=1e-10)
            array.zero_()


def test_results_on_the_device(silicon, cuda):
    atoms, plan, expected = silicon_plan(silicon, "cuda:0")
    n = len(atoms)
    out = {"forces": torch.empty(n, 3, dtype=torch.float64, device=cuda), "site_energies": torch.empty(n, dtype=torch.float64, device=cuda)}
    arguments = atoms.numbers, torch.tensor(atoms.positions, device=cuda), out, atoms.cell.array, atoms.pbc
    refused("neighbours", plan.evaluate_into, *arguments)
    neighbours = plan.neighbours(0.5)
    for _ in range(2):
        found = plan.evaluate_into(*arguments, neighbours)
        assert found["energy"] == pytest.approx(expected["energy"], rel=1e-12)
        for name, array in out.items():
            np.testing.assert_allclose(array.cpu().numpy(), expected[name], atol=1e-9)
    refused("positions: float64 on cpu", plan.evaluate_into, atoms.numbers, torch.tensor(atoms.positions), out, atoms.cell.array, atoms.pbc, neighbours)
