"""The analysis `adversarial`: whether attacks on one network, or on an ensemble, fool ensembles (Fig. 8)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe import Component, hookimpl
from hyperframe.analysis import (
    COLOURS,
    check_classifies,
    check_count,
    check_takes_all_numbers,
    in_parts,
    keep_picture,
    new_figure,
)
from hyperframe.analysis.scoring import some_examples
from hyperframe.builtin.analyses.adversarial.attacks import other_classes
from hyperframe.builtin.analyses.adversarial.success_rates import (
    ATTACKS,
    FIRST,
    AttackOptions,
    Scene,
    count_fooled,
    success_rates,
)
from hyperframe.networks.sampled import select
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import stream

NAME = "adversarial"
PART = 100
"""Examples that are attacked at a time, through one single network."""

SHOWN = 0.1
"""The size ε that highlights and captions speak of; if it is not among the sizes, the nearest one is taken."""

AXES = ("size ε of the perturbation, part of the inputs' range", "part of the images that fool")

Results = Mapping[str, Any]


class Adversarial:
    """Attacks networks and ensembles, and counts who is fooled.

    For every example a class other than its own is drawn as the target. The fast gradient sign method makes adversarial
    examples towards it, in one step of ε times the range of the training inputs (maximum − minimum), through one drawn
    network (another one for every 100 examples). They are tried on this network and on an ensemble of others. Stronger
    attacks are made on fewer images: several steps (projected gradient), and both attacks on the ensemble's own mean
    probability, tried on the ensemble and on another one of fresh draws. Attacks on an ensemble use the gradient of
    `gradient_networks` of its networks.

    Each attack is counted in two ways: over all examples (`all`), and without those that the attacked network or
    ensemble answers wrongly even without an attack (`right_only`), as the paper's authors count. At ε = 0 the former
    are error rates, and the latter are 0 for the network or ensemble that is attacked.

    Args:
        options: which attacks are made.

    References: section 4.2.2, Fig. 8.
    """

    def __init__(self, options: AttackOptions) -> None:
        self.options = options

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Make all attacks on a run's networks.

        Returns:
            `examples`, the number of `networks` of each kind, `range`, `clipped`, and `attacks`: for each what
            `hyperframe.builtin.analyses.adversarial.success_rates.success_rates` returns. `ensemble_vote` answers by
            majority vote, `ensemble_mean` by mean probability; `fresh_vote` and `fresh_mean` are those of the fresh
            ensemble.

        Raises:
            NotApplicableError: the run's task has no classes, its target does not take all numbers, or its generator
                holds fewer than three networks.
        """
        check_classifies(run, NAME)
        check_takes_all_numbers(run, NAME)
        options = self.options
        scene_of, count, networks = _scenes(run, options)

        def work(number: int) -> dict[str, Any]:
            scene = scene_of(number)
            some = max(0, min(len(scene.y), options.strong_images - number * PART))
            examples = {name: len(scene.y) if name == FIRST else some for name in options.attacks}
            return {name: count_fooled(_first(scene, of), name, options) for name, of in examples.items() if of}

        parts = in_parts(folder, "attacked images", count, work)
        attacks = {
            name: success_rates([part[name] for part in parts if name in part], name, options)
            for name in options.attacks
        }
        inputs = scene_of(0)
        return {
            "examples": attacks[FIRST]["examples"],
            "networks": networks,
            "range": [inputs.low, inputs.high],
            "clipped": options.clip,
            "attacks": attacks,
            "highlights": _highlights(attacks),
            **_pictures(folder, attacks, networks, options),
        }


