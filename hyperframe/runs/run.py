"""Runs: a run folder with its trained generator, to draw networks from and to evaluate."""

import numbers
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.errors import DataError, RunError, notice
from hyperframe.experiment.build import Experiment
from hyperframe.experiment.evaluation import Origin, draw_networks, evaluate, networks_of
from hyperframe.networks.ensemble import Ensemble
from hyperframe.networks.programs import check_program, write_program
from hyperframe.networks.sampled import Networks
from hyperframe.networks.storage import read_samples, write_samples, write_state_dicts
from hyperframe.options import shown
from hyperframe.runs.checkpoints import read_checkpoint
from hyperframe.runs.fingerprints import fingerprint_of
from hyperframe.runs.folder import ANALYSES, EVALUATION, RESULTS
from hyperframe.runs.notebook import run_table
from hyperframe.runs.sharing import count_to_keep, write_shared
from hyperframe.runtime.files import write_json
from hyperframe.runtime.links import inside
from hyperframe.runtime.modes import with_gradients
from hyperframe.tasks.checked import load_data
from hyperframe.tasks.input_statistics import TrainedInputs, read_trained_inputs
from hyperframe.types import Data, Weights


class Run:
    """A run folder: its configuration, its checkpoints, and the networks that its generator draws.

    Attributes:
        folder: the run folder.
        config: its configuration.
        step: the step of the checkpoint that is loaded.
        experiment: everything the configuration describes, with the trained generator.
        registry: the components that it was made with, from which analyses of it choose others.
        fingerprints: those of the splits when it was trained, with which data are compared; None: not at all.
        ended: why training ended at this step, before the last one (`trainer.patience`); None where it did not.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        step: int,
        experiment: Experiment,
        registry: Registry,
        fingerprints: Mapping[str, str] | None = None,
        ended: str | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.step = step
        self.experiment = experiment
        self.registry = registry
        self.fingerprints = fingerprints
        self.ended = ended
        self._data: dict[str, Data] = {}

    def __repr__(self) -> str:
        target, task = self.config.target.name, self.config.task.name
        return f"<Run {self.folder}: {target} on {task}, {self.progress}, on {self.experiment.device}>"

    def _repr_html_(self) -> str:
        return run_table(self)

    @property
    def finished(self) -> bool:
        """Whether all steps of its configuration are done, or training has ended early."""
        return self.step >= self.config.trainer.steps or self.ended is not None

    @property
    def progress(self) -> str:
        """How far it was trained, in words."""
        end = "" if self.ended is None else f", ended early: {self.ended}"
        return f"step {self.step:,} of {self.config.trainer.steps:,}{end}"

    @property
    def gradient_evaluations(self) -> int:
        """The budget spent: how many gradients of one network's output at one example its training took so far."""
        return self.experiment.loss.evaluations

    @cached_property
    def trained_inputs(self) -> TrainedInputs | None:
        """The range, brightness and proportions of the inputs that the run was trained on."""
        return read_trained_inputs(self.folder)

    @property
    def evaluation_settings(self) -> dict[str, Any]:
        """Settings that an evaluation depends on and a resumption may change, as plain data."""
        plain = self.config.plain()
        return {"statistics": self.config.evaluation.statistics, "gauges": plain["gauges"], "entropy": plain["entropy"]}

    @property
    def default_count(self) -> int:
        """The number of networks drawn by default: `evaluation.test_networks`, or all that the generator holds."""
        return self.experiment.generator.at_most(self.config.evaluation.test_networks)

    def data(self, split: str) -> Data:
        """The split "train", "validation" or "test" of the run's task, read once.

        Where it is not what it was when the run was trained, a warning says so.

        Raises:
            DataError: they cannot be had; the message names the keys that say where they lie.
        """
        if split not in self._data:
            try:
                self._data[split] = load_data(self.experiment.task, split)
            except DataError as error:
                raise DataError(f"{error}{self._advice_where_data_moved()}") from error
            self._check_data(split)
            self.experiment.target.check_data(self._data[split])
        return self._data[split]

    def _advice_where_data_moved(self) -> str:
        """Say how to name the place where the data lie now, as the end of a message."""
        places = {key: value for key, value in self.config.locations.items() if key.startswith("task.")}
        there = [f"{key}={value}" for key, value in places.items() if isinstance(value, str)]
        if not there:
            return ""
        key = there[0].partition("=")[0]
        return f". The run has {', '.join(there)}; where the data lie elsewhere now, override that: {key}=PATH"

    def _check_data(self, split: str) -> None:
        """Say where a split is not the one that the run was trained with."""
        if self.fingerprints is None:
            return
        recorded, found = self.fingerprints.get(split), fingerprint_of(self._data[split])
        if recorded is None:
            notice(f"{self.folder} keeps no fingerprint of split '{split}'; whether it is the training's is not known")
        elif found != recorded:
            notice(
                f"the data are not those that {self.folder} was trained on: split '{split}' is {found}, and was "
                f"{recorded}; its networks may have been trained on what they run on here"
            )

    def networks(self, count: int | None, seed: int | None, samples: str | Path | None) -> Networks:
        """Networks that are drawn, or those of a file where one is given."""
        if samples is not None:
            return self.read_samples(samples)
        return self.sample(self.default_count if count is None else count, seed)

    @with_gradients
    def sample(self, count: int, seed: int | None = None, *, gauge: bool = False) -> Networks:
        """Draw networks; the same seed draws the same ones.

        Args:
            count: how many.
            seed: of the draws; by default `evaluation.seed`.
            gauge: take the representatives of the weights under the run's gauges. A target's statistics are estimated
                for the weights that are returned.

        Raises:
            DivergedError: weights or outputs of networks are not finite numbers.
        """
        count = _whole(count, "count")
        if count < 1:
            raise ValueError(f"at least one network must be drawn, not {count}")
        networks = draw_networks(self.experiment, count, self._seed(seed), self._for_statistics(), gauge=gauge)
        networks.origin, networks.trained_inputs = self._name, self.trained_inputs
        networks.check_finite()
        return networks

    @with_gradients
    def networks_of(self, weights: Weights, seed: int | None = None) -> Networks:
        """Networks with weights that are given, such as those between two drawn ones.

        Args:
            weights: for each layer [networks, filters, filter_size].
            seed: of the choice of training examples from which a target's statistics are estimated.
        """
        networks = networks_of(self.experiment, weights, self._seed(seed), self._for_statistics())
        networks.origin, networks.trained_inputs = self._name, self.trained_inputs
        return networks

    @property
    def _name(self) -> str:
        return f"{self.folder}, step {self.step}"

    def _seed(self, seed: int | None) -> int:
        return self.config.evaluation.seed if seed is None else _whole(seed, "seed")

    def _for_statistics(self) -> Data | None:
        if not self.experiment.target.has_statistics:
            return None
        try:
            return self.data("train")
        except DataError as error:
            raise DataError(
                "the statistics of the target's normalisations are estimated from training data, which cannot be had: "
                f"{error}"
            ) from error

    def write_samples(self, path: str | Path, count: int, seed: int | None = None, *, gauge: bool = False) -> Path:
        """Draw networks into one safetensors file, which `read_samples`, and safetensors alone, read again.

        It holds `{parameter: [count, *shape]}` and the statistics likewise, under the names of the target's
        state_dict.

        Raises:
            RunError: the file is there already, has the ending of another format, or cannot be written.
        """
        origin = self._origin(count, seed, gauge)
        return write_samples(path, lambda: self.sample(count, seed, gauge=gauge), origin)

    def write_state_dicts(
        self, folder: str | Path, count: int, seed: int | None = None, *, gauge: bool = False
    ) -> Path:
        """Draw networks into a folder, absent or empty: each one's state_dict in a safetensors file of its own.

        Raises:
            RunError: the folder holds something, or cannot be written.
        """
        origin = self._origin(count, seed, gauge)
        return write_state_dicts(folder, lambda: self.sample(count, seed, gauge=gauge), origin)

    def ensemble(self, networks: int | None = None, seed: int | None = None) -> Ensemble:
        """Draw networks as one `nn.Module`: its forward gives their mean prediction, `members` those of each.

        Args:
            networks: how many; by default `evaluation.test_networks`, or all that the generator holds.
            seed: of the draws.
        """
        return Ensemble(self.networks(networks, seed, None))

    def write_program(self, path: str | Path, networks: int | None = None, seed: int | None = None) -> Path:
        """Draw an ensemble into a program that runs without hyperframe, see `hyperframe.networks.programs`.

        Args:
            path: the file, which must not exist: .pt2 for `torch.export.load`, or .onnx.
            networks: how many; by default as many as `save_pretrained` keeps.
            seed: of the draws.

        Raises:
            RunError: the file cannot be written, or the networks cannot be made a program.
        """
        check_program(path)
        count = self._kept_count if networks is None else networks
        example = self.experiment.target.tried_on.draw(2, torch.Generator().manual_seed(0))
        return write_program(path, self.ensemble(count, seed).cpu(), example, self._origin(count, seed, gauge=False))

    def save_pretrained(self, folder: str | Path, networks: int | None = None, seed: int | None = None) -> Path:
        """Save what using the run needs, with drawn networks and a card, into a folder, absent or empty.

        `hyperframe.from_pretrained` reads its networks, `hyperframe.load` its generator; see `hyperframe.runs.sharing`.

        Args:
            folder: where; its name is the card's title.
            networks: how many are kept; by default `evaluation.test_networks`, or as many as take 256 MiB.
            seed: of the draws.

        Raises:
            RunError: the folder holds something, or cannot be written.
        """
        count = self._kept_count if networks is None else networks
        return write_shared(
            folder,
            self.folder,
            self.config,
            read_checkpoint(self.folder, self.step),
            lambda: self.sample(count, seed),
            self._origin(count, seed, gauge=False),
        )

    @property
    def _kept_count(self) -> int:
        """How many networks a folder or a program keeps where nobody says it."""
        return count_to_keep(self.default_count, self.experiment.target.spec)

    def read_samples(self, path: str | Path) -> Networks:
        """Read networks that `write_samples` wrote.

        Raises:
            RunError: the file is damaged, or holds networks of another target.
        """
        networks = read_samples(path, self.experiment.target, self.experiment.task, self.experiment.device)
        networks.trained_inputs = self.trained_inputs
        return networks

    def _origin(self, count: int, seed: int | None, gauge: bool) -> dict[str, str]:
        """Where drawn networks come from, as a file of samples says it."""
        return {
            "networks": str(_whole(count, "count")),
            "run": self.folder.name,
            "step": str(self.step),
            "seed": str(self._seed(seed)),
            "gauges": ",".join(choice.name for choice in self.config.gauges) if gauge else "",
        }

    @with_gradients
    def evaluate(
        self,
        networks: int | None = None,
        split: str = "test",
        seed: int | None = None,
        *,
        samples: str | Path | None = None,
    ) -> dict[str, Any]:
        """Draw networks and measure them on a split; the result is kept in `analyses/evaluation/results.json`.

        Args:
            networks: how many; by default `evaluation.test_networks`, or all that the generator holds.
            split: "train", "validation" or "test".
            seed: of the draws.
            samples: take the networks of this file, which `write_samples` wrote, instead of drawing any.
        """
        sample = self.networks(networks, seed, samples)
        results = evaluate(self.experiment, sample, self.data(split))
        named, settings = None if samples is None else str(samples), self.evaluation_settings
        origin = Origin(run=self.folder.name, samples=named, split=split, settings=settings)
        if samples is None:
            spent = self.gradient_evaluations
            origin = attrs.evolve(origin, step=self.step, seed=self._seed(seed), gradient_evaluations=spent)
        result = {**origin.plain(), **results}
        try:
            write_json(inside(self.folder, ANALYSES, EVALUATION) / RESULTS, result)
        except RunError as error:  # the results are worth more than the file
            notice(f"the results are not kept: {error}")
        return result


def _whole(value: Any, what: str) -> int:
    """A whole number, also where it is one of another type, such as 2.0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or value % 1 != 0:
        raise ValueError(f"{what}: expected a whole number, but got {shown(value)}")
    return int(value)  # type: ignore[call-overload,no-any-return]
