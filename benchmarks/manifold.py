"""Compare `manifold_entropy` with estimates from samples: values on a known map, and costs on generators that ship.

    python benchmarks/manifold.py [REPEATS]      prints docs/results/entropies.md's last three tables

A cost is the median CPU time of a term's value and its gradient at the generator's parameters, z and the generator's
own pass included, over that of `weight_entropy` with `kozachenko_leonenko` in the same run.
"""

import statistics
import sys
import time
from typing import Any

import torch
from torch import Tensor

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.config.choices import choose
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.terms import WeightedTerm

REGISTRY = make_registry()
ESTIMATORS: dict[str, dict[str, Any]] = {
    "kozachenko_leonenko": {"constants": True},
    "kozachenko_leonenko neighbour=3": {"constants": True, "neighbour": 3},
    "gaussian": {},
    "renyi": {},
}
MANIFOLD: dict[str, dict[str, Any]] = {
    "exact, 1 network": {"networks": 1, "exact_up_to": 1000},
    "exact, 8 networks": {"networks": 8, "exact_up_to": 1000},
    "probed, 1 network": {"networks": 1, "exact_up_to": 0},
    "probed, 8 networks": {"networks": 8, "exact_up_to": 0},
}
SEEDS, COUNT, PROBES = 5, 3000, 6


class Curved(hf.Generator):
    """Maps z, uniform on a unit square, to a smooth, injective patch in four dimensions, neither flat nor even."""

    def __init__(self) -> None:
        layer = hf.targets.LayerSpec(name="point", filters=4, params=[hf.targets.bias("point")])
        super().__init__(
            hf.targets.TargetSpec(name="point", input_shape=(1,), num_outputs=4, layers=[layer]), dimension=2
        )

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw z, [count, 2]."""
        return torch.rand(count, 2, generator=rng, dtype=torch.float64)

    def latent_entropy(self) -> float:
        """Return the entropy of z, which is 0."""
        return 0.0

    def forward(self, z: Tensor) -> hf.Weights:
        """Return points of the patch."""
        a, b = z[:, 0], z[:, 1]
        return {"point": torch.stack([a.exp(), a * b, b.square() + b, (a + 2 * b).sin()], 1)[:, :, None]}


def estimator(words: str) -> Any:
    """Make an estimator from its label in the table."""
    return choose(REGISTRY, "entropy", {"name": words.split(maxsplit=1)[0], **ESTIMATORS[words]}, "entropy").make()


def manifold(**options: Any) -> Any:
    """Make the term `manifold_entropy`."""
    return choose(REGISTRY, "diversity", {"name": "manifold_entropy", **options}, "diversity").make(None)


def values() -> dict[str, list[float]]:
    """Return entropies of the patch in nats, a value for each seed."""
    found: dict[str, list[float]] = {"manifold_entropy": [], **{words: [] for words in ESTIMATORS}}
    generator = Curved()
    for seed in range(SEEDS):
        z = generator.latent(COUNT, torch.Generator().manual_seed(seed))
        rows = generator(z)["point"][:, :, 0]
        inputs = hf.types.DiversityInputs(
            z=z,
            generator=generator,
            gauged=lambda weights: weights["point"].flatten(1),
            directions=4,
            rng=torch.Generator().manual_seed(seed),
        )
        found["manifold_entropy"].append(-float(manifold(networks=None)(inputs)))
        for words in ESTIMATORS:
            found[words].append(float(estimator(words)(rows, 2)))
    return found


def costs(config: str, repeats: int) -> dict[str, float]:
    """Measure CPU seconds of each term on a configuration's generator."""
    built = build_experiment(load_config(config, ["trainer.device=cpu"], REGISTRY))
    terms = {words: choose(REGISTRY, "diversity", "weight_entropy", "d").make(estimator(words)) for words in ESTIMATORS}
    terms |= {f"manifold_entropy, {words}": manifold(**options) for words, options in MANIFOLD.items()}
    objective, generator = built.loss, built.generator.train()
    rng = torch.Generator().manual_seed(0)
    times: dict[str, list[float]] = {name: [] for name in terms}
    for repeat in range(repeats + 1):
        for name, term in terms.items():
            objective.terms = [WeightedTerm(name=name, term=term, weight=1.0)]
            began = time.process_time()
            z = generator.latent(built.config.trainer.networks, rng)
            term(objective.inputs(generator, z, generator(z), rng)).backward()
            if repeat:
                times[name].append(time.process_time() - began)
    return {name: statistics.median(found) for name, found in times.items()}


def quality() -> None:
    """Print how close probed gradients are to the exact one: all parameters of an untrained generator, in float64."""
    built = build_experiment(load_config("digits_hypernetwork", ["trainer.device=cpu"], REGISTRY))
    generator = built.generator.double().train()
    built.target.to("cpu", torch.float64)
    z = generator.latent(16, torch.Generator().manual_seed(0))

    def gradient(seed: int, **options: Any) -> Tensor:
        term, rng = manifold(networks=None, **options), torch.Generator().manual_seed(seed)
        built.loss.terms = [WeightedTerm(name="manifold_entropy", term=term, weight=1.0)]
        value = term(built.loss.inputs(generator, z, generator(z), rng))
        parts = torch.autograd.grad(value, list(generator.parameters()), allow_unused=True)
        return torch.cat([part.flatten() for part in parts if part is not None])

    exact, cosine = gradient(0), torch.nn.functional.cosine_similarity
    print(f"\n| damping | one with the others | mean with exact | norm of one, exact {float(exact.norm()):.0f} |")
    print("| --- | --- | --- | --- |")
    for damping in (0.1, 0.01, 0.001, 1e-6):
        found = torch.stack([gradient(seed, exact_up_to=0, damping=damping) for seed in range(PROBES)])
        others = [float(cosine(one, found.sum(0) - one, 0)) for one in found]
        near = f"{statistics.mean(others):.2f} | {float(cosine(found.mean(0), exact, 0)):.2f}"
        print(f"| {damping:g} | {near} | {float(found.norm(dim=1).mean()):,.0f} |")


def main() -> None:
    """Print all tables."""
    torch.set_num_threads(1)
    print(f"| entropy of the patch, n = {COUNT:,} | nats, mean ± deviation over {SEEDS} seeds |\n| --- | --- |")
    for name, found in values().items():
        print(f"| `{name}` | {statistics.mean(found):.3f} ± {statistics.stdev(found):.3f} |")
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    tables = {config: costs(config, repeats) for config in ("toy", "digits_hypernetwork", "mnist")}
    print("\n| term | " + " | ".join(tables) + " |\n| --- |" + " --- |" * len(tables))
    for name in tables["digits_hypernetwork"]:
        cells = [f"{found[name] / found['kozachenko_leonenko']:.1f}" for found in tables.values()]
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    once = ", ".join(f"{1000 * found['kozachenko_leonenko']:.1f} ms in {config}" for config, found in tables.items())
    print(f"\n1 is {once} of CPU time.")
    quality()


if __name__ == "__main__":
    main()