def _scenes(run: Any, options: AttackOptions) -> tuple[Callable[[int], Scene], int, dict[str, int]]:
    """Draw the networks, the examples and their target classes.

    Returns:
        A function from the number of a part to its scene; the number of parts; the number of networks of each kind.
    """
    data, inputs = run.data("test"), run.data("train").x
    seed, device = run.config.evaluation.seed, run.experiment.device
    chosen = some_examples(data, options.images, seed).to(device)
    count = -(-len(chosen) // PART)
    wanted = count + 2 * options.networks
    held = check_count(run, NAME, wanted, least=3)  # one network, an ensemble of others and a fresh one
    # A generator that holds few networks shares them out: no network is in two of the three groups.
    singles = count if held == wanted else min(count, held // 3)
    each = min(options.networks, (held - singles) // 2)
    drawn = run.sample(singles + 2 * each, seed)
    x = chosen.x.to(next(iter(drawn.weights.values())).dtype)
    rng = stream(seed, "adversarial targets", device)
    targets = other_classes(chosen.y, run.experiment.task.num_outputs, rng)
    low, high = float(inputs.min()), float(inputs.max())

    def scene_of(number: int) -> Scene:
        examples, single = slice(number * PART, (number + 1) * PART), number % singles
        return Scene(
            single=select(drawn, slice(single, single + 1)),
            ensemble=select(drawn, slice(singles, singles + each)),
            fresh=select(drawn, slice(singles + each, None)),
            x=x[examples],
            y=chosen.y[examples],
            targets=targets[examples],
            low=low,
            high=high,
        )

    seen = min(options.gradient_networks, each)
    return scene_of, count, {"single": singles, "ensemble": each, "fresh": each, "attacked_in_ensemble": seen}


def _first(scene: Scene, examples: int) -> Scene:
    """Return the scene with its first examples only."""
    return attrs.evolve(scene, x=scene.x[:examples], y=scene.y[:examples], targets=scene.targets[:examples])


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _nearest(sizes: Sequence[float]) -> int:
    return min(range(len(sizes)), key=lambda at: abs(sizes[at] - SHOWN))


def _rate_key(results: Results) -> str:
    """Return the key of the rates to show: without the examples that were wrong before, unless all of them were."""
    return "right_only" if results["examples"] > results["wrong_before"] else "all"


def _highlights(attacks: Results) -> dict[str, str]:
    """Return the rates at the size `SHOWN` as texts."""
    first, at = attacks[FIRST], _nearest(attacks[FIRST]["sizes"])
    size = f"{first['sizes'][at]:g}"
    errors = first[_rate_key(first)]["any_error"]
    found = {
        f"fooled at ε = {size}, the attacked network": _percent(errors["single"][at]),
        f"fooled at ε = {size}, the vote of others": _percent(errors["ensemble_vote"][at]),
    }
    if "steps_on_ensemble" in attacks:
        strong = attacks["steps_on_ensemble"]
        at = _nearest(strong["sizes"])
        errors, size = strong[_rate_key(strong)]["any_error"], f"{strong['sizes'][at]:g}"
        found[f"fooled at ε = {size}, an ensemble attacked itself"] = _percent(errors["ensemble_mean"][at])
        found[f"fooled at ε = {size}, a fresh ensemble"] = _percent(errors["fresh_mean"][at])
    return found


def _left_out_words(results: Results, who: str) -> str:
    """Say whether examples that were wrong before are left out, as a part of a caption."""
    wrong, examples = results["wrong_before"], results["examples"]
    if _rate_key(results) == "all":
        return f"all {examples} images, which {who} got wrong without an attack, are counted"
    kept = "is" if wrong == 1 else "are"
    return f"{wrong} of {quantity(examples, 'image')}, which {who} got wrong without an attack, {kept} left out"


def _clip_words(options: AttackOptions) -> str:
    """Say whether pixels may leave the data's range, which matters much, as a part of a caption."""
    return ", kept within the range of the data," if options.clip else ", not kept within the range of the data,"


def _pictures(folder: Path, attacks: Results, networks: Mapping[str, int], options: AttackOptions) -> dict[str, Any]:
    """Draw the curves of the paper, and those of the stronger attacks."""
    first, at = attacks[FIRST], _nearest(attacks[FIRST]["sizes"])
    found = first[_rate_key(first)]
    lines = {
        f"{words}, {goal}": found[key][who]
        for key, goal in (("any_error", "any error"), ("target", "target class"))
        for who, words in (("single", "attacked network"), ("ensemble_vote", "ensemble of others"))
    }
    caption = (
        f"One step of ε = {first['sizes'][at]:g}{_clip_words(options)} on one network makes it err on "
        f"{_percent(found['any_error']['single'][at])} of the images, and the vote of {networks['ensemble']} others on "
        f"{_percent(found['any_error']['ensemble_vote'][at])} (mean probability: "
        f"{_percent(found['any_error']['ensemble_mean'][at])}); {_left_out_words(first, 'the network')}."
    )
    title = "Examples made for one network, tried on an ensemble"
    figure = new_figure()
    axes = figure.subplots()
    for number, (name, values) in enumerate(lines.items()):
        style = "--" if number % 2 == 0 else "-"
        axes.plot(first["sizes"], values, style, color=COLOURS[number // 2], marker="o", markersize=3.5, label=name)
    _finish(axes)
    pictures = [keep_picture(folder, "transfer.png", figure, title=title, caption=caption)]
    if len(attacks) > 1:
        pictures.append(_strong_picture(folder, attacks, networks, options))
    return {"pictures": pictures}


def _strong_picture(
    folder: Path, attacks: Results, networks: Mapping[str, int], options: AttackOptions
) -> dict[str, str]:
    """Draw one panel for attacks on one network, and one for attacks on the ensemble."""
    last = attacks["steps_on_ensemble"]
    at, errors = _nearest(last["sizes"]), last[_rate_key(last)]["any_error"]
    caption = (
        f"An attack in {quantity(options.steps, 'step')} of ε = {last['sizes'][at]:g}{_clip_words(options)} on the "
        f"mean probability of {quantity(networks['attacked_in_ensemble'], 'network')} makes their ensemble of "
        f"{networks['ensemble']} err on {_percent(errors['ensemble_mean'][at])} of the images, and a fresh ensemble on "
        f"{_percent(errors['fresh_mean'][at])}; {_left_out_words(last, 'the ensemble')}."
    )
    figure = new_figure(9.0, 4.2)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    words = {"one_step": "one step", "steps": quantity(options.steps, "step")}
    people = {"single": "attacked network", "ensemble_mean": "ensemble", "fresh_mean": "fresh ensemble"}
    for axes, kind in zip(panels, ("single", "ensemble"), strict=True):
        for colour, (key, how) in zip(COLOURS, words.items(), strict=False):
            own = attacks[f"{key}_on_{kind}"]
            shown = [who for who in ATTACKS[f"{key}_on_{kind}"] if who in people]
            for style, who in zip(("--", "-"), shown, strict=True):
                values = own[_rate_key(own)]["any_error"][who]
                label = f"{how}, {people[who]}"
                axes.plot(own["sizes"], values, style, color=colour, marker="o", markersize=3.5, label=label)
        _finish(axes)
        axes.set_title("made for one network" if kind == "single" else "made for the ensemble", fontsize="medium")
    panels[1].set_ylabel("")
    return keep_picture(
        folder, "strong.png", figure, title="Stronger attacks, also on the ensemble itself", caption=caption
    )


def _finish(axes: Any) -> None:
    axes.set(xlabel=AXES[0], ylabel=AXES[1], ylim=(-0.03, 1.03))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize="small", frameon=False)


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=60,
            factory=Adversarial,
            options=AttackOptions,
            summary="adversarial examples made for one network and for ensembles: who is fooled, at which size",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.2, Fig. 8",
        )
    ]
