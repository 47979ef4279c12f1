"""The analysis `function_spectrum`: how many different functions the drawn networks are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, Metric, Networks, Run, hookimpl, option
from hyperframe.analysis import COLOURS, check_classifies, check_count, conclude, keep_picture, new_figure
from hyperframe.analysis.scoring import some_examples
from hyperframe.builtin.analyses.function_spectrum.spectrum import Spectrum
from hyperframe.targets import flatten
from hyperframe.tasks.calibration import log_likelihoods

NAME = "function_spectrum"
SHOWN = 30
"""Principal directions in the picture."""
AT_ONCE = 250
"""Examples whose outputs of all networks are held at once."""
FAR = 5.0
"""Networks have run away whose logits are so many times as long as the median's; trained apart they are within 2."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(
        100, "how many networks are drawn; all that the generator holds where these are fewer", minimum=3
    )
    examples: int = option(1000, "test examples, at most", minimum=1)


class FunctionSpectrum:
    """The effective number of functions among drawn networks, beside that of their weights.

    F = centred logits [networks, examples · classes], less their mean over the networks, with singular values σ. The
    participation ratio (Σσ²)² / Σσ⁴ says in how many directions networks differ in what they answer; of the weights in
    the run's gauges, in how many these differ. Networks can differ in thousands of weights and be one function.

    The ensemble's negative log-likelihood is that of its networks in the mean less the Jensen gap, E[−log p] − (−log
    E[p]): what it gains by its networks being different.

    Networks whose logits are FAR times as long as the median's have run away: nothing that the training saw held them.
    They alone then decide how many functions there seem to be, and how much the networks differ.

    References: S. Fort, H. Hu, B. Lakshminarayanan (2019), Deep Ensembles: A Loss Landscape Perspective; T. Abe et al.
    (2022), Deep Ensembles Work, But Are They Necessary?, for the gap.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Draw networks and measure them.

        Returns:
            `networks`, `examples`; `functions` and `weights`, for each the `participation_ratio` and the `shares` of
            the variance along the first principal directions; `share_along_mean`, of the functions' variance along
            the mean logits, which is that of confidence; `nll`: `members`, `ensemble` and `jensen_gap`, in nats;
            `logit_lengths`, of each network's centred logits over the median's, and how many have `run_away`.

        Raises:
            NotApplicableError: the task has no classes, or the generator holds fewer than three networks.
        """
        check_classifies(run, NAME)
        count = check_count(run, NAME, self.options.networks, 3)
        networks = run.sample(count, run.config.evaluation.seed)
        data = some_examples(run.data("test"), self.options.examples, run.config.evaluation.seed)
        functions, nll = _functions(networks, data)
        weights = Spectrum(count, run.experiment.device)
        weights.add(flatten(networks.target.spec.trained, run.experiment.gauge(networks.weights)))
        results = {
            "networks": count,
            "examples": len(data),
            "functions": _plain(functions),
            "weights": _plain(weights),
            "share_along_mean": functions.share_along_mean(),
            "nll": nll,
            **_run_away(functions.lengths()),
            "ensemble": {"functions": functions.participation_ratio()},
        }
        return {**results, **_show(folder, results)}


def _functions(networks: Networks, data: Data) -> tuple[Spectrum, dict[str, float]]:
    """The spectrum of the networks' centred logits, and their negative log-likelihoods in nats."""
    device = next(iter(networks.weights.values())).device
    spectrum, members, ensemble = Spectrum(len(networks), device), 0.0, 0.0
    for first in range(0, len(data), AT_ONCE):
        part = data[first : first + AT_ONCE].to(device)
        log_probabilities = networks.gathered(part.x, lambda outputs: outputs.double().log_softmax(-1))
        spectrum.add(networks.task.canonical_outputs(log_probabilities).flatten(1))
        members -= float(log_likelihoods(log_probabilities.exp(), part.y).mean(0).sum())
        ensemble -= float(log_likelihoods(log_probabilities.exp().mean(0), part.y).sum())
    nll = {"members": members / len(data), "ensemble": ensemble / len(data)}
    return spectrum, {**nll, "jensen_gap": nll["members"] - nll["ensemble"]}


def _run_away(lengths: Tensor) -> dict[str, Any]:
    """How long each network's logits are beside the median's, and how many are FAR times as long."""
    relative = lengths / lengths.median().clamp(min=torch.finfo(lengths.dtype).tiny)
    return {
        "logit_lengths": [round(value, 4) for value in relative.tolist()],
        "run_away": int((relative > FAR).sum()),
    }


def _plain(spectrum: Spectrum) -> dict[str, Any]:
    shares = spectrum.shares()[:SHOWN].tolist()
    return {"participation_ratio": spectrum.participation_ratio(), "shares": [round(share, 6) for share in shares]}


def _show(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Highlights and the picture."""
    functions, weights = (results[key]["participation_ratio"] for key in ("functions", "weights"))
    figure = new_figure()
    axes = figure.add_subplot()
    for key, words, colour in (("functions", "functions (centred logits)", 0), ("weights", "weights in gauge", 1)):
        shares = results[key]["shares"]
        axes.plot(range(1, len(shares) + 1), shares, "o-", color=COLOURS[colour], markersize=3, label=words)
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-4, top=1.2)
    axes.set_xlabel("principal direction")
    axes.set_ylabel("part of the variance")
    axes.legend(frameon=False)
    caption = (
        f"{results['networks']} networks differ in {functions:.1f} directions in what they answer and in {weights:.1f} "
        f"in their weights (participation ratios); {100 * results['share_along_mean']:.0f} % of the former is "
        "confidence alone."
    )
    nll = results["nll"]
    picture = keep_picture(folder, "spectrum.png", figure, title="Spectrum of functions", caption=caption)
    answer = f"In what they answer {results['networks']} networks are about {functions:.1f} different ones."
    if results["run_away"]:
        have = "has" if results["run_away"] == 1 else "have"
        answer += (
            f" {results['run_away']} of them {have} run away, with logits up to {max(results['logit_lengths']):.0f} "
            "times as long as the median's, which decides that number alone; docs/choosing.md says what holds them."
        )
    return {
        "conclusions": [conclude("ensemble", answer, picture)],
        "highlights": {
            f"effective number of functions among {results['networks']} networks": f"{functions:.1f}",
            "what the ensemble gains by their being different (Jensen gap)": f"{nll['jensen_gap']:.4f} nats",
        },
        "pictures": [picture],
    }


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=25,
            factory=FunctionSpectrum,
            options=Options,
            metrics=(Metric(name="functions", label="effective number of functions", better="greater", of="ensemble"),),
            summary="how many different functions the drawn networks are, beside their weights",
            reference="S. Fort, H. Hu, B. Lakshminarayanan (2019), Deep Ensembles: A Loss Landscape Perspective",
        )
    ]
