"""The diversity term `manifold_entropy`: entropy from the metric that the generator induces."""

import warnings
from collections.abc import Callable
from functools import cache

import attrs
import torch
from torch import Tensor
from torch.autograd import forward_ad

from hyperframe import Component, Generator, hookimpl, option
from hyperframe.builtin.diversities.manifold_entropy.held_moments import HeldMoments
from hyperframe.builtin.diversities.manifold_entropy.logdet import exact_logdet, probed_logdet
from hyperframe.errors import ConfigError
from hyperframe.runtime.progress import quantity
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    exact_up_to: int = option(64, "most entries of z with which the Jacobian is computed; else it is probed", minimum=0)
    networks: int | None = option(2, "networks of each step's batch to compute it for, at random; null: all", minimum=1)
    probes: int = option(1, "random probes for each network, where it is probed", minimum=1)
    lanczos: int = option(16, "products with JᵀJ for each probe", minimum=1)
    damping: float = option(
        0.1, "probed: this part of the largest eigenvalue of JᵀJ is added to all of them", minimum=1e-6, maximum=1
    )


class ManifoldEntropy(DiversityTerm):
    """L_diversity = −H with H = H(z) + ½ E_z log det(JᵀJ), J = ∂ gauge(G(z)) / ∂z.

    This is the differential entropy on the manifold that G draws from, with respect to the metric that it has as a part
    of the space of gauged weights: no samples are compared, there is no neighbour and no bandwidth. The statistics that
    batch normalisations of G take over a batch count as constants of z.

    The formula holds where z ↦ gauge(G(z)) is injective, smooth almost everywhere, and J has full rank. Where the map
    folds, so that several z give the same weights, the value is an upper bound. Where z has more entries than there are
    directions left after the gauge, or than a narrow layer of G lets through, J cannot have full rank and the entropy
    is −∞: a `ConfigError` says so. Along a direction that G has lost, a finite floor takes the place of −∞.

    With few entries of z, J itself is computed, by one forward-mode product for each entry. With more, log det(JᵀJ +
    sI) is estimated by Lanczos' method from random probes, and its gradient from the same probes and Lanczos basis; s
    is `damping` times the largest eigenvalue. Directions in which G moves less than √damping times as far as in the
    widest one then count little, and the value is an upper bound, as if noise of that size were added to the weights.
    No estimate from a few probes could see these directions.

    The mean is over some `networks` of the batch, drawn at random. The gradient reaches the generator's parameters
    directly. Scale law: H(aθ) = H(θ) + dim z · log a. On CUDA the eigenvalues make the host wait for the device.

    References: the paper's appendix E, which wishes for the induced metric; A. Ben-Israel (1999), The change-of-
    variables formula using matrix volume.
    """

    needs = frozenset({"z", "generator", "gauged", "rng"})

    def __init__(self, options: Options) -> None:
        self.options = options

    def departures(self, generator: Generator) -> list[str]:
        """List what keeps the term from being the weights' negative entropy, see `hyperframe.experiment.bound`."""
        reasons = []
        if generator.dimension > self.options.exact_up_to:
            reasons.append("the determinant is probed, with damping: set exact_up_to to the entries of z")
        if generator.dimension == generator.spec.num_weights and not generator.is_injective():
            reasons.append(
                "several z may give the same weights, and the entropy is then less than this term takes it for: no "
                "hidden layer may be narrower than the one before it, and activations must be injective"
            )
        return reasons

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative entropy, in nats.

        Raises:
            ConfigError: z has no density, or more entries than there are directions left.
        """
        assert inputs.z is not None
        assert isinstance(inputs.generator, Generator)
        z, entropy = inputs.z, inputs.generator.latent_entropy()
        if entropy is None:
            kind = type(inputs.generator).__name__
            raise ConfigError(
                f"diversity 'manifold_entropy' needs a z with a density; {kind} declares no latent_entropy. Choose "
                "another generator or another diversity term"
            )
        left = min(inputs.directions, inputs.dimension)
        if z[0].numel() > left:
            fewest = "weights after the gauge have" if left == inputs.directions else "what the generator draws has"
            raise ConfigError(
                f"diversity 'manifold_entropy' is minus infinity: z has {quantity(z[0].numel(), 'entry', 'entries')}, "
                f"but {fewest} only {left} directions; use a smaller latent, a wider generator, or fewer gauges"
            )
        held = HeldMoments(inputs.generator, z)
        gauged = inputs.gauged
        assert gauged is not None

        def gauged_rows(rows: Tensor) -> Tensor:
            return gauged(held(rows.view(-1, *z.shape[1:])))

        assert inputs.rng is not None
        rows = z.detach()[self._chosen(len(z), inputs.rng)].flatten(1)
        if rows.shape[1] <= self.options.exact_up_to:
            return -(entropy + exact_logdet(_jacobian(gauged_rows, rows)).mean() / 2)
        return -(entropy + self._probe(gauged_rows, rows, inputs.rng) / 2)

    def _chosen(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the networks of the batch for which the entropy is computed."""
        if self.options.networks is None or self.options.networks >= count:
            return torch.arange(count, device=rng.device)
        return torch.randperm(count, generator=rng, device=rng.device)[: self.options.networks]

    def _probe(self, mapping: Callable[[Tensor], Tensor], rows: Tensor, rng: torch.Generator) -> Tensor:
        """Estimate the mean of log det(JᵀJ + sI) from random probes; its gradient is an estimate as well."""
        at = rows.clone().requires_grad_()
        values = mapping(at)

        def product(v: Tensor) -> Tensor:
            with torch.enable_grad():
                pushed = _push_forward(mapping, rows, v).detach()
                (pulled,) = torch.autograd.grad(values, at, pushed, retain_graph=True)
            return pulled

        parts = []
        for _ in range(self.options.probes):
            signs = torch.randint(2, rows.shape, generator=rng, device=rows.device)
            probe = (2 * signs - 1).to(rows)
            found = probed_logdet(product, probe, self.options.lanczos, self.options.damping)
            both = _push_forward(mapping, rows.repeat(2, 1), torch.cat([found.solution, probe]))
            slope = (both[: len(rows)] * both[len(rows) :]).sum(1)  # its gradient is that of log det
            parts.append(found.logdet + slope - slope.detach())
        return torch.stack(parts).mean()


