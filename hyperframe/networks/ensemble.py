"""Drawn networks as one module, which goes where modules go: into a service, or into `torch.export`."""

from typing import Any

import torch
from torch import Tensor, nn

from hyperframe.networks.sampled import Networks


class Ensemble(nn.Module):
    """Drawn networks as one `nn.Module`, whose forward is their mean prediction.

    Each network is an ordinary module of its own, `networks.0`, `networks.1`, …, so that they run, are exported and
    stored as any module is. Parameters have no gradient, and the module is in evaluation mode. What all networks have
    in common, as where a part of a module is generated, is in memory once.

    Args:
        networks: the networks.

    Attributes:
        networks: the single networks, in their order.
        input_shape: shape of one input.
        classes: names of the classes, in the order of the predictions; empty where there are none.

    Example:
        >>> import tempfile
        >>> import hyperframe as hf
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = hf.train("digits", {"trainer.steps": 1, "evaluation.networks": 2}, out=folder)
        ...     ensemble = run.ensemble(5)
        >>> images = torch.rand(3, *ensemble.input_shape)
        >>> ensemble(images).shape, ensemble.members(images).shape
        (torch.Size([3, 10]), torch.Size([5, 3, 10]))
    """

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.input_shape = tuple(networks.target.spec.input_shape)
        self.classes = tuple(networks.task.classes)
        self._predictions = networks.task.predictions
        shared = dict(self.networks[0].named_parameters()) | dict(self.networks[0].named_buffers())
        for name in shared.keys() & networks.target.constants().keys():
            for network in self.networks[1:]:
                _put(network, name, shared[name])
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean prediction: inputs [examples, *input_shape] give [examples, outputs]; see `members`."""
        return self.members(x).mean(0)

    def members(self, x: Tensor) -> Tensor:
        """Return every network's prediction: inputs [examples, *input_shape] give [networks, examples, outputs].

        Inputs are floating-point numbers as in training, images' pixels between 0 and 1. Predictions are what
        `Networks.predict` gives: probabilities of classes, or values in their own units; those of several heads in one
        vector, which `HeadsTask.layout` splits.
        """
        return torch.stack([self._predictions(network(x)) for network in self.networks])


def _put(module: nn.Module, name: str, value: Any) -> None:
    """Let a module have another's tensor under a name."""
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    (owner._parameters if leaf in owner._parameters else owner._buffers)[leaf] = value
