"""Reference runs: networks of a run's target that are trained independently on its task, for a budget."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from hyperframe import Run
from hyperframe.config.choices import choose
from hyperframe.config.overrides import DEFAULTS
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.config.sections import PriorOptions, TrainerOptions
from hyperframe.errors import NotApplicableError, RunError, TrainingError
from hyperframe.networks.prior import without_prior
from hyperframe.options import plain_options
from hyperframe.runs.checkpoints import checkpoint_steps
from hyperframe.runs.folder import CONFIG, read_run_config
from hyperframe.runs.loading import load_run
from hyperframe.runtime.files import is_file
from hyperframe.runtime.progress import quantity
from hyperframe.training.loop import train_run
from hyperframe.training.progress_bar import StepsReporter
from hyperframe.training.resume import resume_run


@attrs.frozen(kw_only=True)
class Recipe:
    """How a deep ensemble is trained: what its folder's name says.

    Attributes:
        networks: how many.
        steps: of the optimiser.
        examples: that each network sees in a step.
        rate: the highest learning rate.
        averaged: whether the weights are averages over a tail with a constant rate (schedule `one_cycle_tail`), or the
            last ones of a cycle (`one_cycle`).
    """

    networks: int
    steps: int
    examples: int
    rate: float
    averaged: bool

    def __str__(self) -> str:
        end = "_averaged" if self.averaged else ""
        return f"{self.networks}_networks_{self.steps}_steps_of_{self.examples}_rate_{self.rate:g}{end}"

    def trainer(self, run: TrainerOptions) -> TrainerOptions:
        """Return the options of its training; those that are not its own are the run's, or defaults."""
        return TrainerOptions(
            steps=self.steps,
            networks=self.networks,
            batch_size=self.examples,
            rate=self.rate,
            schedule="one_cycle_tail" if self.averaged else "one_cycle",
            average_tail=TrainerOptions().tail if self.averaged else None,
            checkpoint_every=max(self.steps // 10, 1),
            keep_checkpoints=1,
            threads=run.threads,
            device=run.device,
            seed=run.seed,
        )


def of_budget(budget: int, networks: int, examples: int, rate: float, *, averaged: bool) -> Recipe:
    """Return the recipe whose networks together take a budget of gradient evaluations, or a little less.

    Raises:
        NotApplicableError: the budget is too small for a step.

    Example:
        >>> of_budget(1_000_000, 8, 32, 1e-2, averaged=False).steps
        3906
    """
    steps = budget // (networks * examples)
    if not steps:
        raise NotApplicableError(
            f"deep_ensemble.networks: a step of {quantity(networks, 'network')} takes {networks * examples:,} gradient "
            f"evaluations, more than the budget of {budget:,}; name fewer networks, or set deep_ensemble.budget"
        )
    return Recipe(networks=networks, steps=steps, examples=examples, rate=rate, averaged=averaged)


def deep_ensemble(run: Run, folder: Path, recipe: Recipe) -> Run:
    """Train independent networks of a run's target on its task, or load those that the folder holds.

    The generator is `direct`: Adam trains the weights themselves, without a diversity term, on examples of each
    network's own, which the task varies as it does for the run. What the run's target keeps beside generated weights is
    the run's. A training that was interrupted goes on.

    Args:
        run: the run whose target and task are taken.
        folder: the run folder of the reference; missing, or one that this function began, for this run or another.
        recipe: how it is trained.

    Raises:
        RunError: the folder holds something else, networks of another target or task, or of another recipe.
        KeyboardInterrupt: Ctrl-C; a checkpoint is written first.
    """
    registry, constants = run.registry, run.experiment.target.constants()
    if run.config.prior.adds:  # references have none
        constants = without_prior(constants)
    reporter = StepsReporter(f"steps of {quantity(recipe.networks, 'network')}", recipe.steps)
    if not is_file(folder / CONFIG):
        with _told_of(recipe):
            return train_run(_config(run, recipe, registry), registry, folder, reporter, constants=constants)
    check_reference(run, folder, recipe)
    data = {key: value for key, value in run.config.locations.items() if key.startswith("task.")}  # may have moved
    if checkpoint_steps(folder):
        known = load_run(folder, registry, str(run.experiment.device), overrides=data)
        if known.finished:
            return known
    with _told_of(recipe):
        return resume_run(folder, data, registry, reporter, constants=constants)


def check_reference(run: Run, folder: Path, recipe: Recipe) -> None:
    """Check that a folder holds what `deep_ensemble` has made, or would make, for a run; a missing one does.

    Raises:
        RunError: it holds something else, networks of another target or task, or of another recipe.
    """
    if is_file(folder / CONFIG):
        _check_same(_config(run, recipe, run.registry), read_run_config(folder, run.registry)[1], folder)


@contextmanager
def _told_of(recipe: Recipe) -> Iterator[None]:
    """Say whose training failed, and by which option of the analysis its rate is set."""
    try:
        yield
    except TrainingError as error:
        raise TrainingError(
            f"a deep ensemble of {quantity(recipe.networks, 'network')} with deep_ensemble.rate={recipe.rate:g} could "
            f"not be trained; a lower rate may help. {error}"
        ) from error


def _config(run: Run, recipe: Recipe, registry: Registry) -> Config:
    """Return the run's configuration with the generator `direct`, plain training and no prior functions."""
    return attrs.evolve(
        run.config,
        name=f"{run.config.name}-reference",
        generator=choose(registry, "generator", {"name": "direct", "networks": recipe.networks}, "generator"),
        diversity=(choose(registry, "diversity", "none", "diversity"),),
        objective=choose(registry, "objective", DEFAULTS["objective"], "objective"),
        prior=PriorOptions(),
        trainer=recipe.trainer(run.config.trainer),
        evaluation=attrs.evolve(run.config.evaluation, every=recipe.steps, analyses=()),
    )


def _check_same(wanted: Config, known: Config, folder: Path) -> None:
    here, there = wanted.plain(), known.plain()
    elsewhere = "name another folder with deep_ensemble.reference=FOLDER"
    if there["generator"]["name"] != "direct":
        name = there["generator"]["name"]
        raise RunError(f"the reference {folder} has the generator '{name}'; it must be 'direct'; {elsewhere}")
    for key in ("target", "task"):
        if wanted.kept()[key] != known.kept()[key]:
            raise RunError(f"the reference {folder} is of another {key}: {there[key]} and not {here[key]}; {elsewhere}")
    for key in ("steps", "networks", "batch_size", "rate", "schedule", "average_tail"):
        one, other = (plain_options(config.trainer)[key] for config in (known, wanted))
        if one != other:
            raise RunError(f"the reference {folder} has trainer.{key}={one} and not {other}; remove it, or {elsewhere}")
