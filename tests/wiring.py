"""Run analyses on splits, networks and weights that are changed on purpose, and compare their results."""

import contextlib
from unittest import mock

import torch
from matplotlib.figure import Figure

from hyperframe.analysis import bootstrap
from hyperframe.analysis.runner import chosen_analysis
from hyperframe.networks.sampled import Networks
from hyperframe.runs.run import Run
from hyperframe.targets.symmetry.orbits import apply_action, random_action
from hyperframe.targets.weights import concatenate, flatten
from hyperframe.types import Data

OPTIONS = {
    "accuracies": {"networks": 4},
    "adversarial": {
        **{"networks": 3, "images": 120, "sizes": [0.02, 0.1], "strong_sizes": [0.1], "strong_images": 40},
        **{"steps": 2, "gradient_networks": 2},
    },
    "answers": {"networks": 4, "examples": 120, "shown": 3},
    "conformal": {"networks": 4, "singles": 2, "alphas": [0.1, 0.4], "examples": 120, "validation_examples": 80},
    "corruptions": {"networks": 4, "singles": 2, "images": 40},
    "deep_ensemble": {
        **{"networks": [2, 3], "budget": 320, "weights": "both", "rate": 0.05},
        **{"draws": 2, "examples": 60, "validation_examples": 60},
    },
    "distillation": {"networks": 4, "examples": 80, "steps": 15, "batch": 16, "scales": [1.0, 0.5]},
    "ensembles": {"draws": 2, "networks": 4, "examples": 60, "validation_examples": 60},
    "filters": {"networks": 4},
    "function_spectrum": {"networks": 4, "examples": 60},
    "joint_prediction": {"networks": 4, "batches": 20, "examples": 60},
    "novelty": {"networks": 6},
    "out_of_distribution": {"networks": 4, "images": 60, "singles": 2},
    "paths": {"pairs": 2, "points": 3, "examples": 60, "bezier_pairs": 1, "bezier_steps": 5},
    "pca": {"samples": 8, "components": 2},
    "plane": {"points": 3, "examples": 60},
    "pruning": {"networks": 4, "examples": 60},
    "toy_curve": {},
    "training_curves": {},
    "uncertainty_maps": {"networks": 4, "examples": 30, "shown": 2},
    "unit_diversity": {"networks": 6, "weak": 0.8},
}
"""Options of each analysis that ships, with which it is fast."""

WORDS = ("conclusions", "highlights", "interactive", "pictures", "skipped", "tables")
"""Keys of an analysis' results that hold no numbers."""


def other_images(data):
    """Return other inputs in a smaller range, with the same labels."""
    return Data(0.9 * (data.x.max() - data.x), data.y)


def other_labels(data):
    """Return the same labels on other examples."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(3))
    return Data(data.x, data.y[order])


CHANGES = {
    f"{split} {what}": (split, change)
    for split in ("train", "validation", "test")
    for what, change in (("images", other_images), ("labels", other_labels))
}
"""Changes of a task's data, by name: the split, and the function that changes it."""


@contextlib.contextmanager
def change_data(run, *changes):
    """Let the run's task have other data, however it is built."""
    kind = type(run.experiment.task)
    own = kind.data

    def data(self, split):
        found = own(self, split)
        for change in changes:
            of, function = CHANGES[change]
            found = function(found) if of == split else found
        return found

    with mock.patch.object(kind, "data", data):
        yield


@contextlib.contextmanager
def move_networks(run, kinds):
    """Let the run's generator draw networks to which random symmetries of these kinds are applied, one for each."""
    generator, of = run.experiment.generator, run.experiment.orbits
    own = generator.forward

    def forward(z):
        weights, moved = own(z), []
        for number, row in enumerate(z):
            rng = torch.Generator().manual_seed(int(row.double().abs().sum() * 1e6))  # of the network, not its place
            action = random_action(of, 1, rng, kinds=kinds)
            one = {layer: value[number : number + 1] for layer, value in weights.items()}
            moved.append(apply_action(of, action, one))
        return concatenate(moved)

    with mock.patch.object(generator, "forward", forward):
        yield


class Spy:
    """Records which networks run on inputs.

    Attributes:
        seen: for each call the weights of all networks and their statistics, rows of bytes.
    """

    def __init__(self):
        self.seen = []

    @contextlib.contextmanager
    def watching(self):
        """Watch all networks."""
        own = Networks.chunks

        def chunks(networks, x):
            self.seen.append((rows_of(networks), x))
            return own(networks, x)

        with mock.patch.object(Networks, "chunks", chunks):
            yield self

    @property
    def networks(self):
        """The different networks that have run."""
        return {row for rows, _ in self.seen for row in rows}


def rows_of(networks):
    """Return weights and statistics of each network as bytes."""
    parts = [flatten(networks.target.spec, networks.weights).detach()]
    parts += [value.reshape(len(networks), -1).to(parts[0]) for value in networks.statistics.values()]
    return [row.numpy().tobytes() for row in torch.cat(parts, 1)]


def results_of(run, name, registry, folder, **options):
    """Return an analysis' results without its pictures, for a run whose data is read again."""
    fresh = Run(run.folder, run.config, run.step, run.experiment, run.registry)
    chosen = chosen_analysis(name, registry, {**OPTIONS[name], **options})
    folder.mkdir(parents=True)

    def savefig(self, file, **_):
        file.write_bytes(b"")

    with mock.patch.object(Figure, "savefig", savefig), mock.patch.object(bootstrap, "RESAMPLES", 200):
        found = chosen.make()(fresh, folder)
    return {key: value for key, value in found.items() if key not in WORDS}


def leaves(results, path=""):
    """Return the numbers of nested plain data by their path; a list's entries share one path."""
    if isinstance(results, dict):
        found = {}
        for key, value in results.items():
            for place, values in leaves(value, f"{path}/{key}" if path else str(key)).items():
                found.setdefault(place, []).extend(values)
        return found
    if isinstance(results, list | tuple):
        found = {}
        for value in results:
            for place, values in leaves(value, path).items():
                found.setdefault(place, []).extend(values)
        return found
    return {path: [results]}


def differences(one, other, tolerance=0.0):
    """Return the paths of all numbers that differ by more than the tolerance, or that only one of the two has."""
    first, second = leaves(one), leaves(other)
    return {path for path in {**first, **second} if not equal(first.get(path), second.get(path), tolerance)}


def equal(one, other, tolerance):
    if one is None or other is None or len(one) != len(other):
        return False
    return all(
        abs(a - b) <= tolerance * max(abs(a), abs(b), 1.0) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(one, other, strict=True)
    )
