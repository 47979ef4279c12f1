"""The base class of both estimators: the training behind `fit`, networks that are kept and drawn, and pickling."""

import copy
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor, nn

from hyperframe.api import make_registry, train
from hyperframe.config.in_memory import DATA
from hyperframe.errors import ConfigError, DataError, PluginError, SpecError
from hyperframe.networks.sampled import Networks, draw_weights
from hyperframe.runs.checkpoints import best_checkpoint
from hyperframe.runs.loading import restore
from hyperframe.runs.run import Run
from hyperframe.runtime.rng import stream
from hyperframe.sklearn.data import Examples, HandedOver, divide, make_task, without_examples
from hyperframe.sklearn.defaults import default_target, settings, validating_part
from hyperframe.tasks.own_data.channels import laid_out
from hyperframe.training.progress_bar import ProgressReporter
from hyperframe.training.reporter import Reporter
from hyperframe.types import Task

FOR_STATISTICS = 1000
"""Training inputs that are kept where networks estimate statistics from them."""
SEEDS = 2**31 - 2
FEWEST = 2
"""Examples to be fitted, at the least."""

NUMBERS = (np.float64, np.float32)


class HyperEstimator(BaseEstimator):
    """Fits a generator of networks and draws an ensemble from it; see `HyperClassifier` and `HyperRegressor`."""

    networks_: Networks
    input_shape_: tuple[int, ...]
    step_: int
    run_: Run
    _generator: Any
    _target: Any
    _task: Task
    _for_statistics: Tensor | None
    _seed: int

    def __init__(
        self,
        target: Any = None,
        *,
        networks: int = 50,
        validation_fraction: float | str | None = "auto",
        overrides: Mapping[str, Any] | None = None,
        random_state: Any = None,
        out: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.target = target
        self.networks = networks
        self.validation_fraction = validation_fraction
        self.overrides = overrides
        self.random_state = random_state
        self.out = out
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Say that images are taken, too."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """All but the run, which is a folder's."""
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "run_"}

    def sample(self, n: int, seed: int | None = None) -> Networks:
        """Draw new networks from what was fitted.

        Args:
            n: how many.
            seed: of the draws; the same seed draws the same networks. By default one that follows from `random_state`,
                and is not that of `networks_`.

        Returns:
            The networks, which take `X` as it was for `fit`, as a tensor or an array of numbers: `nets.predict(X)` is
            [networks, examples, outputs], and `nets[3]` an ordinary `nn.Module`.
        """
        check_is_fitted(self)
        _check_count(f"{type(self).__name__}.sample: n", n)
        return self._draw(n, self._seed + 1 if seed is None else seed)

    def _check_parameters(self) -> None:
        name, part = type(self).__name__, self.validation_fraction
        _check_count(f"{name}: networks", self.networks)
        if part not in (None, "auto") and not (isinstance(part, float | np.floating) and 0 < part < 1):
            raise ValueError(f"{name}: validation_fraction must lie between 0 and 1, be 'auto' or None, not {part!r}")
        if self.overrides is not None and not isinstance(self.overrides, Mapping):
            raise ValueError(
                f"{name}: overrides must be a mapping such as {{'objective.lambda': 300}}, not {self.overrides!r}"
            )
        if self.target is not None and not isinstance(self.target, nn.Module | str | Mapping):
            raise ValueError(
                f"{name}: target must be an nn.Module, the name of a target, or its name and options such as "
                f"{{'name': 'mlp', 'hidden': [50]}}, not {self.target!r}"
            )

    def _checked(self, X: Any, y: Any, **of_labels: Any) -> tuple[np.ndarray, np.ndarray]:
        """Check examples to be fitted, and return them as arrays of numbers."""
        X = _without_bytes(X)
        _refuse_missing(y)
        of_inputs = {"dtype": NUMBERS, "allow_nd": True, "ensure_min_samples": FEWEST}
        x, labels = validate_data(self, X, y, **of_inputs, **of_labels)
        return x, labels

    def _inputs(self, X: Any) -> Tensor:
        """Check examples to be predicted, and return them as inputs of the networks."""
        check_is_fitted(self)
        if len(self.input_shape_) > 1:  # images have no features whose number or names are to be compared
            x = check_array(_without_bytes(X), dtype=NUMBERS, allow_nd=True)
        else:
            x = validate_data(self, X, dtype=NUMBERS, reset=False)
        inputs = laid_out(torch.from_numpy(np.array(x)).to(self._dtype), self.input_shape_)
        if tuple(inputs.shape[1:]) != self.input_shape_:
            raise ValueError(
                f"{type(self).__name__} was fitted to inputs of shape {list(self.input_shape_)}, and X has the shape "
                f"{list(x.shape)}"
            )
        return inputs

    def _fit(self, examples: Examples) -> Examples:
        """Train a generator, keep it and draw networks; return the examples that validated, or all where none did."""
        rng = check_random_state(self.random_state)
        self._seed = int(rng.randint(SEEDS))
        if examples.weights is not None:
            examples = examples.some(np.flatnonzero(examples.weights))
            if len(examples) < FEWEST:
                raise ValueError(f"sample_weight: {FEWEST} examples or more must count, but {len(examples)} do")
        if examples.x.ndim == 3 and not isinstance(self.target, nn.Module):
            examples = examples.with_channel()
        part = validating_part(self.validation_fraction, len(examples), examples.classes)
        training, validation = divide(examples, part, rng) if part else (examples, examples)
        with ExitStack() as stack, _as_value_errors():
            folder = self.out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
            reporter: Reporter = stack.enter_context(ProgressReporter()) if self.verbose else Reporter()
            run = self._train(training, validation, folder, reporter)
            if part:
                best = best_checkpoint(run.folder)
                restore(run.folder, best, run.experiment)
                run.step, run.ended = best.step, None
            self._keep(run)
        return validation

    def _train(self, training: Examples, validation: Examples, folder: str | Path, reporter: Reporter) -> Run:
        task = make_task(training, validation)
        target = default_target(task.input_shape, task.num_outputs) if self.target is None else self.target
        module = target if isinstance(target, nn.Module) else None
        chosen: dict[str, Any] = {"task": DATA, "trainer.seed": self._seed}
        chosen |= {"target": target} if module is None else {}
        chosen |= settings(training, self.overrides or {}, validates=validation is not training)
        registry = make_registry([HandedOver(task)])
        return train("digits", chosen, module=module, out=folder, registry=registry, reporter=reporter)

    def _keep(self, run: Run) -> None:
        """Keep generator and target, on the CPU, draw networks, and keep no example that is not needed for that."""
        experiment = run.experiment
        self.step_ = run.step
        self.input_shape_ = tuple(experiment.task.input_shape)
        self._task = without_examples(experiment.task)
        self._generator, self._target = copy.deepcopy((experiment.generator, experiment.target))
        self._generator.cpu()
        self._target.to("cpu", self._dtype).inputs = self._task.standardised_inputs
        self._for_statistics = None
        if self._target.has_statistics:
            inputs = experiment.task.data("train").x
            chosen = torch.randperm(len(inputs), generator=stream(self._seed, "statistics"))[:FOR_STATISTICS]
            self._for_statistics = inputs[chosen].to(self._dtype)
        self.networks_ = self._draw(self._generator.at_most(self.networks), self._seed)
        if self.out is not None:
            self.run_ = run

    @property
    def _dtype(self) -> torch.dtype:
        """Of a table double precision, so that equal rows have equal predictions, whatever stands beside them."""
        return torch.float64 if len(self.input_shape_) == 1 else torch.float32

    def _draw(self, count: int, seed: int) -> Networks:
        with _as_value_errors():
            drawn = draw_weights(self._generator, count, stream(seed, "sample"))
        weights = {layer: value.to(self._dtype) for layer, value in drawn.items()}
        statistics = {}
        if self._for_statistics is not None:
            statistics = self._target.estimate_statistics(weights, [self._for_statistics])
        networks = Networks(self._target, self._task, weights, statistics, f"networks of a {type(self).__name__}")
        networks.check_finite()
        return networks


def _check_count(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{what} must be a whole number, 1 or more, not {value!r}")


def _refuse_missing(y: Any) -> None:
    """Refuse labels among objects of which one is missing; scikit-learn sees that of numbers, and fails on these."""
    labels = np.asarray(y)
    if y is None or labels.dtype != object:
        return
    for number, label in enumerate(labels.ravel()):
        if label is None or type(label).__name__ == "NAType" or (isinstance(label, float) and math.isnan(label)):
            raise ValueError(f"y: example {number} has no label, but {label!r}; leave such examples out")


def _without_bytes(X: Any) -> Any:
    """Bytes of images divided by 255; all else as it is."""
    if getattr(X, "ndim", 2) > 2 and str(getattr(X, "dtype", "")).endswith("uint8"):
        return np.asarray(X, dtype=np.float32) / 255
    return X


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Raise what is wrong with settings or data as scikit-learn does."""
    try:
        yield
    except (ConfigError, DataError, PluginError, SpecError) as error:
        raise ValueError(str(error)) from error
