"""Strategies for hypothesis: targets of drawn sizes, weights, inputs, latent vectors and symmetry actions.

Sizes and the exponents of factors are drawn directly, so that they shrink. Tensors are drawn from a drawn seed, not
element by element: that is fast, and a failing example is named by one small number.

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
    """Seeds for `torch.Generator`."""
    return st.integers(0, 2**32 - 1)


def sizes(minimum: int = 1, maximum: int = 4) -> st.SearchStrategy[int]:
    """Sizes of layers, batches and examples; the smallest is the simplest."""
    return st.integers(minimum, maximum)


@st.composite
def targets(draw: st.DrawFn, name: str | None = None, maximum: int = 4) -> Target:
    """Targets from `hyperframe.testing.examples`, all their sizes drawn, in float64.

    Args:
        draw: given by hypothesis.
        name: which example; by default any.
        maximum: of all sizes.
    """
    example = EXAMPLES[name or draw(st.sampled_from(list(EXAMPLES)))]
    drawn = {size: draw(sizes(maximum=maximum)) for size in inspect.signature(example).parameters}
    return Target(*example(**drawn)).to("cpu", torch.float64)


def specs(name: str | None = None, maximum: int = 4) -> st.SearchStrategy[TargetSpec]:
    """The specs of `targets`, bound to their modules."""
    return targets(name, maximum).map(lambda target: target.spec)


def weights(
    spec: TargetSpec, batch: int | None = None, dtype: torch.dtype = torch.float64
) -> st.SearchStrategy[Weights]:
    """Weights for a spec that is bound to its module, see `hyperframe.testing.examples.random_weights`.

    Args:
        spec: the spec.
        batch: the number of networks; drawn where it is left out.
        dtype: of the weights.
    """
    batches = sizes(maximum=3) if batch is None else st.just(batch)
    return st.builds(random_weights, st.just(spec), batches, seeds(), st.just(dtype))


def inputs(
    spec: TargetSpec, examples: int | None = None, dtype: torch.dtype = torch.float64
) -> st.SearchStrategy[Tensor]:
    """Inputs [examples, *input_shape] for a spec.

    Args:
        spec: the spec.
        examples: their number; drawn where it is left out.
        dtype: of the inputs.
    """
    counts = sizes() if examples is None else st.just(examples)
    return st.builds(random_inputs, st.just(spec), counts, seeds(), st.just(dtype))


@st.composite
def latents(draw: st.DrawFn, generator: Generator, batch: int | None = None) -> Tensor:
    """Latent vectors of a generator.

    Args:
        draw: given by hypothesis.
        generator: whose; on the CPU.
        batch: the number of networks; drawn where it is left out, and all that it holds where they are so many.
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
    """Elements of a target's symmetry group, one for each network of a batch.

    Args:
        draw: given by hypothesis.
        of: the symmetries to draw from.
        batch: the number of networks.
        kinds: which kinds of symmetry take part; the others are left at the identity.
        powers_of_two: factors are 2^k, which positively homogeneous networks let through bit for bit; |k| has a drawn
            bound, at most 8. Otherwise factors lie between 1/8 and 8.
        dtype: of the factors and the shift.
    """
    exponents = draw(st.integers(1, 8)) if powers_of_two else None
    rng = torch.Generator().manual_seed(draw(seeds()))
    return random_action(of, batch, rng, kinds=kinds, exponents=exponents, dtype=dtype)
