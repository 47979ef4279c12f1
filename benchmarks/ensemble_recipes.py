"""Recipes for ensembles of one budget, which `benchmarks/ensembles.py` compares."""

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Recipe:
    """How an ensemble is trained.

    Attributes:
        networks: in a step; None: as many as the configuration has.
        settings: what it changes of the configuration.
        images: training images of a network in a step; None: as many as the data's other recipes have.
        shared: images in a step that all networks see, for each diversity term with inputs of its own.
        held: how many independent networks or base points there are; None: no number.
    """

    networks: int | None
    settings: dict[str, Any]
    images: int | None = None
    shared: int = 0
    held: int | None = None

    def sizes(self, largest: int) -> list[int]:
        """The sizes of ensembles that are measured: the number held, 5 and 20 times as many where draws have no end."""
        if self.held is None:
            return [largest]
        endless = "modes" in self.settings["generator"]
        return (
            [size for size in (self.held, 5 * self.held, 20 * self.held) if size <= largest] if endless else [self.held]
        )


def direct(networks: int, images: int | None = None, **others: Any) -> Recipe:
    """Independent networks, each trained for its part of the budget."""
    settings = {"generator": {"name": "direct", "networks": networks}, "diversity": "none"}
    return Recipe(networks=networks, images=images, settings={**settings, **others}, held=networks)


def modes(
    count: int, factor: float, networks: int = 16, images: int | None = None, shared: int = 0, **others: Any
) -> Recipe:
    """Base points with generated offsets, and a λ."""
    settings = {"generator": {"name": "modes", "modes": count}, "objective.lambda": factor}
    return Recipe(networks=networks, settings={**settings, **others}, images=images, shared=shared, held=count)


AVERAGED = {"trainer.schedule": "one_cycle_tail", "trainer.average_tail": 0.3}
"""Weights averaged over the last part of the steps, at a constant rate."""

OF_THEIR_OWN = {"priors": {"prior.functions": 8}, "bootstrap": {"objective.bootstrap": "exponential"}}
"""Settings that give each network a function, or data, of its own."""


def informed(factor: float, examples: int, inputs: str = "shuffled") -> dict[str, Any]:
    """Mutual information of networks and answers, a tenth of λ, on some images that all networks see."""
    term = {"name": "output_information", "weight": 0.1 * factor, "inputs": inputs}
    return {"diversity": ["weight_entropy", term], "shared": examples, "trainer.shared_examples": examples}


RECIPES: dict[str, Recipe] = {
    "hypernetwork": Recipe(networks=None, settings={}),
    **{f"direct {count}": direct(count) for count in (2, 4, 8, 10, 16)},
    **{f"modes {count}, λ = {factor:g}": modes(count, factor) for count in (2, 4, 8, 16) for factor in (1e3, 1e4, 1e5)},
    **{
        f"modes {count}, λ = {factor:g}, {networks} networks a step": modes(count, factor, networks)
        for count, networks in ((2, 4), (2, 8), (4, 4), (4, 8), (8, 8))
        for factor in (1e3, 1e4, 1e5)
    },
    **{
        f"modes {count}, λ = {factor:g}, {networks} networks of {images} images": modes(count, factor, networks, images)
        for count in (2, 4, 8, 16)
        for networks, images in ((8, 16), (16, 8), (16, 16), (32, 8))
        for factor in (1e3, 1e4, 1e5)
    },
    **{
        f"modes {count}, λ = 10000, {networks} networks a step, decay {decay:g}": modes(
            count, 1e4, networks, **{"objective.weight_l2": decay}
        )
        for count, networks in ((4, 8), (8, 8), (10, 10))
        for decay in (1e-3, 1e-2, 1e-1)
    },
    **{
        f"modes {count}, λ = 10000, 16 networks of 16 images, decay {decay:g}": modes(
            count, 1e4, 16, 16, **{"objective.weight_l2": decay}
        )
        for count in (4, 8)
        for decay in (1e-3, 1e-2)
    },
    **{
        f"direct {count}, decay {decay:g}": direct(count, **{"objective.weight_l2": decay})
        for count in (4, 8, 10)
        for decay in (1e-3, 1e-2)
    },
    **{
        f"modes {count}, λ = 10000, {networks} networks of {images} images, unit norm": modes(
            count, 1e4, networks, images, diversity=[{"name": "weight_entropy", "unit_norm": True}]
        )
        for count, networks, images in ((4, 8, 32), (8, 8, 32), (8, 16, 16))
    },
    **{f"direct 8, {name}": direct(8, **settings) for name, settings in OF_THEIR_OWN.items()},
    **{
        f"modes 8, λ = 10000, 8 networks a step, {name}": modes(8, 1e4, 8, **settings)
        for name, settings in OF_THEIR_OWN.items()
    },
    "modes 8, λ = 10000, 8 networks a step, rate 0.003": modes(8, 1e4, 8, **{"trainer.rate": 3e-3}),
    "direct 8, rate 0.003": direct(8, **{"trainer.rate": 3e-3}),
    **{f"direct 10, rate {rate:g}": direct(10, **{"trainer.rate": rate}) for rate in (1e-3, 5e-3, 1e-2)},
    **{f"modes 10, λ = {factor:g}, 10 networks a step": modes(10, factor, 10) for factor in (1e4, 1e5)},
    **{f"direct 8, {images} images": direct(8, images) for images in (16, 64)},
    **{f"direct {count}, averaged": direct(count, **AVERAGED) for count in (4, 8, 16)},
    **{f"modes {count}, λ = 10000, 8 networks a step, averaged": modes(count, 1e4, 8, **AVERAGED) for count in (4, 8)},
    **{
        f"modes {count}, λ = 10000, {networks} networks a step, information": modes(
            count, 1e4, networks, **informed(1e4, 8)
        )
        for count, networks in ((4, 8), (8, 8))
    },
    "moments 4": direct(
        4,
        **{
            "trainer.schedule": "one_cycle_tail",
            "generator": {"name": "modes", "modes": 4, "around": "moments"},
        },
    ),
}
