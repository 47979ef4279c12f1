"""The command `predict`."""

import math

import click

from hyperframe.cli.arguments import (
    Command,
    check_samples,
    draw_options,
    json_option,
    open_run,
    run_options,
    samples_option,
    split_overrides,
)
from hyperframe.runtime.progress import quantity


@click.command(cls=Command)
@run_options
@click.argument("arguments", nargs=-1, type=click.Path(), metavar="FILE... [KEY=VALUE]...")
@draw_options
@samples_option
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Also predict sets of classes, or intervals, that are wrong this often.",
)
@click.option("--out", type=click.Path(), help="Write the results to this .npz or .safetensors file.")
@json_option
def predict(
    run: str,
    arguments: tuple[str, ...],
    checkpoint: str,
    device: str,
    target: str | None,
    networks: int | None,
    seed: int | None,
    samples: str | None,
    alpha: float | None,
    out: str | None,
    json_wanted: bool,
) -> None:
    """Say what an ensemble of drawn networks makes of inputs, and how sure it is.

    FILE is a .npy, .npz or .safetensors file with inputs x, or images, or folders of images; they are scaled to the
    size that the target takes. A notice says where inputs are unlike those of the training, as in their range,
    brightness or proportions. For classes: the mean probabilities, the majority vote, the entropy of the mean
    probabilities and the mutual information (the part of it that is disagreement), in nats. For values: mean and
    standard deviation. With --alpha also the classes of which one is the label with a probability of 1 − alpha, or an
    interval that holds the value, calibrated on the run's validation data (split conformal prediction). The run's data
    are needed for --alpha, and where the target has statistics and no --samples are given; KEY=VALUE says where they
    lie now, such as task.folder=/data.
    """
    import torch

    from hyperframe.cli import tables
    from hyperframe.cli.prediction_files import RESULT_FILES, as_rows, read_inputs, write_result
    from hyperframe.runtime.files import as_json, check_new_file, user_path
    from hyperframe.training.progress_bar import shown_progress

    overrides, files = split_overrides(arguments)
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    check_samples(samples, networks, seed)
    if alpha is not None and math.isnan(alpha):  # which lies in every range
        raise click.BadParameter("nan is no number between 0 and 1.", param_hint="--alpha")
    if out is not None:
        check_new_file(user_path(out), RESULT_FILES, "results are")
    chosen = open_run(run, checkpoint, device, target, overrides)
    x, names = read_inputs(
        [user_path(file) for file in files], chosen.experiment.target.spec.input_shape, chosen.trained_inputs
    )
    drawn = chosen.networks(networks, seed, samples)
    with shown_progress(json_wanted):
        results = drawn.summary(x)
        if alpha is not None:
            known = chosen.data("validation")
            sets = drawn.conformal(known.x, known.y, alpha).of_summary(results)
            results["set" if sets.dtype == torch.bool else "interval"] = sets
    classes = chosen.experiment.task.class_names
    if out is not None:
        write_result(user_path(out), results, classes)
    rows = as_rows(results, names, classes)
    if json_wanted:
        click.echo(as_json({"networks": len(drawn), "classes": classes, "examples": rows}))
    elif out is not None:
        click.echo(f"{quantity(len(rows), 'prediction')} of {quantity(len(drawn), 'network')} written to {out}")
    else:
        tables.print_prediction(rows)
