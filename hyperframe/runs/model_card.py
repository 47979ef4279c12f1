"""The card of a folder that was saved to be used: what its networks are, their figures, and how they are used."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hyperframe.config.import_path import MODULE
from hyperframe.config.schema import Config
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.metrics import metrics_of
from hyperframe.networks.sampled import Networks
from hyperframe.runs.checkpoints import Checkpoint, early_end
from hyperframe.runs.provenance import version_of
from hyperframe.runtime.progress import quantity
from hyperframe.types import Layout

HEAD = """---
library_name: hyperframe
tags:
- hypernetwork
- ensemble
- uncertainty-estimation
---
"""

NAMES_SHOWN = 20


def model_card(
    name: str, config: Config, networks: Networks, checkpoint: Checkpoint, figures: Mapping[str, Any] | None
) -> str:
    """Write the card, in Markdown with the head that hubs of models read.

    Args:
        name: the folder's.
        config: the run's configuration.
        networks: those that the folder keeps.
        checkpoint: the generator's.
        figures: the run's evaluation; None where there is none. One of another step is not shown.
    """
    spec, task = networks.target.spec, networks.task
    parts = [
        HEAD,
        f"# {name}\n",
        f"{quantity(len(networks), 'network')} `{spec.name}` ({spec.num_weights:,} weights) for the task "
        f"`{task.name}`, and the generator `{config.generator.name}` that draws any number of others. Every draw is a "
        "whole network; together they are an ensemble, and where they disagree its answer is uncertain. Trained with "
        f"{OWN_DISTRIBUTION} {version_of(OWN_DISTRIBUTION)}.\n",
        "## Figures\n",
        *_figures(figures, checkpoint),
        "\n## Inputs and predictions\n",
        *_inputs(networks),
        "\n## Use\n",
        _use(name, config, task.layout),
        "\n## Training\n",
        *_training(config, checkpoint),
    ]
    return "\n".join(parts) + "\n"


def _figures(figures: Mapping[str, Any] | None, checkpoint: Checkpoint) -> Iterator[str]:
    """The rows of the evaluation, as far as it is of this checkpoint."""
    if not figures or figures.get("step") != checkpoint.step:
        yield "These networks have not been measured; `hyperframe evaluate FOLDER` does it, where the data are."
        return
    yield (
        f"{quantity(figures['networks'], 'network')} drawn with seed {figures['seed']}, on "
        f"{quantity(figures['examples'], figures['split'] + ' example')}:\n\n| | |\n| --- | --- |"
    )
    for metric in metrics_of(figures):
        text = metric.text(figures)
        if text is not None:
            of = "one network" if metric.of == "network" else "ensemble"
            yield f"| {metric.words('{}, ' + of)} | {text} |"


def _inputs(networks: Networks) -> Iterator[str]:
    """Describe inputs and predictions."""
    known, task = networks.trained_inputs, networks.task
    shape = ", ".join(map(str, ("examples", *networks.target.spec.input_shape)))
    yield f"- Inputs: floating-point numbers, `[{shape}]`" + (
        f"; those of the training go from {known.low:.4g} to {known.high:.4g}." if known else "."
    )
    if known and known.pixels:
        yield "- They are pixels: bytes are divided by 255."
    if task.standardised_inputs is not None:
        yield (
            "- They are in their own units; the ensemble standardises them itself. Who reads the weights of "
            "`networks.safetensors` alone finds the numbers in its header."
        )
    if task.layout is not None:
        yield "- Predictions: a mapping of tensors, each `[examples, …]`."
        for head, outputs in task.layout.shapes.items():
            classes = _listed(task.part_classes.get(head, ()))
            named = f", classes in this order: {classes}" if classes else ""
            yield f"  - `{head}`: `[{', '.join(map(str, outputs))}]`{named}."
    elif task.classes:
        places = " of each place" * bool(task.output_places)
        yield f"- Classes{places}, in the order of the outputs: {_listed(task.classes)}."
    else:
        yield f"- Outputs: {task.num_outputs}" + (", in their own units." if task.standardised_labels else ".")
    if networks.statistics:
        yield "- The statistics of the networks' normalisations are kept with them; other draws need training data."


def _listed(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(f"`{name}`" for name in names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")


def _use(name: str, config: Config, layout: Layout | None) -> str:
    """How the folder is read."""
    own, code, again = config.target.name, "", ""
    if own == MODULE:
        code, again = ", module=...", "\nThe module is the one that was trained; a folder does not bring its code.\n"
    elif ":" in own:
        code, again = f', target="{own}"', "\nThe target's code must be installed; a folder does not bring it.\n"
    each = "" if layout is None else "by head "
    return f"""```python
import hyperframe as hf

ensemble = hf.from_pretrained("{name}"{code})  # an nn.Module
predictions = ensemble(x)  # {each}the mean of its networks
members = ensemble.members(x)  # {each}[networks, examples, outputs]: they disagree where the answer is uncertain

run = hf.load("{name}"{code})  # the generator
networks = run.sample(200)  # others than those of the folder
```
{again}"""


def _training(config: Config, checkpoint: Checkpoint) -> Iterator[str]:
    """How it was trained."""
    options = config.trainer
    ended = early_end(checkpoint.state, options.patience, options.steps)
    end = "" if ended is None else f"; it ended early, with {ended}"
    yield (
        f"{checkpoint.step:,} of {quantity(options.steps, 'step')} of {quantity(options.networks, 'network')} on "
        f"{quantity(options.batch_size, 'example')} each, seed {options.seed}{end}; "
        f"{checkpoint.state['gradient_evaluations']:,} gradient evaluations of a network at an example. `config.yaml` "
        "has every setting, `provenance.json` the versions and the machine."
    )
