"""Laws of generators: weights have the target's shapes, follow from z and the state, and can be trained."""

import json
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hyperframe.config.kinds import check_component
from hyperframe.networks.generator import Generator
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.weights import slice_weights
from hyperframe.testing.laws import Broken, Case, Draw, Law, farthest
from hyperframe.testing.networks import network
from hyperframe.types import Weights

NETWORKS = ("dense", "residual", "table")
"""Examples with a plain layer, a normalisation and a layer without a kernel."""

TOLERANCE = 1e-3
"""The error allowed in weights in single precision, relative to their layer's largest; normalisations amplify rounding.
"""

PARAMETERS = 3
"""How often parameters and z are drawn to find the rank, which is lower where units are dead."""

RANK = 1e-11
"""Singular values below this part of the largest one count as zero."""

MANY = 1000
"""How many z are drawn where a few were all the same."""

KURTOSIS = {"uniform": 1.8, "normal": 3.0}

ENTROPY = {"uniform": math.log(12) / 2, "normal": math.log(2 * math.pi * math.e) / 2}
"""In nats, of a number whose standard deviation is 1."""

NUMBERS = 5000
"""At least so many entries of z are drawn to tell distributions apart."""

ROWS, MOST_ENTRIES, ENTROPY_ERROR = 20, 1000, 0.1
"""Of z's entropy: how many z are drawn for each entry, of how many entries at most, and the error allowed in nats for
each entry; so many rows miss 0.03, and a forgotten factor of 2 is 0.7.
"""


