"""Hypothesis strategies: targets of drawn sizes, weights, inputs, latent vectors and symmetry actions.

Sizes and the exponents of factors are drawn directly, so that they shrink. Tensors follow from a drawn seed and are not
drawn element by element: that is fast, and a failing example is given by one small number.

Example:
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3)
    ... @given(targets("residual").flatmap(lambda target: weights(target.spec, batch=2)))
    ... def test_stem_holds_one_channel_and_its_normalisation(drawn):
    ...     assert drawn["stem"].shape[2] == 2 * 2 + 2
    >>> test_stem_holds_one_channel_and_its_normalisation()
"""

import inspect
from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor

from hyperframe.networks.generator import Generator
from hyperframe.networks.target import Target
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.orbits import KINDS, Action, Orbits, random_action
from hyperframe.testing.examples import EXAMPLES, random_inputs, random_weights
from hyperframe.types import Weights


def seeds() -> st.SearchStrategy[int]:
    """Return a strategy for seeds of `torch.Generator`."""
    return st.integers(0, 2**32 - 1)


def sizes(minimum: int = 1, maximum: int = 4) -> st.SearchStrategy[int]:
    """Return a strategy for sizes of layers, batches and examples; it shrinks to the smallest size."""
    return st.integers(minimum, maximum)


@st.composite
def targets(draw: st.DrawFn, name: str | None = None, maximum: int = 4) -> Target:
    """Draw a target from `hyperframe.testing.examples` with drawn sizes, in float64.

    Args:
        draw: given by hypothesis.
        name: the name of an example; by default any.
        maximum: the greatest size.
    """
    example = EXAMPLES[name or draw(st.sampled_from(list(EXAMPLES)))]
    drawn = {size: draw(sizes(maximum=maximum)) for size in inspect.signature(example).parameters}
    return Target(*example(**drawn)).to("cpu", torch.float64)


def specs(name: str | None = None, maximum: int = 4) -> st.SearchStrategy[TargetSpec]:
    """Return a strategy for the specs of `targets`, bound to their modules."""
    return targets(name, maximum).map(lambda target: target.spec)


def weights(
    spec: TargetSpec, batch: int | None = None, dtype: torch.dtype = torch.float64
) -> st.SearchStrategy[Weights]:
    """Return a strategy for weights of a spec that is bound to its module; see `random_weights` of the examples.

    Args:
        spec: the spec.
        batch: the number of networks; drawn by default.
        dtype: of the weights.
    """
    batches = sizes(maximum=3) if batch is None else st.just(batch)
    return st.builds(random_weights, st.just(spec), batches, seeds(), st.just(dtype))


def inputs(
    spec: TargetSpec, examples: int | None = None, dtype: torch.dtype = torch.float64
) -> st.SearchStrategy[Tensor]:
    """Return a strategy for inputs [examples, *input_shape] of a spec.

    Args:
        spec: the spec.
        examples: the number of inputs; drawn by default.
        dtype: of the inputs.
    """
    counts = sizes() if examples is None else st.just(examples)
    return st.builds(random_inputs, st.just(spec), counts, seeds(), st.just(dtype))


@st.composite
def latents(draw: st.DrawFn, generator: Generator, batch: int | None = None) -> Tensor:
    """Draw latent vectors of a generator.

    Args:
        draw: given by hypothesis.
        generator: a generator on the CPU.
        batch: the number of networks; by default drawn, or all networks of a generator that holds a number of them.
    """
    held = generator.networks
    count = batch or held or draw(sizes(minimum=generator.minimum_batch, maximum=generator.minimum_batch + 3))
    return generator.latent(count, torch.Generator().manual_seed(draw(seeds())))


@st.composite
def actions(
    draw: st.DrawFn,
    of: Orbits,
    batch: int,
    *,
    kinds: Iterable[str] = KINDS,
    powers_of_two: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Action:
    """Draw elements of a target's symmetry group, one for each network of a batch.

    Args:
        draw: given by hypothesis.
        of: the symmetries to draw from.
        batch: the number of networks.
        kinds: the kinds of symmetry that take part; the others stay at the identity.
        powers_of_two: factors are 2^k, with which outputs of positively homogeneous networks stay the same bit for bit;
            |k| has a drawn bound, at most 8. Otherwise factors lie between 1/8 and 8.
        dtype: of the factors and the shift.
    """
    exponents = draw(st.integers(1, 8)) if powers_of_two else None
    rng = torch.Generator().manual_seed(draw(seeds()))
    return random_action(of, batch, rng, kinds=kinds, exponents=exponents, dtype=dtype)
