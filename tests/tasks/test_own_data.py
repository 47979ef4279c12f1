"""Tasks of a user's own arrays: read, checked, divided, trained on; and what a bad file may not do."""

import io
import json
import math
import pickle
import struct
import types
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.config.in_memory import OwnCode
from hyperframe.errors import ConfigError, DataError, HyperframeWarning
from hyperframe.options import read_options
from hyperframe.tasks.own_data.array_files import read_arrays
from hyperframe.tasks.own_data.array_names import chosen_parts
from hyperframe.tasks.own_data.arrays import ARRAYS, OwnOptions, SplitOptions, divide, own_task
from hyperframe.tasks.own_data.tensors import as_inputs
from hyperframe.types import Data, Task

FAST = {**tiny.PERCEPTRON, "trainer.steps": 3}


def arrays(examples=40, shape=(3,), classes=4):
    """Inputs, and classes that all occur."""
    draw = np.random.default_rng(0)
    return {"x": draw.normal(size=(examples, *shape)).astype(np.float32), "y": np.arange(examples) % classes}


def make(given, **options):
    return own_task("mine", given, OwnOptions(**options))


def splits(task):
    return {split: task.data(split) for split in ("train", "validation", "test")}


# Division


@pytest.mark.filterwarnings("ignore:.* examples are very few")
@given(
    examples=st.integers(3, 150),
    validation=st.floats(0.001, 0.6),
    test=st.floats(0.001, 0.39),
    seed=st.integers(0, 2**40),
)
def test_splits_share_no_item_and_are_everything(examples, validation, test, seed):
    numbers = Data(torch.arange(examples)[:, None].float(), torch.arange(examples) * 7)
    sizes = {"validation": max(1, round(validation * examples)), "test": max(1, round(test * examples))}
    options = SplitOptions(validation=validation, test=test, split_seed=seed)
    if sum(sizes.values()) >= examples:
        with pytest.raises(DataError, match=f"here: {examples} examples are too few"):
            divide({"train": numbers}, options, "here")
        return
    found = divide({"train": numbers}, options, "here")
    assert {split: len(found[split]) for split in sizes} == sizes
    assert sorted(torch.cat([data.x for data in found.values()]).flatten().tolist()) == list(range(examples))
    assert all(torch.equal(data.x[:, 0].long() * 7, data.y) for data in found.values())
    again = divide({"train": numbers}, options, "here")
    assert all(torch.equal(found[split].x, again[split].x) for split in found)
    fewer = divide({"train": numbers}, SplitOptions(validation=1e-6, test=test, split_seed=seed), "here")
    assert torch.equal(fewer["test"].x, found["test"].x)  # more to validate takes nothing from what tests


def test_the_seed_chooses_the_division():
    first, again, other = (make(arrays(), split_seed=seed).data("test").x for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_splits_that_are_given_are_kept():
    own, test, validation = arrays(), arrays(5, classes=3), arrays(4, classes=2)
    task = make({**own, "x_test": test["x"], "y_test": test["y"]})
    found = splits(task)
    assert np.array_equal(found["test"].x, test["x"])
    assert (len(found["train"]), len(found["validation"])) == (36, 4)
    everything = {"x_validation": validation["x"], "y_validation": validation["y"]}
    found = splits(make({**own, "x_test": test["x"], "y_test": test["y"], **everything}, test=0, validation=0))
    for split, wanted in (("train", own), ("validation", validation), ("test", test)):
        assert np.array_equal(found[split].x, wanted["x"])
        assert np.array_equal(found[split].y, wanted["y"])
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        task.data("tset")


def test_parts_that_leave_nothing_to_train_on():
    with pytest.raises(ConfigError, match=r"validation and test are 0\.5 and 0\.5; nothing is left to train on"):
        read_options(OwnOptions, {"validation": 0.5, "test": 0.5}, "task")


# What labels and inputs become


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("as_torch", [False, True])
def test_whole_numbers_are_classes(kind, as_torch):
    given = arrays(classes=2)
    labels = given["y"].astype(kind)
    task = make({"x": given["x"], "y": torch.from_numpy(labels) if as_torch else labels})
    assert isinstance(task, Task)
    assert (task.num_outputs, task.shift_invariant, task.input_shape) == (2, True, (3,))
    for data in splits(task).values():
        assert data.y.dtype == torch.int64
        task.check_labels(data.y, "here")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3)])