class GeneratorCase(Case):
    """A generator for one example network.

    Args:
        name: of the example.
        make: makes the generator for a spec.
    """

    def __init__(self, name: str, make: Callable[[TargetSpec], object]) -> None:
        self.name, self._make = name, make

    def make(self, draw: Draw) -> Generator:
        """Make a generator with parameters that follow the draw's seed; raises `Broken` if it is no `Generator`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw.seed)
            generator = self._make(network(self.name, draw).spec)
        if not isinstance(generator, Generator):
            raise Broken(f"its factory returns {type(generator).__name__}, not a hyperframe.Generator")
        check_component(generator, Generator, "a generator")
        return generator

    def several(self, generator: Generator, draw: Draw) -> int:
        """Return a number of networks that it can make at once; at least two, unless a step takes fewer."""
        if generator.networks_per_step is not None:
            return generator.networks_per_step
        return max(generator.minimum_batch, 2) + draw.networks


def _shapes(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw)
    count = case.several(generator, draw)
    if not isinstance(generator.dimension, int) or generator.dimension < 1:
        raise Broken(f"dimension must be a whole number, at least 1, but is {generator.dimension!r}")
    generator.train()(generator.latent(generator.networks_per_step or generator.minimum_batch, draw.rng()))  # is enough
    z = generator.latent(count, draw.rng())
    if len(z) != count:
        raise Broken(f"latent({count}, rng) has {len(z)} rows")
    for mode in (True, False):
        weights = generator.train(mode)(z)
        expected = {layer.name: (count, layer.filters, layer.filter_size) for layer in generator.spec.layers}
        found = {layer: tuple(theta.shape) for layer, theta in weights.items()}
        if found != expected:
            raise Broken(f"weights have the shapes {found}, not {expected}")
        for layer, theta in weights.items():
            if not bool(theta.isfinite().all()) or theta.dtype != torch.float32:
                raise Broken("weights are not finite, or not in single precision", f"layer '{layer}'")


def evaluate(case: GeneratorCase, draw: Draw) -> tuple[Generator, Tensor, Weights]:
    """Return a generator in evaluation mode, some z, and its weights for them."""
    generator = case.make(draw)
    count = case.several(generator, draw)
    z = generator.latent(count, draw.rng())
    generator.train()(z)  # so that running moments, if any, have been estimated
    with torch.no_grad():
        return generator.eval(), z, generator(z)


def _repeats(case: GeneratorCase, draw: Draw) -> None:
    generator, z, weights = evaluate(case, draw)
    if not torch.equal(z, generator.latent(len(z), draw.rng())):
        raise Broken("latent draws other z with the same random numbers")
    with torch.no_grad():
        difference, layer = farthest(weights, generator(z))
        if difference:
            raise Broken("the same z gives other weights a second time", f"layer '{layer}'")
        for number in range(len(z)):
            row = slice(number, number + 1)
            difference, layer = farthest(slice_weights(weights, row), generator(z[row]))
            if not difference <= TOLERANCE:
                raise Broken(f"in evaluation a network depends on the others drawn with it, by {difference:.1e}", layer)


def _follows_z(case: GeneratorCase, draw: Draw) -> None:
    generator, z, weights = evaluate(case, draw)
    # Where z is discrete, such as a mask, some draws may be the same.
    others = [number for number in range(1, len(z)) if not torch.equal(z[0], z[number])]
    for number in others:
        pair = [slice_weights(weights, slice(place, place + 1)) for place in (0, number)]
        if farthest(*pair)[0] == 0:
            raise Broken("two different z give the same weights")
    if not others and generator.networks is None:
        many = generator.latent(MANY, draw.rng())
        if bool((many == many[0]).all()):
            raise Broken(f"all of {MANY} z are the same")


def _distribution(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw)
    named = generator.latent_distribution
    if named is None:
        return
    if named not in KURTOSIS:
        raise Broken(f"latent_distribution must be one of {', '.join(KURTOSIS)} or None, but is {named!r}")
    z = generator.latent(case.several(generator, draw), draw.rng())
    if z.dim() != 2 or not z.is_floating_point():
        raise Broken(
            f"latent_distribution is '{named}', but z is {z.dtype} {list(z.shape)}, no vectors [batch, entries]"
        )
    z = generator.latent(-(-NUMBERS // z.shape[1]), draw.rng()).double()
    mean, kurtosis = float(z.mean() / z.std()), float(z.pow(4).mean() / z.square().mean().square())
    if abs(mean) > 6 / math.sqrt(z.numel()):
        raise Broken(f"the mean of z's entries is {mean:.2g} of their standard deviation, and should be 0")
    if abs(kurtosis - KURTOSIS[named]) > 0.6:  # six standard errors of 5,000 normal numbers are 0.4
        raise Broken(
            f"z's entries have the kurtosis {kurtosis:.2g}; of those of latent_distribution '{named}' it is "
            f"{KURTOSIS[named]}"
        )
    declared, entries = generator.latent_entropy(), z.shape[1]
    if declared is None or entries > MOST_ENTRIES:
        return
    z = generator.latent(max(NUMBERS, ROWS * entries), draw.rng()).double()
    covariance = torch.cov(z.T).reshape(entries, entries)  # entries may be correlated
    found = float(torch.linalg.slogdet(covariance).logabsdet) / 2 + ENTROPY[named] * entries
    if not abs(declared - found) <= ENTROPY_ERROR * entries:
        raise Broken(f"latent_entropy is {declared:.4g} nats, and that of z {found:.4g}")


def _dimension(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw).double().eval()
    rng, most = draw.rng(), 0
    for _ in range(PARAMETERS):
        with torch.no_grad():
            for parameter in generator.parameters():
                spread = max(parameter.shape[-1:], default=1) ** -0.5
                parameter.copy_(spread * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
        z = generator.latent(case.several(generator, draw), rng)
        most = max(most, *(_rank(generator, one[None]) for one in z))
        if most == generator.dimension:
            return
    raise Broken(f"the rank is {most} at parameters drawn at random, but dimension is {generator.dimension}")


def _rank(generator: Generator, z: Tensor) -> int:
    """Return the rank of ∂ weights / ∂ z at one z [1, …], or of ∂ weights / ∂ parameters if z is a network's number."""
    parameters = dict(generator.named_parameters())

    def rows(*moved: Tensor) -> Tensor:
        own, at = (dict(zip(parameters, moved, strict=True)), z) if z.dtype == torch.int64 else ({}, moved[0])
        return torch.cat([theta.flatten() for theta in functional_call(generator, own, (at,)).values()])

    inputs = tuple(parameters.values()) if z.dtype == torch.int64 else (z.double(),)
    found = torch.autograd.functional.jacobian(rows, inputs)
    jacobian = torch.cat([part.flatten(1) for part in found], 1)
    return int(torch.linalg.matrix_rank(jacobian, rtol=RANK))