@cache
def _prepare_forward_mode() -> None:
    """Let torch load what forward mode needs, without the warning that this gives, of its own use of TorchScript."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        # A DeprecationWarning in torch 2.11, a FutureWarning later; in Python 3.14 with other words after these.
        warnings.filterwarnings("ignore", "`torch.jit.script` is ")
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


def _push_forward(mapping: Callable[[Tensor], Tensor], rows: Tensor, tangents: Tensor) -> Tensor:
    """Return J v at each row, v its tangent: [rows, weights]."""
    _prepare_forward_mode()
    with forward_ad.dual_level():
        moved = forward_ad.unpack_dual(mapping(forward_ad.make_dual(rows, tangents))).tangent
    return moved if moved is not None else torch.zeros_like(mapping(rows))


def _jacobian(mapping: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return J at each row, [networks, weights, entries], with all columns computed in one batch."""
    count, entries = rows.shape
    tangents = torch.eye(entries, device=rows.device, dtype=rows.dtype).repeat(count, 1)
    columns = _push_forward(mapping, rows.repeat_interleave(entries, 0), tangents)
    return columns.view(count, entries, -1).mT


def _build(options: Options, estimator: EntropyEstimator) -> ManifoldEntropy:
    return ManifoldEntropy(options)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="manifold_entropy",
            factory=_build,
            options=Options,
            summary="the negative entropy of the gauged weights from the generator's Jacobian",
            reference="appendix E (the induced metric)",
        )
    ]