def test_other_numbers_are_values(kind, shape):
    y = np.linspace(-1, 1, math.prod(shape)).reshape(shape).astype(kind)
    task = make({"x": arrays()["x"], "y": y})
    assert isinstance(task, Task)
    assert (task.num_outputs, task.shift_invariant) == (shape[1] if len(shape) > 1 else 1, False)
    for data in splits(task).values():
        assert data.y.dtype == torch.float64
        task.check_labels(data.y, "here")


def test_the_kind_can_be_said():
    given = arrays()
    assert make(given, kind="classification").num_outputs == 4
    assert make(given, kind="regression").data("test").y.dtype == torch.float64
    assert make({**given, "y": given["y"][:, None]}).num_outputs == 4
    assert make(given, classes=9).num_outputs == 9
    mixed = {**given, "x_test": given["x"], "y_test": given["y"].astype(float)}
    assert make(mixed, kind="regression").num_outputs == 1


@given(values=st.sets(st.integers(-(2**40), 2**40), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_labels_that_are_not_0_1_2_keep_their_values_as_names(values, seed):
    ordered = sorted(values)
    numbers = np.random.default_rng(seed).permutation(np.arange(60) % len(ordered))
    given = {"x": np.arange(60.0)[:, None], "y": np.array(ordered)[numbers]}
    task = make(given)
    counted = ordered == list(range(len(ordered)))
    assert task.num_outputs == len(ordered)
    assert task.classes == (() if counted else tuple(map(str, ordered)))
    for data in splits(task).values():
        assert torch.equal(data.y, torch.from_numpy(numbers)[data.x[:, 0].long()])
    with pytest.warns(
        HyperframeWarning, match="whole numbers as floating-point numbers, .* in 60 examples; .* as classes"
    ):
        again = make({**given, "y": given["y"].astype(float)[:, None]})
    assert again.facts == task.facts
    assert torch.equal(again.data("train").y, task.data("train").y)
    assert make({**given, "y": given["y"].astype(float)}, kind="classification").facts == task.facts
    assert make({**given, "y": given["y"].astype(float)}, kind="regression").num_outputs == 1


def test_texts_are_classes():
    given = arrays(classes=3)
    for texts in (np.array(["cat", "ant", "bee"]), np.array([b"cat", b"ant", b"bee"])):
        task = make({**given, "y": texts[given["y"]], "x_test": given["x"][:2], "y_test": texts[:2]})
        assert (task.num_outputs, task.classes) == (3, ("ant", "bee", "cat"))
        assert task.data("test").y.tolist() == [2, 0]


@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
def test_one_hot_rows_are_classes(kind):
    given = arrays(classes=3)
    with pytest.warns(HyperframeWarning, match=r"y is one-hot, \[examples, 5\], and read as the class of each example"):
        task = make({**given, "y": np.eye(5)[given["y"]].astype(kind)})
    assert (task.num_outputs, task.classes) == (5, ())
    assert torch.equal(task.data("train").y, make(given).data("train").y)
    assert make({**given, "y": np.eye(5)[given["y"]]}, kind="regression").num_outputs == 5
    assert make({**given, "y": np.eye(5)[given["y"]] * 0.9}).data("train").y.is_floating_point()


def test_whole_numbers_that_could_be_values():
    given = {"x": np.arange(60.0)[:, None]}
    with pytest.warns(
        HyperframeWarning, match=r"60 different ones in 60 examples; .* as values .*, task.kind=classification"
    ):
        assert not make({**given, "y": np.arange(60.0)}).shift_invariant
    with pytest.warns(
        HyperframeWarning, match=r"60 different ones in 60 examples; .* as classes, task.kind=regression"
    ):
        assert make({**given, "y": np.arange(60)}).num_outputs == 60


@given(
    kind=st.sampled_from(["bool", "int8", "int32", "int64", "uint16", "float16", "float32", ">f8", "<i2"]),
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 2**31),
)
def test_inputs_are_the_same_numbers(kind, shape, order, seed):
    values = np.random.default_rng(seed).integers(-100, 100, size=shape).astype(kind, order=order)
    values.flags.writeable = False
    found = as_inputs(values, "x")
    assert (found.dtype, found.is_contiguous()) == (torch.float32, True)
    assert np.array_equal(found.numpy(), values.astype(np.float32))
    native = values.astype(values.dtype.newbyteorder("="))
    assert torch.equal(as_inputs(torch.from_numpy(native), "x"), found)


def test_bytes_are_pixels():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 4, 4)
    assert np.array_equal(as_inputs(pixels, "x").numpy(), pixels.astype(np.float32) / 255)
    assert as_inputs(pixels.astype(np.int16), "x").max() == 255


