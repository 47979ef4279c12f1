"""Laws that components must obey, and how one is tried: on drawn examples, shrunk by hypothesis where it fails."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperframe.errors import described, others_code

State = Literal["passed", "failed", "vacuous"]

EXAMPLES = 6
"""How many examples of a law are drawn on each case, where it does not say otherwise."""

STEP, DERIVATIVE, ROUNDING = 1e-6, 1e-3, 1000
"""Of difference quotients: the step, what is allowed relative to the derivative, and in rounding errors of values."""


class Broken(AssertionError):  # noqa: N818  (it reads as what it says of the law)
    """A law does not hold.

    Args:
        what: what was seen, with the figure.
        where: the layer and the axis, or the case, where it is known.
    """

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what, self.where = what, where


class Vacuous(Exception):  # noqa: N818  (not an error: there is nothing to be tried)
    """A law says nothing of this component, or could not be tried; the text says why."""


class ConformanceError(AssertionError):
    """A component breaks a law; the message has the law, the place, the smallest example and the usual cause."""


@attrs.frozen(kw_only=True)
class Draw:
    """What one trial of a law is made from; hypothesis makes each number as small as the failure allows.

    Attributes:
        networks: how many weight sets.
        examples: how many inputs; eight or more, so that normalisations have something to normalise.
        seed: of all random numbers.
        exponents: factors of actions are 2^k with |k| up to this.
        widths: sizes of the example networks, in the order of their parameters.
    """

    networks: int = 1
    examples: int = 8
    seed: int = 0
    exponents: int = 3
    widths: tuple[int, ...] = (2, 3, 2, 3, 2)

    def rng(self) -> torch.Generator:
        """A fresh generator of random numbers with the seed."""
        return torch.Generator().manual_seed(self.seed)


def draws() -> st.SearchStrategy[Draw]:
    """Strategy for draws."""
    return st.builds(
        Draw,
        networks=st.integers(1, 3),
        examples=st.integers(8, 11),
        seed=st.integers(0, 2**32 - 1),
        exponents=st.integers(1, 12),
        widths=st.tuples(*[st.integers(1, 4)] * 5),
    )


@attrs.frozen(kw_only=True)
class Law:
    """Something that must hold for every component of a kind.

    Attributes:
        name: a short name, in snake case.
        text: what must hold, as a sentence.
        cause: the usual cause where it does not.
        holds: called with the case and a draw; raises `Broken` or `Vacuous`, or returns a note, a figure worth knowing.
        examples: how many are drawn on each case; 1 is a fixed one.
    """

    name: str
    text: str
    cause: str
    holds: Callable[[Any, Draw], str | None]
    examples: int = EXAMPLES


class Case:
    """One thing that laws are tried on: a component, or a component on one of several example networks.

    Attributes:
        name: what tells it from other cases of the component; empty where there is one case only.
        large: True where a single example must do, for time.
    """

    name: str = ""
    large: bool = False


@attrs.frozen(kw_only=True)
class Verdict:
    """What came of trying a law.

    Attributes:
        check: the law's name.
        state: "passed", "failed", or "vacuous" where there was nothing to be tried.
        law: what must hold.
        message: what was seen, or why there is nothing to be tried; notes of what passed.
        where: the layer and the axis, or the case.
        example: the smallest example that fails.
        cause: the usual cause.
    """

    check: str
    state: State
    law: str
    message: str = ""
    where: str = ""
    example: str = ""
    cause: str = ""

    def plain(self) -> dict[str, str]:
        """As plain data, without what is empty."""
        return {key: value for key, value in attrs.asdict(self).items() if value}

    def explained(self) -> str:
        """A text of several lines for a failure."""
        lines = [
            f"{self.check}: {self.law}",
            f"  seen: {self.message}",
            f"  where: {self.where}" if self.where else "",
            f"  smallest example: {self.example}" if self.example else "",
            f"  usual cause: {self.cause}",
        ]
        return "\n".join(line for line in lines if line)


def try_law(law: Law, cases: Iterable[Case]) -> Verdict:
    """Try a law on all cases; the first that breaks it decides. It is vacuous where it is so for every case."""
    notes: list[str] = []
    reasons: list[str] = []
    passed = False
    for case in cases:
        prefix = f"{case.name}: " if case.name else ""
        try:
            note = _tried_on(law, case)
        except Vacuous as reason:
            reasons.append(f"{prefix}{reason}")
            continue
        except _FailedError as failure:
            where = ", ".join(part for part in (case.name, failure.where) if part)
            return Verdict(
                check=law.name,
                state="failed",
                law=law.text,
                message=failure.what,
                where=where,
                example=failure.example,
                cause=law.cause,
            )
        passed = True
        notes += [f"{prefix}{note}"] if note else []
    said = notes if passed else reasons or ["there is no case that it speaks of"]
    return Verdict(check=law.name, state="passed" if passed else "vacuous", law=law.text, message="; ".join(said))


class _FailedError(Exception):
    def __init__(self, what: str, where: str, example: str) -> None:
        super().__init__(what)
        self.what, self.where, self.example = what, where, example


def _tried_on(law: Law, case: Case) -> str | None:
    """Try a law on one case with drawn examples; a fixed single one where more would take too long."""
    example = ""
    note: str | None = None
    vacuous: list[Vacuous] = []
    count = 0

    def attempt(draw: Draw) -> None:
        nonlocal example, note, count
        example = ", ".join(f"{field}={value!r}" for field, value in attrs.asdict(draw).items())
        try:
            note = law.holds(case, draw)
            count += 1
        except Vacuous as reason:
            vacuous.append(reason)

    def failed(error: BaseException) -> _FailedError:
        if isinstance(error, Broken):
            return _FailedError(error.what, error.where, example)
        return _FailedError(described(error), "", example)

    with others_code(failed, passing=()):
        if case.large or law.examples == 1:
            attempt(Draw())
        else:
            _drawn(attempt, law.examples)
    if not count:
        raise vacuous[-1]
    return note


def _drawn(attempt: Callable[[Draw], None], examples: int) -> None:
    """Call with drawn examples, and with smaller and smaller ones where it fails; the last is the smallest."""

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(draws())
    def trial(draw: Draw) -> None:
        attempt(draw)

    trial()


def check_slope(derivative: float, ends: tuple[float, float], size: float) -> None:
    """Compare a derivative along a direction with the difference of the values `STEP` there and back.

    Args:
        derivative: what the gradient says.
        ends: the values at both ends.
        size: of the gradient.

    Raises:
        Broken: they differ by more than the step's own error and the rounding of the values.
    """
    slope = (ends[0] - ends[1]) / (2 * STEP)
    rounding = ROUNDING * torch.finfo(torch.float64).eps * max(1.0, *map(abs, ends)) / STEP
    if not abs(derivative - slope) <= DERIVATIVE * max(abs(slope), size) + rounding:
        raise Broken(f"its derivative is {derivative:.6g} where a difference quotient is {slope:.6g}")


def relative(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest entry of the first; infinite where anything is not finite."""
    size = float(one.abs().max()) or 1.0
    difference = float((one - other).abs().max()) / size
    return difference if torch.isfinite(torch.tensor(difference)) else float("inf")


def farthest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest `relative` difference of two weight sets, and the layer that has it.

    Raises:
        Broken: they have other layers, or layers of other shapes.
    """
    shapes = [{layer: tuple(theta.shape) for layer, theta in weights.items()} for weights in (one, other)]
    if shapes[0] != shapes[1]:
        raise Broken(f"layers have the shapes {shapes[1]}, not {shapes[0]}")
    return max((relative(one[layer], other[layer]), layer) for layer in one)
