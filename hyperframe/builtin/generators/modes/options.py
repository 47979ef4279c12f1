"""The options of the generator `modes`."""

from typing import Literal

import attrs

from hyperframe import option
from hyperframe.networks.dense import InitialisationName
from hyperframe.networks.hypernetwork import StackOptions


@attrs.frozen(kw_only=True)
class Options(StackOptions):
    """Options of the modes; those of a hypernetwork's stacks are for `around: hypernetwork`."""

    modes: int = option(4, "how many base points; trainer.networks must be as many or more", minimum=1)
    from_: tuple[str, ...] = option(
        (),
        "safetensors files of trained networks' state_dicts: where the first base points begin",
        location=True,
        networks=True,
    )
    around: Literal["hypernetwork", "moments"] = option(
        "hypernetwork", "what is drawn around a base point: hypernetwork's offsets, or the moments of its training"
    )
    latent: int = option(64, "hypernetwork: number of entries of ε, uniform between -1 and 1", minimum=1)
    around_rate: float = option(0.2, "hypernetwork: its rate, as a part of trainer.rate", above=0)
    spread: float = option(
        0.3, "hypernetwork: deviation of its first offsets, as a part of the first weights' own", above=0
    )
    tail: float = option(0.3, "moments: the last part of the training, over which they are collected", above=0, below=1)
    deviations: int = option(20, "moments: how many deviations from the mean are kept for each mode", minimum=2)
    initialisation: InitialisationName = option("hyperfan", "authors: small; hyperfan: the target's own variance")
