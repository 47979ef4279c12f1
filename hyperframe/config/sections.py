"""All that is known of configurations without their components: those that ship, and the sections that hold none.

Nothing here imports torch, which takes seconds: a shell that completes a command line reads it.
"""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import attrs

from hyperframe.errors import ConfigError
from hyperframe.options import option

Precision = Literal["float32", "tf32", "bfloat16"]
"""How products are rounded; `float32` is what torch does without being told."""


@attrs.frozen(kw_only=True)
class PriorOptions:
    """Options of the prior functions."""

    functions: int = option(
        0, "fixed random networks, whose outputs each network adds in a mixture of its own; 0: none", minimum=0
    )
    scale: float = option(1.0, "standard deviation of what is added, at inputs with the mean square 1", minimum=0)
    hidden: int = option(32, "hidden units of each of these networks", minimum=1)

    @property
    def adds(self) -> bool:
        """Whether anything is added."""
        return self.functions > 0 and self.scale > 0


@attrs.frozen(kw_only=True)
class TrainerOptions:
    """Options of the training."""

    steps: int = option(2000, "number of optimiser steps; the rate's schedule spans them", minimum=1, maximum=10**12)
    networks: int = option(32, "networks drawn in a step", minimum=1, maximum=10**6)
    batch_size: int = option(
        32, "examples each of these networks sees in a step, different ones for each", minimum=1, maximum=10**9
    )
    same_examples: bool = option(
        False,
        "all networks of a step see the same examples, so that what comes before generated weights runs once for all",
    )
    shared_examples: int = option(
        32, "examples that all networks see in a step, for terms that compare outputs", minimum=1, maximum=10**9
    )
    chunk: int | None = option(
        None,
        "networks that one pass of the target runs; changes results by rounding only; null: as suits the device",
        minimum=1,
    )
    from_: str | None = option(
        None,
        "a run with the same target and generator, on any task, whose parameters this one begins with; null: none",
        location=True,
    )
    rate: float = option(3e-4, "the optimiser's learning rate", above=0)
    schedule: Literal["exponential", "one_cycle", "one_cycle_tail", "cyclic", "constant"] = option(
        "exponential", "how the rate changes"
    )
    decay: float = option(0.99998, "exponential: the factor a step", above=0, maximum=1)
    warmup: float = option(0.3, "one_cycle: the part of the cycle in which the rate rises", minimum=0, below=1)
    tail: float = option(0.3, "one_cycle_tail: the part of the steps behind the cycle", above=0, below=1)
    tail_rate: float = option(0.2, "one_cycle_tail: the rate in the tail, as a part of the highest", above=0)
    cycles: int = option(4, "cyclic: in how many cycles the rate falls from its highest to zero", minimum=1)
    average_tail: float | None = option(
        None,
        "the part of the steps, at the end, over which the generator's parameters are averaged; the averages replace "
        "them after the last step; null: none",
        above=0,
        maximum=1,
    )
    beta1: float = option(0.9, "Adam's decay of the mean", minimum=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the square", minimum=0, below=1)
    epsilon: float = option(1e-8, "what Adam adds to the root", above=0)
    gradient_clip: float | None = option(None, "largest norm of the gradient; null: no limit", above=0)
    log_every: int = option(50, "steps between two lines of metrics", minimum=1)
    checkpoint_every: int = option(500, "steps between two checkpoints", minimum=1)
    keep_checkpoints: int = option(3, "how many of the last checkpoints are kept, beside the best", minimum=1)
    patience: int | None = option(
        None,
        "end the training early, after so many validations in a row without a new best; rates, schedules and the "
        "objective still follow trainer.steps; null: never",
        minimum=1,
    )
    stop_after: int | None = option(None, "pause after so many steps of this call; not kept with the run", minimum=1)
    max_seconds: float | None = option(None, "pause after so many seconds of training; not kept with the run", above=0)
    threads: int | None = option(
        None, "CPU threads; null: as many as torch takes. Small targets are faster on 1", minimum=1
    )
    cuda_graph: bool = option(
        True,
        "CUDA: record what the fourth step does and replay it in all later ones; false where a component's Python code "
        "does something else in later steps",
    )
    precision: Precision = option(
        "float32",
        "to what products and convolutions of a step round their inputs: float32 (as torch is set), tf32 (CUDA) or "
        "bfloat16 (those of the target); evaluations are float32",
    )
    device: str = option("auto", "auto (CUDA where there is one), cpu, cuda or cuda:INDEX")
    seed: int = option(0, "seed of everything that is drawn", minimum=0)

    def __attrs_post_init__(self) -> None:
        """Check that every cycle has a step, and that averages over the last steps will be reached."""
        if self.schedule == "cyclic" and self.cycles > self.steps:
            raise ConfigError(
                f"trainer.cycles is {self.cycles}, but there are only trainer.steps={self.steps}; take no more cycles "
                "than steps"
            )
        if self.patience is not None and self.average_tail is not None:
            raise ConfigError(
                f"trainer.patience is {self.patience}, but a training that ends early does not come to the averages of "
                f"trainer.average_tail={self.average_tail:g}, which replace the parameters after the last step; set "
                "one of them to null"
            )

    def cycle_at(self, step: int) -> range:
        """The steps of the rate's cycle in which a step lies; all steps where the schedule has no cycles.

        Example:
            >>> TrainerOptions(steps=10, schedule="cyclic", cycles=3).cycle_at(5)
            range(3, 6)
        """
        cycles = self.cycles if self.schedule == "cyclic" else 1
        number = ((step + 1) * cycles - 1) // self.steps
        return range(number * self.steps // cycles, (number + 1) * self.steps // cycles)


@attrs.frozen(kw_only=True)
class EvaluationOptions:
    """Options of evaluations: on validation data while training, and on the test set afterwards."""

    every: int = option(250, "steps between two validations", minimum=1)
    networks: int = option(50, "networks drawn for a validation", minimum=1, maximum=10**6)
    examples: int = option(2000, "validation examples it uses at most", minimum=1)
    test_networks: int = option(200, "networks drawn for the evaluation on the test set", minimum=1, maximum=10**6)
    statistics: int = option(
        1000, "training examples from which the moments of each drawn network's BatchNorm are estimated", minimum=1
    )
    seed: int = option(1, "seed of the networks that are drawn for evaluations", minimum=0)
    analyses: tuple[str, ...] = option((), "names: what 'hyperframe train' runs in the end, with their default options")


SECTIONS: dict[str, type[Any]] = {
    "prior": PriorOptions,
    "trainer": TrainerOptions,
    "evaluation": EvaluationOptions,
}


def shipped_configs() -> dict[str, Path]:
    """The configurations that ship, by name."""
    folder = Path(str(resources.files("hyperframe.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