def test_arrays_that_change_later_change_nothing():
    given = arrays()
    task = make(given)
    before = task.data("train").x.clone()
    given["x"][:] = 0
    assert torch.equal(task.data("train").x, before)


X, Y = arrays()["x"], arrays()["y"]
FRAME = types.SimpleNamespace(to_numpy=lambda: X)
NAN = np.where(np.arange(40)[:, None] == 7, np.nan, X)
BAD = [
    ({}, {}, "there is no array 'x', the inputs of 'y'; found: none"),
    ({"x": X, 3: Y}, {}, "there is no array 'y', the labels of 'x'; found: 3, x"),
    ({"x": X, "y": Y, "x_test": X}, {}, "there is no array 'y_test', the labels of 'x_test'; found: x, x_test, y"),
    ({"x": X.tolist(), "y": Y}, {}, "x is list, expected a tensor or a numpy array$"),
    ({"x": FRAME, "y": Y}, {}, r"x is SimpleNamespace, .*; its to_numpy\(\) makes one$"),
    ({"x": X.astype(str), "y": Y}, {}, "x is <U"),
    ({"x": X.astype(object), "y": Y}, {}, "x is object, expected real numbers"),
    ({"x": X.astype(complex), "y": Y}, {}, "x is complex128, expected real numbers"),
    ({"x": torch.zeros(40, 3, dtype=torch.complex64), "y": Y}, {}, "x is complex64, expected real numbers"),
    ({"x": torch.zeros(40, 3, dtype=torch.float8_e4m3fn), "y": Y}, {}, "x is float8_e4m3fn, expected real numbers"),
    ({"x": torch.eye(40).to_sparse(), "y": Y}, {}, "x is a sparse"),
    ({"x": torch.zeros(40, 3, device="meta"), "y": Y}, {}, "or has no numbers"),
    ({"x": np.ma.masked_array(X, X > 0), "y": Y}, {}, "x is a masked array"),
    (
        {"x": X[:, 0], "y": Y},
        {},
        r"x has the shape \[40\], .* one number an example is \[examples, 1\]",
    ),
    ({"x": X[:0], "y": Y[:0]}, {}, r"x has the shape \[0, 3\], expected one or more examples"),
    ({"x": X[:, :0], "y": Y}, {}, r"x has the shape \[40, 0\]"),
    ({"x": np.zeros(()), "y": Y}, {}, "x is a single number"),
    ({"x": X, "y": Y[:-1]}, {}, "x holds 40 examples, but y 39 labels; each example needs one"),
    ({"x": NAN, "y": Y}, {}, "x holds NaN or infinite values .* in 1 of 40 examples, the first is example 7"),
    ({"x": np.full((40, 3), 1e300), "y": Y}, {}, "x holds NaN or infinite values .*too large for float32"),
    ({"x": np.full((40, 3), -np.inf), "y": Y}, {}, "x holds NaN or infinite values"),
    ({"x": X, "y": NAN}, {}, "y holds NaN or infinite values"),
    (
        {"x": X, "y": np.array([0, 1, np.inf, -np.inf] * 10)},
        {},
        "y holds NaN or infinite values .* in 20 of 40 examples",
    ),
    ({"x": X, "y": np.array([0, np.nan] * 20)}, {"kind": "classification"}, "y holds NaN or infinite values"),
    (
        {"x": X, "y": np.ones((40, 2, 2))},
        {},
        r"y has the shape \[40, 2, 2\], expected \[examples\] or \[examples, values\]",
    ),
    ({"x": X, "y": np.eye(4, dtype=int)[Y] * 2}, {}, r"y has the shape \[40, 4\], expected a class for each example"),
    ({"x": X, "y": Y - 1}, {"classes": 4}, "labels must lie between 0 and 3, but go from -1 to 2"),
    ({"x": X, "y": Y.astype(str), "x_test": X, "y_test": Y}, {}, "y_test holds numbers, other arrays of labels hold"),
    ({"x": X, "y": Y.astype(str)}, {"kind": "regression"}, "y holds texts, which are no values"),
    ({"x": X, "y": Y, "x_test": X.astype(np.uint8), "y_test": Y}, {}, "x is float32, x_test is uint8; bytes are"),
    ({"x": X, "y": Y}, {"kind": "regression", "classes": 4}, "task.classes is 4, but task.kind=regression has none"),
    ({"x": X, "y": Y}, {"classes": 3}, "labels must lie between 0 and 2, but go from 0 to 3"),
    ({"x": X, "y": Y * 0 + 2}, {}, "all labels to train on are 2; .* two classes are needed"),
    ({"x": X, "y": Y * 0, "x_test": X, "y_test": Y}, {}, "all labels to train on are 0"),
    ({"x": X, "y": Y + 0.5}, {"kind": "classification"}, "classes must be whole numbers, but y is float64"),
    ({"x": X, "y": Y, "x_test": X, "y_test": Y / 2}, {}, "y is int64, y_test is float64; .* set task.kind"),
    ({"x": X, "y": Y / 2}, {"classes": 4}, "classes must be whole numbers, but y is float64"),
    (
        {"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y},
        {},
        r"x_test has examples of shape \[2\], but those of x.* have \[3\]",
    ),
    ({"x": X, "y": X, "x_test": X, "y_test": X[:, :2]}, {}, "the splits have labels of different sizes"),
    ({"x": X[:2], "y": Y[:2]}, {}, "2 examples are too few to be divided into train, test, validation"),
    ({"x": X, "y": Y}, {"test": 0}, "the split 'test' would be empty; set task.test"),
]


@pytest.mark.parametrize(("given", "options", "message"), BAD)
def test_arrays_that_make_no_task(given, options, message):
    with pytest.raises(DataError, match=f"^task 'mine': ?.*{message}"):
        make(given, **options)


def test_inputs_that_do_not_fit_into_memory(monkeypatch):
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 2 << 20)
    with pytest.raises(DataError, match=r"x, of shape \[1, 300000\], is too large: 2 MiB of memory are needed"):
        as_inputs(np.zeros((1, 300_000), np.uint8), "x")


