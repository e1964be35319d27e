"""What the calculator adds to the library, for a small system."""
import time

import pytest
from conftest import crystal

import acerust


def shortest(f, n):
    best = float("inf")
    for _ in range(n):
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best


def test_a_step_of_64_atoms(silicon, record_property):
    atoms, plan = crystal(2), acerust.Plan(silicon, threads=1)
    atoms.calc = acerust.Calculator(plan)
    neighbours = plan.neighbours(0.5)
    arrays = atoms.arrays["numbers"], atoms.arrays["positions"], atoms.cell.array, atoms.pbc
    # The binding's own share is less than a microsecond of it.
    outputs = ["energy", "site_energies", "forces", "virial"]

    def library():
        atoms.positions[0, 0] += 1e-7
        plan.evaluate(*arrays, outputs, neighbours)

    def step():
        atoms.positions[0, 0] += 1e-7
        atoms.get_forces()

    library(), step()
    own, with_ase = shortest(library, 400), shortest(step, 400)
    print(f"{own:.1f} µs in the library, {with_ase:.1f} µs with ASE")
    assert with_ase - own < 15


def test_an_operation_in_pytorch():
    """What operators and their derivatives add to the library."""
    torch = pytest.importorskip("torch")
    import acerust.torch as at
    from acerust.torch import operators

    product = at.ChannelWiseTensorProduct("2x0e+2x1o", "0e+1o+2e", "0e+1o", shared_weights=False, layout="ir_mul").convolution
    inputs = [torch.randn(n, width, requires_grad=True) for n, (_, _, width) in zip((4, 9, 9), product.inputs)]
    indices = {name: torch.randint(4, (9,)) for name in product.indices}
    pack = torch.utils.dlpack.to_dlpack
    library, out = operators.operation(product.descriptor, "f32"), torch.empty_like(product(*inputs, **indices))
    arrays = lambda tensors: [pack(x.detach()) for x in tensors]
    own = shortest(lambda: library.run(9, 4, arrays(inputs), arrays(indices.values()), arrays([out])), 400)
    recorded = shortest(lambda: product(*inputs, **indices), 400)
    print(f"{own:.1f} µs in the library, {recorded:.1f} µs with PyTorch's record")
    assert recorded - own < 40
