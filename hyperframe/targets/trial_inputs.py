"""Inputs that a module is tried out on: normal numbers, or examples of data where it takes no others.

An embedding takes whole numbers below its number of rows, a logarithm positive ones. Where a module does not take
normal numbers, some examples of the data that it is for stand in their place wherever it is tried: traced, checked, run
before a training. They are kept with a run, which does without its data.
"""

from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from hyperframe.errors import DataError, RunError
from hyperframe.runtime.files import is_file, read_tensors, write_tensors
from hyperframe.targets.embeddings import check_rows

EXAMPLES = 17
"""The most examples of data that are taken; a module is tried on no more at a time."""

EXAMPLE, NAME = "example.safetensors", "examples"


@attrs.frozen(eq=False)
class TrialInputs:
    """Inputs that a module is tried out on.

    Attributes:
        shape: of one input.
        examples: of data [examples, *shape], float32; None where normal numbers serve.
        whole: whether the module takes them as whole numbers, int64, as an embedding does.

    Example:
        >>> words = TrialInputs((2,), torch.tensor([[3.0, 1.0], [4.0, 1.0]]), whole=True)
        >>> words.first(3)
        tensor([[3, 1],
                [4, 1],
                [3, 1]])
    """

    shape: tuple[int, ...]
    examples: Tensor | None = None
    whole: bool = False

    def draw(self, count: int, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw inputs [count, *shape], as the module takes them; examples repeat where more are wanted than known."""
        if self.examples is None:
            return torch.randn(count, *self.shape, generator=rng, dtype=dtype)
        order = torch.randperm(len(self.examples), generator=rng)
        return self.convert(self.examples[order[torch.arange(count) % len(order)]].to(dtype))

    def first(self, count: int, like: Tensor | None = None) -> Tensor:
        """Return the same inputs [count, *shape] every time, as the module takes them: zeros, or examples.

        Args:
            count: how many.
            like: on whose device and of whose precision; by default float32 on the CPU.
        """
        if self.examples is None:
            examples = torch.zeros(count, *self.shape)
        else:
            examples = self.examples[torch.arange(count) % len(self.examples)]
        return self.convert(examples if like is None else examples.to(like))

    def convert(self, x: Tensor) -> Tensor:
        """Convert inputs [..., *shape] to what the module takes: whole numbers, or as they are."""
        return x.to(torch.int64) if self.whole and x.is_floating_point() else x

    def before(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give a module whole numbers where it takes them, in a hook before its forward."""
        return (self.convert(arguments[0]), *arguments[1:])

    def check(self, module: nn.Module, x: Tensor, where: str) -> None:
        """Check inputs [examples, *shape] where a module does not take all numbers.

        Args:
            module: in evaluation mode.
            x: as they are in the data.
            where: how messages begin.

        Raises:
            DataError: one is no row of the table that it is looked up in, or is broken where whole numbers are taken.
        """
        if self.examples is None:
            return
        if self.whole and not are_whole(x):
            broken = float(x[x != x.round()][0])
            raise DataError(
                f"{where} takes whole numbers, but an input is {broken:g}; bytes (uint8) are taken for pixels and "
                "divided by 255, which int64 are not"
            )
        check_rows(module, self.convert(x), where)


def are_whole(x: Tensor) -> bool:
    """Whether all numbers are whole ones."""
    return bool((x == x.round()).all())


def spread_examples(x: Tensor) -> Tensor:
    """Take some examples of data [examples, ...], spread over its length, as float32.

    Example:
        >>> spread_examples(torch.arange(100).view(100, 1)).flatten()[:4]
        tensor([ 0.,  6., 12., 18.])
    """
    rows = torch.linspace(0, len(x) - 1, min(EXAMPLES, len(x))).long()
    return x[rows].detach().cpu().float()


def write_example(folder: Path, inputs: TrialInputs) -> None:
    """Keep examples with a run, where the target is tried on any."""
    if inputs.examples is not None:
        write_tensors(folder / EXAMPLE, {NAME: inputs.examples})


def read_example(folder: Path) -> Tensor | None:
    """Read the examples that a run keeps; None where it keeps none.

    Raises:
        RunError: they are damaged.
    """
    path = folder / EXAMPLE
    if not is_file(path):
        return None
    examples = read_tensors(path).get(NAME)
    if (
        examples is None
        or examples.dtype != torch.float32
        or examples.dim() < 2
        or not len(examples)
        or not examples.isfinite().all()
    ):
        raise RunError(f"{path} is damaged: expected float32 '{NAME}' [examples, ...], finite")
    return examples
