"""Training of MACE models: golden gradients, differences, and losses that fall."""
import json
import pickle

import numpy as np
import pytest
from conftest import ROOT

import acerust
from acerust.errors import ArgumentError, DeviceError, NotFiniteError

GOLDEN = ROOT / "test" / "golden" / "mace" / "models" / "two_layers_scalar.json"
TINY = ROOT / "test" / "mace"


def crystal(k=0):
    """Lithium and fluorine: numbers, positions, cell, pbc."""
    positions = [[0.0, 0.1 * k, 0.0], [1.65, 1.6, 1.75 - 0.1 * k], [3.3 + 0.1 * k, 0.2, 0.1]]
    return [3, 9, 3], positions, [[6.6, 0.0, 0.0], [0.0, 3.3, 0.3], [0.2, 0.0, 3.4]], True


def tiny(precision="f64"):
    return acerust.Training(acerust.Model(TINY / "tiny.json"), precision, threads=1)


def relative(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def test_gradients_are_golden():
    data = json.loads(GOLDEN.read_text())
    training, golden = acerust.Training(acerust.Model(GOLDEN)), data["parameter_gradients"]
    s = data["structures"][golden["structure"]]
    run = training.evaluate(s["numbers"], s["positions"], s["cell"], s["pbc"])
    assert run.energy == pytest.approx(s["energy"], rel=1e-10) and np.sum(run.site_energies) == pytest.approx(run.energy)
    np.testing.assert_allclose(run.forces, s["forces"], atol=1e-9)
    forces = np.reshape(golden["cotangent"]["data"], (-1, 3))
    for what, gradient in [("of_energy", training.gradient(run, energy=1.0)), ("of_forces", training.gradient(run, forces=forces))]:
        assert len(training.parameters) == len(golden[what])
        for name, shape, where in training.parameters:
            assert list(shape) == golden[what][name]["shape"]
            assert relative(gradient[where], np.array(golden[what][name]["data"])) < 1e-9
    np.testing.assert_allclose(training.gradient(run, site_energies=np.ones(len(forces))), training.gradient(run, energy=1.0))


def test_results_and_gradients_of_all():
    training, arrays = tiny(), crystal()
    values, direction = training.values, np.cos(np.arange(len(training.values)))
    rng = np.random.default_rng(0)
    forces, virial = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))

    def loss(values):
        training.set_values(values)
        run = training.evaluate(*arrays)
        return 0.7 * run.energy + np.sum(forces * run.forces) + np.sum(virial * run.virial)

    run = training.evaluate(*arrays)
    expected = acerust.Plan(training.model).evaluate(*arrays)
    for name in ["energy", "forces", "virial"]:
        np.testing.assert_allclose(getattr(run, name), expected[name], atol=1e-9)
    gradient = training.gradient(run, energy=0.7, forces=forces, virial=virial)
    weights = enumerate([4 / 5, -1 / 5, 4 / 105, -1 / 280], 1)
    slope = sum(w / 1e-3 * (loss(values + k * 1e-3 * direction) - loss(values - k * 1e-3 * direction)) for k, w in weights)
    assert gradient @ direction == pytest.approx(slope, rel=1e-7)
    # At the parameters of the evaluation, whatever they are now.
    np.testing.assert_array_equal(training.gradient(run, energy=0.7, forces=forces, virial=virial), gradient)
    for precision, tolerance in [("f32", 1e-4), ("f16", 0.05), ("bf16", 0.3)]:
        rough = tiny(precision)
        rough.set_loss_scale(8.0)
        assert relative(rough.gradient(rough.evaluate(*arrays), energy=0.7, forces=forces, virial=virial), gradient) < tolerance


def test_parameters_go_back_into_a_model(tmp_path):
    training, arrays = tiny(), crystal()
    training.set_values(0.9 * training.values)
    energy = training.evaluate(*arrays).energy
    training.model.save(tmp_path / "changed.safetensors")
    plan = acerust.Plan(acerust.Model(tmp_path / "changed.safetensors"))
    assert plan.evaluate(*arrays)["energy"] == pytest.approx(energy, rel=1e-9)
    twin = pickle.loads(pickle.dumps(training))
    assert twin.evaluate(*arrays).energy == pytest.approx(energy, rel=1e-12) and "parameters, cpu, f64" in repr(twin)
    # The scale of the loss goes along: gradients lose the same bits.
    rough = tiny("f16")
    rough.set_loss_scale(2.0**-14)
    of = lambda training: training.gradient(training.evaluate(*arrays), energy=1.0)
    np.testing.assert_array_equal(of(pickle.loads(pickle.dumps(rough))), of(rough))
    assert not np.array_equal(of(tiny("f16")), of(rough))


def test_conditions():
    training = acerust.Training(acerust.Model(TINY / "two_heads.json"))
    plan = acerust.Plan(training.model)
    arrays = plan.model.species[:2], [[0, 0, 0], [1.2, 0.1, 0]]
    energies = []
    for head in "ab":
        energies.append(training.evaluate(*arrays, conditions={"head": head}).energy)
        assert plan.evaluate(*arrays, conditions={"head": head})["energy"] == pytest.approx(energies[-1], rel=1e-10)
    assert energies[0] != energies[1]


