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

    Of a task with several heads its predictions are mappings of tensors by the heads' names, and so are the outputs of
    single networks.

    Args:
        networks: the networks.

    Attributes:
        networks: the single networks, in their order.
        input_shape: shape of one input.
        layout: the names of the predictions and their shapes for one example; None where they are one tensor.
        classes: names of the classes, in the order of the predictions; empty where there are none. With a layout a
            mapping of such names, of the heads that have any.

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
        self.layout = networks.task.layout
        self.classes: Any = networks.task.class_names
        self._task = networks.task
        shared = dict(self.networks[0].named_parameters()) | dict(self.networks[0].named_buffers())
        for name in shared.keys() & networks.target.constants().keys():
            for network in self.networks[1:]:
                _put(network, name, shared[name])
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Any:
        """Return the mean prediction: inputs [examples, *input_shape] give [examples, *outputs]; see `members`."""
        return self.mean_and_members(x)[0]

    def members(self, x: Tensor) -> Any:
        """Return every network's prediction: inputs [examples, *input_shape] give [networks, examples, *outputs].

        Inputs are floating-point numbers as in training, images' pixels between 0 and 1. Predictions are what
        `Networks.predict` gives: probabilities of classes, or values in their own units; those of several heads by
        name.
        """
        return self.mean_and_members(x)[1]

    def mean_and_members(self, x: Tensor) -> tuple[Any, Any]:
        """Return the mean prediction, as `forward` does, and every network's, as `members` does."""
        outputs = [network(x) for network in self.networks]
        if self.layout is not None:
            outputs = [self.layout.pack(own) for own in outputs]
        members = torch.stack([self._task.predictions(own) for own in outputs])
        return self._task.named(members.mean(0)), self._task.named(members)


def _put(module: nn.Module, name: str, value: Any) -> None:
    """Let a module have another's tensor under a name."""
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    (owner._parameters if leaf in owner._parameters else owner._buffers)[leaf] = value
