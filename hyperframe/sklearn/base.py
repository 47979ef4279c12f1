"""What both estimators share: the training behind `fit`, networks that are kept and drawn, and what is pickled."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from hyperframe.api import train
from hyperframe.errors import ConfigError, DataError, PluginError, SpecError
from hyperframe.networks.sampled import Networks, draw_weights
from hyperframe.runs.checkpoints import best_checkpoint
from hyperframe.runs.loading import restore
from hyperframe.runs.run import Run
from hyperframe.runtime.rng import stream
from hyperframe.sklearn.data import Examples, divide, forget, make_task
from hyperframe.sklearn.defaults import default_settings, default_target, steps_of
from hyperframe.tasks.own_data.channels import laid_out
from hyperframe.training.progress_bar import ProgressReporter
from hyperframe.training.reporter import Reporter, Silent

FEWEST_DIVIDED = 20
"""With fewer examples than these all of them train, and the last step is the one that is kept."""
VALIDATIONS = 20
"""How often a training is validated."""
FOR_STATISTICS = 1000
"""Training inputs that are kept where networks estimate statistics from them."""
MOST_SEEDS = 2**31 - 1


class HyperEstimator(BaseEstimator):
    """Fits a generator of networks and draws an ensemble from it; see `HyperClassifier` and `HyperRegressor`."""

    _generator: Any
    networks_: Networks
    input_shape_: tuple[int, ...]

    def __init__(
        self,
        target: Any = None,
        *,
        networks: int = 50,
        validation_fraction: float | None = 0.1,
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
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

    def sample(self, n: int, seed: int | None = None) -> Networks:
        """Draw new networks from what was fitted.

        Args:
            n: how many.
            seed: of the draws; the same seed draws the same networks. By default others than those of `networks_`, the
                same at each call.

        Returns:
            The networks, whose inputs are rows of `X`, as tensors or arrays: `nets.predict(X)` are the predictions of
            each, [networks, examples, outputs], and `nets[3]` is an ordinary `nn.Module`.
        """
        check_is_fitted(self)
        return self._draw(n, self._seed + 1 if seed is None else seed)

    def _check_parameters(self) -> None:
        name, networks, part = type(self).__name__, self.networks, self.validation_fraction
        if not isinstance(networks, Integral) or isinstance(networks, bool) or networks < 1:
            raise ValueError(f"{name}: networks must be a whole number from 1 on, got {networks!r}")
        if part is not None and not (isinstance(part, Real) and 0 < part < 1):
            raise ValueError(f"{name}: validation_fraction must lie between 0 and 1, or be None, got {part!r}")
        if self.overrides is not None and not isinstance(self.overrides, Mapping):
            raise ValueError(
                f"{name}: overrides must be a mapping such as {{'objective.lambda': 300}}, got {self.overrides!r}"
            )
        if self.target is not None and not isinstance(self.target, nn.Module | str | Mapping):
            raise ValueError(
                f"{name}: target must be an nn.Module, the name of a target or a mapping with it, got {self.target!r}"
            )

    def _validated(self, X: Any, y: Any = None, *, fitted: bool = False) -> Any:  # noqa: N803
        """Arrays of numbers, checked as scikit-learn does; bytes of images are divided by 255."""
        if getattr(X, "ndim", 2) > 2 and str(getattr(X, "dtype", "")).endswith("uint8"):
            X = np.asarray(X, dtype=np.float32) / 255  # noqa: N806
        kinds = [np.float64, np.float32]
        if fitted:
            found = validate_data(self, X, dtype=kinds, allow_nd=True, reset=False)
            return self._inputs(found)
        of_both = {"dtype": kinds, "allow_nd": True, "ensure_min_samples": 2}
        return validate_data(self, X, y, **of_both, **self._of_labels())

    def _of_labels(self) -> dict[str, Any]:
        raise NotImplementedError

    def _inputs(self, x: np.ndarray) -> Tensor:
        """Inputs of the networks."""
        inputs = laid_out(torch.from_numpy(np.array(x, dtype=np.float32)), self.input_shape_)
        if tuple(inputs.shape[1:]) != self.input_shape_:
            raise ValueError(
                f"{type(self).__name__} was fitted to inputs of shape {list(self.input_shape_)}, "
                f"but X has the shape {list(x.shape)}"
            )
        return inputs

    def _fit(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, classes: int | None) -> Examples:
        """Train a generator, keep it and draw its networks; return the examples that validated."""
        rng = check_random_state(self.random_state)
        self._seed = int(rng.randint(MOST_SEEDS - 1))
        if x.ndim == 3 and not isinstance(self.target, nn.Module):
            x = x[:, None]
        examples = Examples(x=x, y=y, weights=weights, classes=classes)
        if weights is not None:
            examples = examples.some(np.flatnonzero(weights))
        divided = self.validation_fraction is not None and len(examples) >= FEWEST_DIVIDED
        part = self.validation_fraction or 0.0
        training, validation = divide(examples, part, rng) if divided else (examples, examples)
        with ExitStack() as stack, _as_value_errors():
            folder = self.out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
            reporter: Reporter = stack.enter_context(ProgressReporter()) if self.verbose else Silent()
            run = self._train(training, validation, folder, reporter)
            if divided:
                best = best_checkpoint(run.folder)
                restore(run.folder, best, run.experiment)
                run.step = best.step
            self._keep(run)
        return validation

    def _train(self, training: Examples, validation: Examples, folder: str | Path, reporter: Reporter) -> Run:
        task = make_task(training, validation)
        target = self.target
        if target is None:
            target = default_target(task.input_shape, task.num_outputs)
        settings = default_settings(task.input_shape, len(training)) | {"trainer.seed": self._seed}
        if not isinstance(target, nn.Module):
            settings["target"] = target
        settings |= self.overrides or {}
        settings.setdefault("evaluation.every", max(1, (steps_of(settings) or 1) // VALIDATIONS))
        module = target if isinstance(target, nn.Module) else None
        return train("digits", settings, module=module, data=task, out=folder, reporter=reporter)

    def _keep(self, run: Run) -> None:
        """Keep the generator and drawn networks, on the CPU, and none of the examples but for statistics."""
        experiment = run.experiment
        self.step_ = run.step
        self.input_shape_ = tuple(experiment.task.input_shape)
        self._generator = experiment.generator
        self._target, self._task = experiment.target, experiment.task
        self._for_statistics = None
        if self._target.has_statistics:
            inputs = experiment.task.data("train").x
            chosen = torch.randperm(len(inputs), generator=stream(self._seed, "statistics"))[:FOR_STATISTICS]
            self._for_statistics = inputs[chosen]
        if self.out is not None:
            self.run_ = run
        else:
            forget(self._task)
        self.networks_ = self._draw(self.networks, self._seed)

    def _draw(self, count: int, seed: int) -> Networks:
        weights = draw_weights(self._generator, count, stream(seed, "sample"))
        statistics = {}
        if self._for_statistics is not None:
            statistics = self._target.estimate_statistics(weights, [self._for_statistics])
        networks = Networks(self._target, self._task, weights, statistics, f"networks of {type(self).__name__}")
        networks.check_finite()
        return networks

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "run_"}


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Raise what is wrong with settings or data as scikit-learn does."""
    try:
        yield
    except (ConfigError, DataError, PluginError, SpecError) as error:
        raise ValueError(str(error)) from error
