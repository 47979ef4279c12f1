"""The training step, and the state it carries from one step to the next."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from hyperframe.config.schedule import rate_at
from hyperframe.config.sections import TrainerOptions
from hyperframe.errors import MemoryShortageError, RunError, TrainingError, brief
from hyperframe.experiment.build import Experiment
from hyperframe.experiment.preflight import dry_run_objective, dry_run_precision, dry_run_task, dry_run_terms
from hyperframe.networks.generator import Generator
from hyperframe.networks.groups import trained_groups
from hyperframe.runtime.memory import missing_memory, shortage_as
from hyperframe.runtime.precision import tf32_products
from hyperframe.runtime.rng import seed_global, seeded, stream, stream_seed
from hyperframe.training.averaging import TailAverage
from hyperframe.training.cuda_graph import Recorder
from hyperframe.types import Data

TRIED = (2, 4)
"""Networks that a generator makes to find what it keeps of each."""

STREAMS = ("latent", "data", "shared", "terms")
"""Random numbers of their own for z, for the choice of examples, of those that all see, and for terms of the loss."""


def check_room(experiment: Experiment) -> None:
    """Check that there is room for what every step holds at the very least, before any of it is taken.

    Raises:
        MemoryShortageError: there is not.
    """
    if experiment.device.type != "cpu":
        return
    options = experiment.config.trainer
    parameters = sum(parameter.numel() for parameter in experiment.generator.parameters())
    # The moments of the optimiser, the gradient and the average; of all networks the weights and their gradient, and
    # what the generator keeps of them for the way back.
    copies = 3 if options.average_tail is None else 4
    needed = 4 * (copies * parameters + 2 * options.networks * experiment.target.spec.num_weights)
    missing = missing_memory(needed + options.networks * _kept_of_network(experiment.generator))
    if missing:
        raise MemoryShortageError(f"a step does not fit into memory: {missing}. {_advice(options)}")


def _kept_of_network(generator: Generator) -> int:
    """Measure how many bytes a generator on the CPU keeps of each network for the way back, beside the weights."""
    few, more = (generator.at_most(count) for count in TRIED)
    if few == more:
        return 0
    training = generator.training
    generator.eval()  # running moments stay as they are
    try:
        kept = [_kept_bytes(generator, count) for count in (few, more)]
    finally:
        generator.train(training)
    return max(0, kept[1] - kept[0]) // (more - few)  # what does not grow with the networks cancels


def _kept_bytes(generator: Generator, count: int) -> int:
    """Count the bytes that the graph of some networks' weights holds, less the weights themselves."""
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value.detach()

    with seeded(0, "room", "cpu"), torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        weights = generator(generator.latent(count, stream(0, "room")))
    for value in weights.values():
        kept.pop(value.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def shortages_told(options: TrainerOptions) -> AbstractContextManager[None]:
    """Raise `MemoryShortageError` where memory runs out inside, with what can be tried."""
    return shortage_as(f"out of memory outside of the target's pass, which trainer.chunk bounds. {_advice(options)}")


def _advice(options: TrainerOptions) -> str:
    return (
        f"Try a smaller trainer.networks than {options.networks}, a smaller trainer.batch_size, "
        "trainer.shared_examples or evaluation.networks, or a smaller generator; on a CUDA device also "
        "trainer.cuda_graph=false"
    )


class Trainer:
    """One training: the optimiser, the random numbers, and the step.

    Several processes have trainers in the same state. All draw the same random numbers, so that each knows the z and
    the examples of all networks, works on those of its own networks, and gets the gradient of all. What is drawn in a
    share alone, as by an augmentation, follows from a number that all draw (`Processes.own_numbers`). Hence state does
    not depend on how many processes there are.

    Args:
        experiment: what is trained.
        train: training data; it is moved to the experiment's device and stays there.
    """

    def __init__(self, experiment: Experiment, train: Data) -> None:
        self.experiment = experiment
        self.options = options = experiment.config.trainer
        self.train = train.to(experiment.device)
        counts = experiment.task.example_weights
        self._counts = None if counts is None else counts.to(experiment.device)
        self.step_count = 0
        groups = trained_groups(experiment.generator)
        self.parameters = [value for _, values in groups for value in values]
        self._parts = [part for part, _ in groups]
        self.optimizer = experiment.generator.make_optimizer([{"params": values} for _, values in groups], options)
        self.average = TailAverage(self.parameters, options.average_tail, options.steps)
        self.streams = {name: stream(options.seed, name, experiment.device) for name in STREAMS}
        self._recorder = self._make_recorder() if options.cuda_graph and experiment.device.type == "cuda" else None
        self._first_bad = torch.full((), -1, device=experiment.device)
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    def step(self) -> None:
        """Do one optimiser step (section 3.2, appendix G). Nothing here waits for the device.

        The first step whose loss or gradient is not finite is remembered on the device and freezes the parameters from
        then on; `check_finite` reads it.
        """
        options, generator = self.options, self.experiment.generator
        rate = rate_at(self.step_count, options)
        for group, part in zip(self.optimizer.param_groups, self._parts, strict=True):
            group["lr"] = part * rate
        generator.before_step(self.step_count, options.steps)
        objective = self.experiment.loss.objective
        weight = objective.accuracy_weight(self.step_count, options.steps, len(self.train))
        with tf32_products() if options.precision == "tf32" else nullcontext():
            metrics = self._work(weight) if self._recorder is None else self._recorder(self._work, weight)
        metrics = self.experiment.processes.add_up(self.parameters, metrics)
        gradients = [value.grad for value in self.parameters if value.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if options.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, options.gradient_clip, norm)
        bad = ~(metrics["loss"].isfinite() & norm.isfinite())
        self._first_bad = torch.where(bad & (self._first_bad < 0), self.step_count, self._first_bad)
        # The optimiser leaves parameters and its state alone where this is 1, without being asked from the host.
        self.optimizer.found_inf = (self._first_bad >= 0).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()
        generator.after_step(self.step_count, options.steps)
        self.average.update(self.step_count)
        for name, value in {**metrics, "gradient_norm": norm}.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._summed += 1
        self.step_count += 1
        if self.step_count == options.steps:
            self.average.take_over(generator, options.networks, options.seed)

    def _make_recorder(self) -> Recorder | None:
        """Make what records the step; None where passes of the target cannot be replayed."""
        loss, options = self.experiment.loss, self.options
        # Of several processes each seeds numbers of its own in a step, and exchanges outputs in it.
        if not self.experiment.processes.alone:
            return None
        # A graph goes on in its random numbers and cannot draw any once more.
        if not loss.target.leaves_nothing(options.batch_size) or loss.draws_twice(options.shared_examples):
            return None
        terms = [item.term for item in loss.terms]
        parts = [self.experiment.generator, loss.objective, self.experiment.task, self.experiment.estimator, *terms]
        return Recorder(loss, self.parameters, self.streams, parts)

    def _work(self, accuracy_weight: float | Tensor) -> dict[str, Tensor]:
        """Draw a step's networks and examples, and leave the gradient of its loss in the parameters; see `Recorder`.

        All that changes from step to step is `accuracy_weight`, the state of random generators, and tensors.
        """
        options, generator, loss = self.options, self.experiment.generator, self.experiment.loss
        z = generator.latent(options.networks, self.streams["latent"])
        own = self.experiment.processes.rows(options.networks)
        if options.same_examples:
            batch, ids = self._drawn("data", options.batch_size)
            batch, ids = Data(batch.x[None], batch.y[None]), ids.expand(own.stop - own.start, *ids.shape)
        else:
            batch, ids = self._drawn("data", options.networks, options.batch_size, own=own)
        shared = self._drawn("shared", options.shared_examples)[0] if loss.compares_outputs else None
        counts = loss.objective.example_weights(generator.code(z)[own], ids, len(self.train), options.seed)
        if self._counts is not None:
            counts = self._counts[ids] if counts is None else counts * self._counts[ids]
        return loss.gradients(
            generator,
            z,
            batch,
            self.streams["terms"],
            accuracy_weight=accuracy_weight,
            shared=shared,
            example_weights=counts,
        )

    def dry_run(self) -> None:
        """Try task, objective and diversity terms out on what a step would give them; no state of it changes.

        Raises:
            ConfigError: the loss fails, or objective or a term does not work with this generator, target or task, or
                the target not in the precision that was asked for.
        """
        loss, generator, options = self.experiment.loss, self.experiment.generator, self.options
        rng = stream(options.seed, "rehearsal", self._device)
        examples = slice(min(options.shared_examples, len(self.train)))
        training = generator.training
        generator.eval()  # running moments stay as they are
        try:
            with seeded(options.seed, "rehearsal", self._device):
                z = generator.latent(options.networks, rng)
                ends = torch.tensor([0, len(self.train) - 1], device=self.train.device)
                if options.precision == "bfloat16":
                    dry_run_precision(loss, generator, z[: min(2, loss.chunks.size)], self.train[ends].x)
                dry_run_task(loss, generator, z[:1], self.train[ends])
                dry_run_objective(loss, generator, z, len(self.train), options.seed)
                dry_run_terms(loss, generator, z, self.train[examples] if loss.compares_outputs else None, rng)
        finally:
            generator.train(training)

    def _drawn(self, name: str, *sizes: int, own: slice | None = None) -> tuple[Data, Tensor]:
        """Training examples [*sizes], drawn by the numbers of a stream, and their numbers in the training data.

        With `own`, those of this process's own networks.
        """
        rng = self.streams[name]
        chosen = torch.randint(len(self.train), sizes, generator=rng, device=self.train.device)
        if own is not None:
            chosen, rng = chosen[own], self.experiment.processes.own_stream(rng)
        drawn = self.train[chosen]
        return self.experiment.task.augment_data(drawn, rng), chosen

    def read_metrics(self) -> dict[str, float]:
        """Mean metrics of the steps since the last call; waits for the device."""
        names = sorted(self._sums)
        values = torch.stack([self._sums[name].double() for name in names]).tolist() if names else []
        means = {name: value / self._summed for name, value in zip(names, values, strict=True)}
        self._sums, self._summed = {}, 0
        return means

    def check_finite(self) -> None:
        """Raise `TrainingError` where a step's loss or gradient was not finite; waits for the device."""
        step = int(self._first_bad)
        if step >= 0:
            advice = (
                "Try a lower trainer.rate, a limit such as trainer.gradient_clip=1, or another trainer.seed"
                if step
                else "It is the first one: look at the data, at objective and at the weights of diversity terms, which "
                "may be too large"
            )
            raise TrainingError(
                f"the loss or its gradient was not finite in step {step}; nothing was changed by it. {advice}"
            )

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on beside the generator, and the metrics since the last line."""
        state = self.optimizer.state
        result: dict[str, Tensor] = {
            f"optimizer.{number}.{key}": value
            for number, parameter in enumerate(self.parameters)
            for key, value in state.get(parameter, {}).items()
        }
        result |= {f"random.{name}": stream.get_state() for name, stream in self.streams.items()}
        result["random.global"] = torch.get_rng_state()
        if self._device.type == "cuda":
            result["random.global.cuda"] = torch.cuda.get_rng_state(self._device)
        result |= {f"metrics.{name}": value for name, value in self._sums.items()}
        result["metrics"] = torch.tensor(self._summed)
        return result | self.average.tensors()

    def restore(self, step: int, tensors: Mapping[str, Tensor], *, same_device: bool) -> None:
        """Go on where another trainer's `tensors` were taken.

        Args:
            step: how many steps were done.
            tensors: what `tensors` gave.
            same_device: they were taken on the same kind of device; on another one random numbers start anew, since
                their states do not carry over.

        Raises:
            RunError: the tensors do not fit.
        """
        self.step_count = step
        try:
            self._restore_optimizer(_below(tensors, "optimizer"))
            self._sums = {name: value.to(self._device) for name, value in _below(tensors, "metrics").items()}
            if any(value.dim() or not value.is_floating_point() for value in self._sums.values()):
                raise ValueError("sums of metrics must be single numbers")
            self._summed = int(tensors["metrics"])
            self.average.restore(step, tensors)
            if same_device:
                for name, own in self.streams.items():
                    own.set_state(tensors[f"random.{name}"])
                torch.set_rng_state(tensors["random.global"])
                if self._device.type == "cuda":
                    torch.cuda.set_rng_state(tensors["random.global.cuda"], self._device)
            else:
                seed = self.options.seed
                for name, own in self.streams.items():
                    own.manual_seed(stream_seed(seed, f"{name} from step {step}"))
                seed_global(seed, f"global from step {step}", self._device)
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint of step {step} does not fit its configuration: {type(error).__name__}: {brief(error)}"
            ) from error

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            number, _, key = name.partition(".")
            entries.setdefault(int(number), {})[key] = value
        self._rehearse_optimizer()
        for place, parameter in enumerate(self.parameters):
            found = entries.pop(place, {})
            if not found:  # it never had a gradient
                self.optimizer.state.pop(parameter, None)
                continue
            own = self.optimizer.state[parameter]
            if set(found) != set(own):
                raise ValueError(f"the optimiser's state of parameter {place} holds {', '.join(sorted(found))}")
            for key, value in found.items():
                if value.shape != own[key].shape:
                    shapes = f"{list(value.shape)}, should have {list(own[key].shape)}"
                    raise ValueError(f"'optimizer.{place}.{key}' has shape {shapes}")
                if value.dtype != own[key].dtype:
                    raise ValueError(f"'optimizer.{place}.{key}' is {value.dtype}, should be {own[key].dtype}")
                own[key].copy_(value)
        if entries:
            raise ValueError(f"the optimiser has no parameter {min(entries)}")

    def _rehearse_optimizer(self) -> None:
        """Let the optimiser make its state, which it does in its first step, without a move."""
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.found_inf = torch.ones((), device=self._device)  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()

    @property
    def _device(self) -> torch.device:
        return self.experiment.device


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix and a dot, without these."""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