def _codes(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw)
    z = generator.latent(case.several(generator, draw), draw.rng())
    codes = generator.train().code(z)
    if codes.dim() != 2 or len(codes) != len(z) or not codes.shape[1]:
        raise Broken(f"code gives {list(codes.shape)} for {len(z)} networks, not [networks, entries]")
    if not codes.is_floating_point() or not bool(codes.isfinite().all()):
        raise Broken(f"codes must be finite floating-point numbers, but are {codes.dtype}; a number's is one-hot")
    if not torch.equal(codes, generator.code(torch.cat([z, z]))[len(z) :]):
        raise Broken("equal z have different codes, or one that depends on the others of its batch")
    if not torch.equal(codes, generator.eval().code(z)):
        raise Broken("code gives other numbers in evaluation mode")
    with torch.no_grad():
        weights = generator.train()(z)
    for number in range(1, len(z)):
        pair = [slice_weights(weights, slice(place, place + 1)) for place in (0, number)]
        if torch.equal(codes[0], codes[number]) and farthest(*pair)[0] > TOLERANCE:
            raise Broken("two networks that are trained with different weights have one code")


def _describes(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw)
    description = generator.describe()
    try:
        json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(f"describe() is not plain data: {error}") from error
    trained = sum(parameter.numel() for parameter in generator.parameters())
    if description.get("parameters") != trained:
        raise Broken(f"describe()['parameters'] is {description.get('parameters')!r}, but there are {trained}")
    constants = {name for name, _ in generator.named_buffers()} | {name for name, _ in generator.named_parameters()}
    for path, module in generator.named_modules():
        for name, value in vars(module).items():
            inside = value.values() if isinstance(value, dict) and not name.startswith("_") else value
            several = list(inside) if isinstance(inside, list | tuple | type({}.values())) else [value]
            plain = any(isinstance(one, Tensor) and not isinstance(one, nn.Parameter) for one in several)
            if plain and f"{path}.{name}".lstrip(".") not in constants:
                raise Broken("a tensor is neither a parameter nor a buffer", f"attribute '{name}'")


LAWS = (
    Law(
        name="weights_have_shapes",
        text="for each layer it gives finite weights [batch, filters, filter_size], in training and in evaluation mode",
        cause="filters and filter_size of a layer exchanged, or a layer left out",
        holds=_shapes,
    ),
    Law(
        name="draws_repeat",
        text="the same random numbers give the same z, and the same z the same weights, alone or in a batch",
        cause="numbers from torch's global generator, or batch statistics in evaluation mode",
        holds=_repeats,
    ),
    Law(
        name="weights_follow_z",
        text="different z give different weights",
        cause="a z that is not used, or whose effect is lost in rounding or in a saturated unit",
        holds=_follows_z,
    ),
    Law(
        name="latent_is_distributed",
        text="where latent_distribution says how z's entries are distributed, z is a vector of such numbers around 0, "
        "and latent_entropy, where it is given, is the entropy of z",
        cause="the number of a network among the entries of z, another distribution than that of the options, or an "
        "entropy without its scale",
        holds=_distribution,
    ),
    Law(
        name="dimension_is_the_rank",
        text="dimension is the rank of ∂ weights / ∂ z at randomly drawn parameters; for a generator that holds its "
        "networks, of ∂ weights / ∂ parameters",
        cause="a layer between z and the weights that is narrower than z",
        holds=_dimension,
    ),
    Law(
        name="codes_tell_networks_apart",
        text="code gives finite rows [networks, entries] that follow from each z alone, are the same in training and "
        "evaluation mode, and differ where the networks that are trained do",
        cause="the number of a network as it is and not one-hot, or moments of the batch",
        holds=_codes,
    ),
    Law(
        name="describes_itself",
        text="describe() is plain data with the number of parameters, and all tensors are parameters or buffers",
        cause="a tensor as a plain attribute, which would stay on the CPU when the module is moved",
        holds=_describes,
    ),
)
