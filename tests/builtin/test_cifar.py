"""The tasks `cifar10` and `cifar100`: the files they read, and those that they refuse."""

import hashlib
import os
import pickle

import attrs
import numpy as np
import pytest
import torch

import hyperframe as hf
from hyperframe.builtin.tasks.cifar import CIFAR10, CIFAR100, Cifar, Options
from hyperframe.errors import DataError
from hyperframe.runtime.files import digest

SOURCES = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def write(path, images, labels):
    """A file in torchvision's format, which the numpy of its time wrote."""
    path.parent.mkdir(exist_ok=True)
    content = pickle.dumps({"data": images.reshape(len(images), -1), **labels}, protocol=3)
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    return hashlib.md5(path.read_bytes()).hexdigest()


def small(folder, source, seed=0):
    """A small data set in a source's layout: images of random bytes, of which the labels are the first."""
    rng = np.random.default_rng(seed)
    digests, images = {}, {}
    for name in (*source.train, *source.test):
        images[name] = rng.integers(0, 256, (6000 // len(source.train), 3, 32, 32), dtype=np.uint8)
        images[name][:, 0, 0, 0] %= len(source.classes)
        own, others = images[name][:, 0, 0, 0].tolist(), images[name][:, 0, 0, 1].tolist()
        # CIFAR-100 has coarse labels beside those that are meant.
        labels = {"labels": own} if source is CIFAR10 else {"fine_labels": own, "coarse_labels": others}
        digests[name] = write(folder / source.place / name, images[name], labels)
    changed = {part: {name: digests[name] for name in getattr(source, part)} for part in ("train", "test")}
    return attrs.evolve(source, **changed), images


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_files_are_read_in_order_and_the_first_training_images_are_for_validation(tmp_path, source):
    source, images = small(tmp_path, source)
    task = Cifar(source, Options(folder=str(tmp_path)))
    splits = {split: task.data(split) for split in ("train", "validation", "test")}
    assert [len(splits[split]) for split in ("validation", "train", "test")] == [5000, 1000, 6000 // len(source.train)]
    train = np.concatenate([images[name] for name in source.train])
    for split, wanted in (
        ("validation", train[:5000]),
        ("train", train[5000:]),
        ("test", images[next(iter(source.test))]),
    ):
        assert splits[split].kept.dtype == torch.uint8
        assert np.array_equal(splits[split].kept.numpy(), wanted)
        assert splits[split].y.tolist() == wanted[:, 0, 0, 0].tolist()
    assert task.num_outputs == len(task.classes) == len(set(task.classes))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_training_runs_on_standardised_images_and_keeps_them_as_bytes(tmp_path, source, registry):
    source, _ = small(tmp_path, source)
    task = Cifar(source, Options(folder=str(tmp_path), crop=2, flip=True))
    settings = {
        "target": "lenet",
        "target.classes": task.num_outputs,
        "generator": "direct",
        "generator.networks": 2,
        "diversity": ["none"],
    }
    settings |= {"trainer.steps": 2, "trainer.networks": 2, "trainer.device": "cpu", "evaluation.networks": 2}
    run = hf.train("digits", settings, data=task, out=tmp_path / "run", registry=registry)
    inputs = run.experiment.target.inputs
    assert inputs.mean.flatten().tolist() == list(source.mean)
    assert inputs.std.flatten().tolist() == list(source.std)
    assert run.data("train").kept.dtype == torch.uint8


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_other_files_are_refused_before_they_are_read(tmp_path, source):
    """Also one that would run code: it is not the original."""

    class Bad:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    for name in (*source.train, *source.test):
        (tmp_path / source.place).mkdir(exist_ok=True)
        (tmp_path / source.place / name).write_bytes(pickle.dumps({"data": Bad()}))
    with pytest.raises(DataError, match=f"{next(iter(source.test))} is damaged, or not the original"):
        Cifar(source, Options(folder=str(tmp_path))).data("test")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_would_run_code_does_not_even_with_the_right_digest(tmp_path):
    class Bad:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    (tmp_path / CIFAR10.place).mkdir()
    path = tmp_path / CIFAR10.place / "test_batch"
    path.write_bytes(pickle.dumps({"data": Bad()}))
    source = attrs.evolve(CIFAR10, test={"test_batch": digest(path, "md5")})
    with pytest.raises(pickle.UnpicklingError, match="mkdir is no part of an array"):
        Cifar(source, Options(folder=str(tmp_path))).data("test")
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_the_data_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("HYPERFRAME_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        Cifar(CIFAR100, Options(folder=str(tmp_path))).data("train")
    for part in ("task 'cifar100'", str(tmp_path), "cifar-100-python", "HYPERFRAME_DATA", "task.download=true"):
        assert part in str(caught.value)


def test_files_and_digests_are_those_of_torchvision():
    from torchvision import datasets

    for source in SOURCES.values():
        dataset = getattr(datasets, source.dataset)
        assert list(source.train.items()) == [tuple(pair) for pair in dataset.train_list]
        assert list(source.test.items()) == [tuple(pair) for pair in dataset.test_list]
        assert source.place == dataset.base_folder


@pytest.mark.slow
@pytest.mark.data
def test_cifar_10_is_read_as_torchvision_reads_it_and_standardised_by_its_own_moments():
    from torchvision import datasets

    task = Cifar(CIFAR10, Options())
    reference = datasets.CIFAR10(os.environ["HYPERFRAME_DATA"], train=False)
    test = task.data("test")
    assert list(task.classes) == reference.classes
    assert test.y.tolist() == reference.targets
    assert np.array_equal(test.kept.permute(0, 2, 3, 1).numpy(), reference.data)
    train = torch.cat([task.data(split).kept for split in ("validation", "train")])
    assert len(train) == 50_000
    values = train.double() / 255
    assert values.mean((0, 2, 3)).tolist() == pytest.approx(CIFAR10.mean, abs=5e-5)
    assert values.std((0, 2, 3), correction=0).tolist() == pytest.approx(CIFAR10.std, abs=5e-5)