# Files


def write(path, given):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({name: torch.as_tensor(value) for name, value in given.items()}, str(path))
    else:
        np.savez(path, **given)
    return path


@pytest.mark.parametrize("name", ["own.npz", "own.safetensors"])
def test_files_hold_what_was_written(tmp_path, name):
    given = arrays() | {"other": np.zeros(3)}
    found = read_arrays(write(tmp_path / name, given), ARRAYS)
    assert set(found) == {"x", "y"}
    assert all(np.array_equal(np.asarray(found[key]), given[key]) for key in found)
    np.savez_compressed(tmp_path / "small.npz", **given)
    assert np.array_equal(read_arrays(tmp_path / "small.npz", ARRAYS)["x"], given["x"])
    np.save(tmp_path / "one.npy", given["x"])
    assert np.array_equal(read_arrays(tmp_path / "one.npy", ["x"])["x"], given["x"])


@pytest.mark.filterwarnings("ignore:.* examples are very few")
@given(data=st.data())
@pytest.mark.parametrize("name", ["own.npz", "own.npy", "own.safetensors"])
def test_damaged_files_are_said_to_be_or_read_right(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("damaged")
    given = arrays(4)
    path = folder / name
    np.save(path, given["x"]) if path.suffix == ".npy" else write(path, given)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        changed = bytearray(whole)
        for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
            changed[place] = data.draw(st.integers(0, 255))
        path.write_bytes(changed)
    with suppress(DataError):
        found = read_arrays(path, ["x", "y"])
        task = own_task("mine", found, OwnOptions(kind="regression", test=0.25, validation=0.25))
        assert [len(part) for part in splits(task).values()] == [2, 1, 1]


LAYOUTS = [
    ("x", "y", "x_validation", "y_validation", "x_test", "y_test"),
    ("X", "y", "X_val", "y_val", "X_test", "y_test"),
    ("x_train", "y_train", "x_valid", "y_valid", "x_test", "y_test"),
    ("Xtrain", "Ytrain", "Xval", "Yval", "Xtest", "Ytest"),
    ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    ("data", "target", "data_val", "target_val", "data_test", "target_test"),
    ("features", "targets", "validation_features", "validation_targets", "test_features", "test_targets"),
]


@pytest.mark.parametrize("names", LAYOUTS)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_usual_names_of_arrays(tmp_path, names, suffix):
    draw = np.random.default_rng(0)
    content = {
        name: np.arange(12) % 3 if number % 2 else draw.normal(size=(12, 2)) for number, name in enumerate(names)
    }
    path = write(tmp_path / f"own{suffix}", {**content, "names_of_all": np.zeros(1)})
    component = hf.api.make_registry().get("task", "arrays").component
    read = component.factory(read_options(component.options, {"file": str(path)}, "task"))
    handed = OwnCode(None, None, content).hyperframe_tasks()[0].factory(OwnOptions())
    for task in (read, handed):
        for split, place in (("train", 0), ("validation", 2), ("test", 4)):
            assert np.array_equal(task.data(split).x, content[names[place]].astype(np.float32))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["arr_0", "arr_1"], "there is no array 'x' of inputs, but arr_0, arr_1; it can also be called data, images"),
        (["data", "arr_1"], "there is no array 'y' of labels, but arr_1, data; it can also be called target"),
        (["x_train", "data", "y"], "data and x_train could both be 'x'"),
    ],
)
def test_names_of_arrays_that_say_nothing(names, message):
    with pytest.raises(DataError, match=message):
        chosen_parts(names, "here")
    assert chosen_parts([*names, "x", "y"], "here")["x"] == "x"


