"""A MACE model as a module."""

import torch

from .._acerust import Model, Training


class Potential(torch.nn.Module):
    """Energies, forces and virials of a MACE model, whose derivatives by its parameters PyTorch knows.

    `model` is a Model or the name of a file, `precision`, `threads` and `device` are those of `acerust.Training`. Parameters have the names and shapes of
    mace-torch's: `named_parameters()` finds them for optimizers, `state_dict()` for a module of mace-torch. They are float64, or whatever `to` makes
    of them; results are float64, on the host wherever it runs.
    """

    def __init__(self, model, precision="f64", threads=0, device="cpu"):
        super().__init__()
        self._training = Training(model if isinstance(model, Model) else Model(model), precision, threads, device)
        values = torch.from_numpy(self._training.values)
        for name, shape, where in self._training.parameters:
            *path, last = name.split(".")
            node = self
            for step in path:
                if step not in node._modules:
                    node.add_module(step, torch.nn.Module())
                node = node._modules[step]
            node.register_parameter(last, torch.nn.Parameter(values[where].reshape(shape).clone()))

    def _tensors(self):
        return [self.get_parameter(name) for name, *_ in self._training.parameters]

    def _update(self, tensors):
        self._training.set_values(torch.cat([x.detach().reshape(-1).to("cpu", torch.float64) for x in tensors]).numpy())

    @property
    def model(self):
        """The `acerust.Model` with the current parameters."""
        self._update(self._tensors())
        return self._training.model

    def set_loss_scale(self, scale):
        """As `acerust.Training.set_loss_scale`."""
        self._training.set_loss_scale(scale)

    def forward(self, numbers, positions, cell=None, pbc=None, conditions=None):
        """A dictionary of energy, site_energies (n), forces (n, 3) and virial (3, 3); arguments as of `Plan.evaluate`."""
        tensors = self._tensors()
        self._update(tensors)
        found = _Evaluate.apply(self._training, (numbers, positions, cell, pbc, conditions), *tensors)
        return dict(zip(NAMES, found))


NAMES = ["energy", "site_energies", "forces", "virial"]


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, training, arguments, *tensors):
        ctx.set_materialize_grads(False)
        ctx.training, ctx.run = training, training.evaluate(*arguments)
        ctx.of = [(where, x.shape, x.device, x.dtype) for (*_, where), x in zip(training.parameters, tensors)]
        return tuple(torch.as_tensor(getattr(ctx.run, name), dtype=torch.float64) for name in NAMES)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *cotangents):
        given = {name: x.cpu().numpy() for name, x in zip(NAMES, cotangents) if x is not None}
        if not given:
            return (None, None, *[None] * len(ctx.of))
        found = torch.from_numpy(ctx.training.gradient(ctx.run, **given))
        return (None, None, *[found[where].reshape(shape).to(device, dtype) for where, shape, device, dtype in ctx.of])
