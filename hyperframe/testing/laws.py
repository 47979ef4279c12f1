"""Laws that components must keep, and how one is tested: on drawn examples, which hypothesis shrinks if it fails."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperframe.errors import Terminated, described, others_code

State = Literal["passed", "failed", "vacuous"]

EXAMPLES = 6
"""How many examples are drawn on each case, unless a law says otherwise."""

STEP, DERIVATIVE, ROUNDING = 1e-6, 1e-3, 1000
"""Of difference quotients: the step, the error allowed relative to the derivative, and that in rounding errors."""


class Broken(AssertionError):  # noqa: N818  (it says what became of the law)
    """A law does not hold.

    Args:
        what: what was seen, with the number.
        where: the layer and the axis, or the case, if it is known.
    """

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what, self.where = what, where


class Vacuous(Exception):  # noqa: N818  (not an error: there is nothing to test)
    """A law does not apply to this component, or could not be tested; the text says why."""


class ConformanceError(AssertionError):
    """A component breaks a law; the message has the law, the place, the smallest example and the usual cause."""


@attrs.frozen(kw_only=True)
class Draw:
    """The numbers that one example of a law is made from; hypothesis makes each as small as the failure allows.

    Attributes:
        networks: the number of networks.
        examples: the number of inputs; at least eight, so that normalisations have something to normalise.
        seed: of all random numbers.
        exponents: factors of actions are 2^k with |k| up to this.
        widths: sizes of the example networks, in the order of their functions' parameters.
    """

    networks: int = 1
    examples: int = 8
    seed: int = 0
    exponents: int = 3
    widths: tuple[int, ...] = (2, 3, 2, 3, 2)

    def rng(self) -> torch.Generator:
        """Return a fresh generator of random numbers with the seed."""
        return torch.Generator().manual_seed(self.seed)


def draws() -> st.SearchStrategy[Draw]:
    """Return a hypothesis strategy for draws."""
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
        cause: the usual cause if it does not hold.
        holds: called with the case and a draw; raises `Broken` or `Vacuous`, or returns a note with a number worth
            knowing, or None.
        examples: how many are drawn on each case; with 1 it is a fixed one.
    """

    name: str
    text: str
    cause: str
    holds: Callable[[Any, Draw], str | None]
    examples: int = EXAMPLES


class Case:
    """One case that laws are tested on: a component, or a component on one of several example networks.

    Attributes:
        name: tells it from other cases of the component; empty where there is only one.
        large: whether to test a single example only, since it takes long.
    """

    name: str = ""
    large: bool = False


@attrs.frozen(kw_only=True)
class Verdict:
    """The outcome of testing a law.

    Attributes:
        check: the law's name.
        state: "passed", "failed", or "vacuous" where there was nothing to test.
        law: what must hold.
        message: what was seen if it failed, why there is nothing to test, or notes of what passed.
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
        """Return the verdict as plain data, without empty entries."""
        return {key: value for key, value in attrs.asdict(self).items() if value}

    def explain(self) -> str:
        """Return a text of several lines that explains a failure."""
        lines = [
            f"{self.check}: {self.law}",
            f"  seen: {self.message}",
            f"  where: {self.where}" if self.where else "",
            f"  smallest example: {self.example}" if self.example else "",
            f"  usual cause: {self.cause}",
        ]
        return "\n".join(line for line in lines if line)


def try_law(law: Law, cases: Iterable[Case]) -> Verdict:
    """Test a law on all cases. It fails with the first case that breaks it, and is vacuous if it is so on all cases."""
    notes: list[str] = []
    reasons: list[str] = []
    passed = False
    for case in cases:
        prefix = f"{case.name}: " if case.name else ""
        try:
            note = _try_case(law, case)
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
    said = notes if passed else reasons or ["there is no case that it applies to"]
    return Verdict(check=law.name, state="passed" if passed else "vacuous", law=law.text, message="; ".join(said))


class _FailedError(Exception):
    def __init__(self, what: str, where: str, example: str) -> None:
        super().__init__(what)
        self.what, self.where, self.example = what, where, example


def _try_case(law: Law, case: Case) -> str | None:
    """Test a law on one case with drawn examples, or with one fixed example where more would take too long."""
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
            _call_with_draws(attempt, law.examples)
    if not count:
        raise vacuous[-1]
    return note


def _call_with_draws(attempt: Callable[[Draw], None], examples: int) -> None:
    """Call a function with drawn examples and, if it fails, with smaller and smaller ones; the smallest comes last."""
    signals: list[Terminated] = []

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
        try:
            attempt(draw)
        except Terminated as signal:
            # hypothesis takes a SystemExit for a failure, and would try the example again; it lets Ctrl-C through.
            signals.append(signal)
            raise KeyboardInterrupt from signal

    try:
        trial()
    except KeyboardInterrupt:
        if signals:
            raise signals[0] from None
        raise


def check_slope(derivative: float, ends: tuple[float, float], size: float) -> None:
    """Compare a derivative along a direction with the difference quotient over a step of `STEP` to both sides.

    Args:
        derivative: along the direction, by the gradient.
        ends: the values one step ahead and one step back.
        size: the norm of the gradient.

    Raises:
        Broken: they differ by more than the error of the step and the rounding of the values.
    """
    slope = (ends[0] - ends[1]) / (2 * STEP)
    rounding = ROUNDING * torch.finfo(torch.float64).eps * max(1.0, *map(abs, ends)) / STEP
    if not abs(derivative - slope) <= DERIVATIVE * max(abs(slope), size) + rounding:
        raise Broken(f"its derivative is {derivative:.6g} where a difference quotient is {slope:.6g}")


def relative(one: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the first tensor's largest entry; infinite if any is not finite."""
    size = float(one.abs().max()) or 1.0
    difference = float((one - other).abs().max()) / size
    return difference if torch.isfinite(torch.tensor(difference)) else float("inf")


def farthest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[float, str]:
    """Return the largest `relative` difference of two networks' weights, and the layer that has it.

    Raises:
        Broken: they have other layers, or layers of other shapes.
    """
    shapes = [{layer: tuple(theta.shape) for layer, theta in weights.items()} for weights in (one, other)]
    if shapes[0] != shapes[1]:
        raise Broken(f"layers have the shapes {shapes[1]}, not {shapes[0]}")
    return max((relative(one[layer], other[layer]), layer) for layer in one)