def header(shape, kind="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def zipped(path, member, content, claimed=None):
    """A zip archive whose directory can claim a size that its member does not have."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        if claimed is not None:
            archive.getinfo(member).file_size = claimed
    return path


def test_headers_that_claim_more_than_there_is(tmp_path):
    huge = header((10**14,))
    (tmp_path / "a.npy").write_bytes(huge)
    with pytest.raises(DataError, match=r"a\.npy is damaged: its header claims 800,000,000,000,000 bytes .* are 0"):
        read_arrays(tmp_path / "a.npy", ["x"])
    with pytest.raises(DataError, match=r"b\.npz, x\.npy is damaged: its header claims 800,000,000,000,000 bytes"):
        read_arrays(zipped(tmp_path / "b.npz", "x.npy", huge), ["x"])
    both = zipped(tmp_path / "c.npz", "x.npy", huge, claimed=len(huge) + 8 * 10**14)
    with pytest.raises(DataError, match=r"c\.npz, x\.npy unpacks from 71 bytes to 800,000,000,000,128"):
        read_arrays(both, ["x"])
    (tmp_path / "d.npy").write_bytes(header((-2, -4)) + bytes(64))
    with pytest.raises(DataError, match=r"d\.npy cannot be read"):
        read_arrays(tmp_path / "d.npy", ["x"])
    length = struct.pack("<Q", 2**60)
    (tmp_path / "e.safetensors").write_bytes(length + b"{}")
    with pytest.raises(DataError, match=r"e\.safetensors cannot be read"):
        read_arrays(tmp_path / "e.safetensors", ["x"])


@pytest.mark.parametrize("name", ["own.npz", "own.npy", "own.safetensors"])
def test_files_for_which_there_is_no_room(tmp_path, monkeypatch, name):
    given = {"x": np.zeros((200, 1000)), "y": np.zeros(200)}
    path = tmp_path / name
    np.save(path, given["x"]) if path.suffix == ".npy" else write(path, given)
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 1 << 20)
    with pytest.raises(DataError, match=f"{name} is too large: 3 MiB of memory are needed, 1 MiB are free"):
        read_arrays(path, ["x", "y"])


class Trap:
    """An object that runs code where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_arrays_of_objects_run_no_code(tmp_path, name):
    trap = np.array([Trap(tmp_path / "ran")], dtype=object)
    if name == "a.npz":
        np.savez(tmp_path / name, x=trap, y=np.arange(1))
    else:
        np.save(tmp_path / name, trap, allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects, which could run code; expected numbers"):
        read_arrays(tmp_path / name, ["x", "y"])
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(DataError, match="cannot be read"):
        read_arrays(tmp_path / name, ["x", "y"])
    assert not (tmp_path / "ran").exists()


def test_names_in_a_file_are_no_paths(tmp_path):
    content = io.BytesIO()
    np.save(content, X)
    path = zipped(tmp_path / "own.npz", "../../evil.npy", content.getvalue())
    assert read_arrays(path, ["x", "y"]) == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize("name", ["absent.npz", "own.csv", "a\0b.npz", "folder.npz", "x" * 300 + ".npz"])
def test_files_that_are_none(tmp_path, name):
    (tmp_path / "own.csv").write_text("1,2")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match=r"there is no file|expected a file that ends in \.npz, \.npy, \.safetensors"):
        read_arrays(tmp_path / name, ["x"])


def test_a_changed_byte_is_found(tmp_path):
    path = write(tmp_path / "own.npz", arrays())
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        read_arrays(path, ["x"])


# Trained on


@pytest.mark.parametrize("name", ["own.npz", "own.safetensors"])
def test_training_on_a_file(tmp_path, hyperframe, name):
    path = write(tmp_path / name, arrays())
    settings = {**FAST, "target.input_shape": [3], "target.outputs": 4, "task": "arrays", "task.file": path}
    run = hf.train("digits", settings, out=tmp_path / "python")
    results = run.evaluate()
    assert (results["examples"], results["networks"]) == (4, 4)
    texts = [f"{key}={json.dumps(value)}" for key, value in settings.items() if key != "task.file"]
    code, out, err = hyperframe("train", *texts, f"task.file={name}", "--out", "typed", "--json")
    assert (code, err) == (0, "")
    assert {**json.loads(out), "run": "python"} == results
    assert hf.load(tmp_path / "typed").evaluate() == json.loads(out)


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (arrays(), {"task.file": None}, "task 'arrays' needs a file: set task.file"),
        ({"x": X}, {}, "own.npz: there is no array 'y' of labels, but x; it can also be"),
        ({"x": NAN, "y": Y}, {}, "x holds NaN or infinite values"),
        ({"x": X.astype(object), "y": Y}, {}, "holds Python objects"),
        ({"x": X, "y": Y - 1}, {"task.classes": 4}, "labels must lie between 0 and 3"),
        (
            arrays(classes=3),
            {},
            "target 'mlp' does not fit task 'arrays': it has 4 outputs, and the task needs 3",
        ),
        (
            arrays(shape=(2,)),
            {},
            "inputs of shape [3], and the task's are [2]; leave target.input_shape out, which is then the task's",
        ),
        (arrays(), {"task.test": 0}, "set task.test to a part such as 0.1"),
        (arrays(), {"task.kind": "ranking"}, "task.kind: expected one of auto, classification, dense_classification, "),
    ],
)
def test_a_bad_file_is_one_message(tmp_path, hyperframe, content, settings, message):
    path = write(tmp_path / "own.npz", content)
    chosen = {**FAST, "target.input_shape": [3], "target.outputs": 4, "task": "arrays", "task.file": str(path)}
    texts = [f"{key}={json.dumps(value)}" for key, value in {**chosen, **settings}.items()]
    code, out, err = hyperframe("train", *texts, "--out", "run")
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("hyperframe: ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_linear_function_is_learnt(tmp_path, hyperframe):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=draw)
    y = x @ torch.randn(5, 2, generator=draw) + 0.5
    write(tmp_path / "own.safetensors", {"x": x, "y": y})
    settings = {
        **FAST,
        "task": "arrays",
        "task.file": "own.safetensors",
        "target.input_shape": [5],
        "target.outputs": 2,
        "target.hidden": [8],
        "generator.hidden": [32],
        "trainer.steps": 300,
        "trainer.rate": 5e-3,
        "trainer.batch_size": 16,
        "evaluation.every": 300,
        "evaluation.test_networks": 10,
    }
    code, out, err = hyperframe("train", *(f"{key}={json.dumps(value)}" for key, value in settings.items()))
    assert code == 0
    assert "rmse of one network, mean" in out
    assert "R² of the mean prediction" in out
    assert "step    300  3 networks on 40 validation examples  rmse " in err
    run = hf.load(out.splitlines()[-1].removeprefix("run folder: "))
    results, test = run.evaluate(), run.experiment.task.data("test")
    deviation = float(test.y.std(0, correction=0).square().mean().sqrt())
    assert results["rmse"]["max"] < 0.8 * deviation
    assert results["ensemble"]["rmse"] < 0.3 * deviation
    assert results["ensemble"]["r2"] == pytest.approx(1 - (results["ensemble"]["rmse"] / deviation) ** 2, abs=1e-5)
    nets = run.sample(10)
    assert torch.equal(nets.summary(test.x)["mean"], nets.predict(test.x).mean(0))
    assert results["ensemble"]["rmse"] == pytest.approx(float((nets.mean(test.x) - test.y).square().mean().sqrt()))