def test_what_is_refused(silicon):
    training, arrays = tiny(), crystal()
    n, run = len(training.values), training.evaluate(*crystal())
    for message, call in [
        ("only MACE models are trained", lambda: acerust.Training(silicon)),
        ('device "gpu": none of cpu', lambda: acerust.Training(training.model, device="gpu")),
        ("precision 'f8'|precision \"f8\"", lambda: tiny("f8")),
        (f"expected {n}, got 2", lambda: training.set_values([1.0, 2.0])),
        ("is NaN", lambda: training.set_values(np.full(n, np.nan))),
        ("forces: expected the shape", lambda: training.gradient(run, forces=np.zeros((2, 3)))),
        ("not finite", lambda: training.gradient(run, energy=np.inf)),
        ("of another training", lambda: tiny().gradient(run, energy=1.0)),
        ("of another training", lambda: tiny("f32").gradient(run, energy=1.0)),
        ("atomic number 14", lambda: training.evaluate([14], [[0, 0, 0]])),
        ("above 0", lambda: training.set_loss_scale(0.0)),
    ]:
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(DeviceError):
        acerust.Training(training.model, device="cuda:97")
    assert training.device == "cpu" and training.evaluate(*arrays).energy == run.energy


def test_a_scale_is_found():
    training, arrays, scale = tiny("f16"), crystal(), acerust.LossScale()
    first, factor, tries, finite = scale.scale, 2.0**20, 0, False
    while not finite:
        tries += 1
        training.set_loss_scale(scale.scale * factor)
        try:
            gradient = training.gradient(training.evaluate(*arrays), energy=1.0)
            finite = True
        except NotFiniteError:
            finite = False
        assert scale.accept(finite) is finite
    assert tries > 1 and scale.scale == first * 0.5 ** (tries - 1)
    exact = tiny()
    assert relative(gradient, exact.gradient(exact.evaluate(*arrays), energy=1.0)) < 0.05
    for _ in range(99):
        assert scale.accept(True)
    assert scale.scale == first * 0.5 ** (tries - 2)
    with pytest.raises(NotFiniteError, match="loss scale"):
        while True:
            scale.accept(False)


def test_a_loss_falls():
    training, systems = tiny(), [crystal(k) for k in range(3)]
    start = training.values
    training.set_values(start * (1 + 0.2 * np.sin(np.arange(1, len(start) + 1))))
    truth = [training.evaluate(*s).forces for s in systems]
    values, losses = start, []
    for _ in range(20):
        training.set_values(values)
        loss, gradient = 0.0, np.zeros_like(values)
        for s, known in zip(systems, truth):
            run = training.evaluate(*s)
            loss += np.sum((run.forces - known) ** 2)
            gradient += training.gradient(run, forces=2 * (run.forces - known))
        losses.append(loss)
        values = values - 0.5 * loss / np.sum(gradient**2) * gradient
    assert losses[-1] < 0.5 * losses[0]


def test_a_module_of_pytorch():
    torch = pytest.importorskip("torch", reason="torch is not installed: python/run.sh tools torch")
    from copy import deepcopy

    import acerust.torch as at

    potential, systems = at.Potential(TINY / "tiny.json", threads=1), [crystal(k) for k in range(3)]
    training = tiny()
    names = dict(potential.named_parameters())
    assert {name: tuple(x.shape) for name, x in names.items()} == {name: shape for name, shape, _ in training.parameters}
    with torch.no_grad():
        for x in names.values():
            x *= 1 + 0.2 * torch.sin(torch.arange(1, 1 + x.numel(), dtype=x.dtype).reshape(x.shape))
    truth = [{k: v.detach() for k, v in potential(*s).items()} for s in systems]
    assert truth[0]["energy"].item() == acerust.Training(potential.model).evaluate(*systems[0]).energy
    student = at.Potential(acerust.Model(TINY / "tiny.json"), threads=1)
    copied = deepcopy(student)

    def loss(module, s, known):
        found = module(*s)
        virial = torch.sum((found["virial"] - known["virial"]) ** 2)
        return (found["energy"] - known["energy"]) ** 2 + torch.sum((found["forces"] - known["forces"]) ** 2) + 0.1 * virial

    # The gradient is that of the library.
    loss(student, systems[0], truth[0]).backward()
    run = training.evaluate(*systems[0])
    of = {name: (getattr(run, name) - truth[0][name].numpy()) * factor for name, factor in [("energy", 2), ("forces", 2), ("virial", 0.2)]}
    gradient = training.gradient(run, **of)
    for name, _, where in training.parameters:
        np.testing.assert_allclose(student.get_parameter(name).grad.numpy().reshape(-1), gradient[where], rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(lambda *x: at.potential._Evaluate.apply(*told(student, systems[0], x), *x)[:3:2], student._tensors())
    # Single precision of the parameters; nothing that is not asked for.
    single = deepcopy(student).float()
    single(*systems[0])["site_energies"].sum().backward()
    assert all(x.grad.dtype == torch.float32 for x in single.parameters())

    optimizer, losses = torch.optim.Adam(copied.parameters(), lr=3e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        total = sum(loss(copied, s, known) for s, known in zip(systems, truth))
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]
    plan = acerust.Plan(copied.model)
    assert plan.evaluate(*systems[1])["energy"] == pytest.approx(copied(*systems[1])["energy"].item(), rel=1e-9)


def told(module, structure, tensors):
    """Arguments of an evaluation at these parameters."""
    module._update(tensors)
    return module._training, structure
