"""Conclusions of the analysis `deep_ensemble`: whether the run's ensemble was worth its training."""

from collections.abc import Mapping
from typing import Any

from hyperframe.runtime.progress import quantity

MINUS = "−"


def comparison(found: Mapping[str, Any]) -> str:
    """Say whether the run's ensemble is ahead of the best deep ensemble of the same budget, by the paired interval."""
    best = found["references"][found["best"]]
    low, high = best["interval"]
    verdict = "is ahead of" if high < 0 else "is behind" if low > 0 else "is level with"
    ends = " to ".join(f"{end:+.4f}".replace("-", MINUS) for end in (low, high))
    return (
        f"It {verdict} the best deep ensemble of the same cost ({quantity(best['networks'], 'network')}): calibrated "
        f"negative log-likelihood {found['ensembles']['calibrated_nll'][-1]:.4f} and {best['calibrated_nll']:.4f} "
        f"nats, difference {ends}."
    )


def advice(found: Mapping[str, Any]) -> str:
    """Advise to train networks independently where that is better at the same cost; else say nothing."""
    best = found["references"][found["best"]]
    if best["interval"][0] <= 0:
        return ""
    return (
        f"At the cost of this training {best['networks']} networks that are trained independently are better "
        f"(generator=direct, generator.networks={best['networks']}), unless you want more draws than these."
    )
