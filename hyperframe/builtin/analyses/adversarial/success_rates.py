"""Count who is fooled by adversarial examples: one network, an ensemble of others, a third that no attack has seen."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Networks, option
from hyperframe.builtin.analyses.adversarial.attacks import EVERYTHING, answers, fast_gradient_sign, projected_gradient
from hyperframe.networks.sampled import select

OWN = ("single", "ensemble_vote", "ensemble_mean")
ENSEMBLES = ("ensemble_vote", "ensemble_mean", "fresh_vote", "fresh_mean")
ATTACKS = {
    "one_step_on_single": OWN,
    "steps_on_single": OWN,
    "one_step_on_ensemble": ENSEMBLES,
    "steps_on_ensemble": ENSEMBLES,
}
"""Each attack, and whose answers to its examples are counted."""

FIRST = "one_step_on_single"
"""The attack of the paper; the others are the stronger ones."""

GOALS = ("any_error", "target")

TOGETHER = 5
"""Sizes whose examples run in one call, since calling small networks costs as much as running them."""


@attrs.frozen(kw_only=True)
class AttackOptions:
    """Which attacks are made, and how."""

    networks: int = option(100, "networks in an ensemble", minimum=1, maximum=10**6)
    images: int = option(1000, "test images that are attacked at most", minimum=1)
    sizes: tuple[float, ...] = option(
        tuple(round(0.02 * number, 2) for number in range(13)),
        "sizes of the one step on one network, as parts of the range of the training inputs",
        minimum=0,
    )
    strong_sizes: tuple[float, ...] = option(
        (0.04, 0.08, 0.12, 0.16), "sizes of the stronger attacks, which take longer; none: leave them out", minimum=0
    )
    strong_images: int = option(100, "how many of the images the stronger attacks are made on", minimum=1)
    steps: int = option(10, "steps of the attacks with several", minimum=1)
    gradient_networks: int = option(20, "networks of the ensemble that an attack on it sees at most", minimum=1)
    clip: bool = option(True, "keep examples within the range of the training inputs; false: as in the paper")

    def __attrs_post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("sizes: at least one is needed")

    def sizes_of(self, attack: str) -> tuple[float, ...]:
        """Return the sizes of an attack in increasing order, without repetitions."""
        return tuple(sorted(set(self.sizes if attack == FIRST else self.strong_sizes)))

    @property
    def attacks(self) -> tuple[str, ...]:
        """The attacks that have at least one size."""
        return tuple(name for name in ATTACKS if self.sizes_of(name))


@attrs.frozen(kw_only=True, eq=False)
class Scene:
    """Networks from different draws, and the examples on which they are attacked.

    Attributes:
        single: one network.
        ensemble: other networks; examples made for the single one are tried on them, and they are attacked themselves.
        fresh: a third group of networks, which no attack has seen.
        x: inputs [examples, *input_shape], in the weights' precision.
        y: their labels, int64 [examples].
        targets: the class that each example should get, int64 [examples].
        low: the smallest number in the training inputs.
        high: the greatest one; sizes are parts of high − low.
    """

    single: Networks
    ensemble: Networks
    fresh: Networks
    x: Tensor
    y: Tensor
    targets: Tensor
    low: float
    high: float


def count_fooled(scene: Scene, attack: str, options: AttackOptions) -> dict[str, Any]:
    """Make one attack, and count the examples that fool each network or ensemble.

    Returns:
        `examples`; `wrong_before`, how many of them the attacked network, or ensemble by its mean probability, answers
        wrongly without an attack; `fooled`, for each size, each of `ATTACKS[attack]` and each of `GOALS`, the number
        among all examples and among those that were right before.
    """
    labels, targets = scene.y.cpu(), scene.targets.cpu()
    reference = "single" if attack.endswith("single") else "ensemble_mean"
    right = _answers(scene, (reference,), scene.x)[reference] == labels
    fooled, examples = [], _examples(scene, attack, options)
    while group := list(islice(examples, TOGETHER)):
        given = _answers(scene, ATTACKS[attack], torch.cat(group))
        for at in range(len(group)):
            rows = slice(at * len(labels), (at + 1) * len(labels))
            fooled.append({who: _count(answer[rows], labels, targets, right) for who, answer in given.items()})
    return {"examples": len(labels), "wrong_before": int((~right).sum()), "fooled": fooled}


def _examples(scene: Scene, attack: str, options: AttackOptions) -> Iterator[Tensor]:
    """Yield the adversarial examples of each size."""
    seen = scene.single if attack.endswith("single") else select(scene.ensemble, slice(0, options.gradient_networks))
    limits = (scene.low, scene.high) if options.clip else EVERYTHING
    sizes = tuple(size * (scene.high - scene.low) for size in options.sizes_of(attack))
    if attack.startswith("one_step"):
        yield from fast_gradient_sign(seen, scene.x, scene.targets, sizes, limits)
    else:
        for size in sizes:
            yield projected_gradient(seen, scene.x, scene.targets, size, options.steps, limits)


def _answers(scene: Scene, who: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """Return the answers [examples] of each network or ensemble that is named."""
    found: dict[str, Tensor] = {}
    for name, networks in (("single", scene.single), ("ensemble", scene.ensemble), ("fresh", scene.fresh)):
        if any(one.startswith(name) for one in who):
            given = answers(networks, x)
            found |= {name: given.mean, f"{name}_mean": given.mean, f"{name}_vote": given.vote}
    return {one: found[one] for one in who}


def _count(answer: Tensor, labels: Tensor, targets: Tensor, right: Tensor) -> dict[str, list[int]]:
    found = zip(GOALS, (answer != labels, answer == targets), strict=True)
    return {goal: [int(fooled.sum()), int((fooled & right).sum())] for goal, fooled in found}


def success_rates(counts: Sequence[Mapping[str, Any]], attack: str, options: AttackOptions) -> dict[str, Any]:
    """Add up what `count_fooled` counted on several groups of examples, and divide by the number of examples.

    Returns:
        `sizes`, `examples`, `wrong_before`, and under `all` and `right_only` (the examples that were right before), for
        each of `GOALS` and each of `ATTACKS[attack]`, a rate for each size; None where no example was right before.
    """
    sizes = options.sizes_of(attack)
    examples, wrong = (sum(count[key] for count in counts) for key in ("examples", "wrong_before"))

    def parts(who: str, goal: str, which: int, of: int) -> list[float] | None:
        totals = [sum(count["fooled"][at][who][goal][which] for count in counts) for at in range(len(sizes))]
        return [total / of for total in totals] if of else None

    return {
        "sizes": list(sizes),
        "examples": examples,
        "wrong_before": wrong,
        **{
            words: {goal: {who: parts(who, goal, which, of) for who in ATTACKS[attack]} for goal in GOALS}
            for which, (words, of) in enumerate((("all", examples), ("right_only", examples - wrong)))
        },
    }
