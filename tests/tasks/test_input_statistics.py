"""Statistics that a run keeps of its training inputs, warnings of inputs unlike them, and names of classes."""

import json
import re
import warnings

import numpy as np
import pytest
import safetensors
import tiny
import torch
from PIL import Image
from torch import nn

import hyperframe as hf
from hyperframe.errors import DataError, HyperframeWarning, RunError
from hyperframe.networks.sampled import select
from hyperframe.tasks.input_statistics import TrainedInputs, read_trained_inputs

FAST = {**tiny.PERCEPTRON, "trainer.steps": 2}
BYTES = {"pixels": True, "low": 0.0, "high": 1.0, "mean": 0.2}
NORMALISED = {"pixels": False, "low": -2.0, "high": 3.0, "mean": 0.0}
UNDIVIDED = {"pixels": False, "low": 0.0, "high": 255.0, "mean": 50.0}


def pictures(count=40, shape=(1, 4, 6), brightest=255):
    return np.random.default_rng(0).integers(0, brightest + 1, (count, *shape)).astype(np.uint8)


def told(check, *given):
    """The message of a refusal, or else the notices."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            check(*given)
        except DataError as error:
            return f"refused: {error}"
    return "\n".join(str(each.message) for each in found)


DARK = torch.zeros(3, 1, 2, 2)
DARK[:, 0, 0, 0] = 1


@pytest.mark.parametrize(
    ("record", "x", "said"),
    [
        (BYTES, DARK, ""),
        (BYTES, DARK * 255, r"refused: inputs go from 0 to 255, those of the training from 0 to 1 \(bytes divided by"),
        ({**BYTES, "pixels": None}, DARK * 255, "refused: inputs go from 0 to 255"),
        ({**BYTES, "pixels": None}, DARK.flatten(1) * 255, "^inputs go from 0 to 255"),
        (BYTES, DARK * 3, "^inputs go from 0 to 3, .* so far outside means little"),
        (BYTES, DARK * 1.5, ""),
        (BYTES, 1 - DARK, r"^images are bright here \(mean 0.75 of the range\), those of the training dark \(0.20\)"),
        ({**BYTES, "mean": 0.8}, DARK, "^images are dark here .*, those of the training bright"),
        ({**BYTES, "mean": 0.45}, 1 - DARK, ""),
        (NORMALISED, DARK, ""),
        (NORMALISED, DARK - 9, "^inputs go from -9 to -8, those of the training from -2 to 3: what"),
        ({**BYTES, "low": 1.0}, torch.ones(2, 3), ""),
    ],
)
def test_values_that_are_unlike_the_trained_ones(record, x, said):
    found = told(TrainedInputs(**record).check_values, x)
    assert re.search(said, found)
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("record", "x", "said"),
    [
        (BYTES, DARK, ""),
        ({**BYTES, "pixels": False}, DARK, ""),
        ({**BYTES, "pixels": False}, DARK / 255, "^bytes are divided by 255: they go from 0 to 0.003922 here"),
        (BYTES, DARK * 0, ""),
        (NORMALISED, DARK, "^bytes and images are divided by 255 and go from 0 to 1 here; the training's inputs were"),
        (
            UNDIVIDED,
            DARK,
            "refused: bytes and images are divided by 255, but the training's inputs, from 0 to 255",
        ),
    ],
)
def test_bytes_that_are_unlike_the_trained_inputs(record, x, said):
    found = told(TrainedInputs(**record).check_pixels, x)
    assert re.search(said, found)
    assert bool(said) == bool(found)


@pytest.fixture
def run(tmp_path):
    """A run on bytes, [examples, height, width, channels], with labels that are texts."""
    x = pictures(brightest=120, shape=(4, 6, 1))
    np.savez(tmp_path / "own.npz", images=x, labels=np.array(["dog", "cat", "bee"])[np.arange(40) % 3])
    settings = {"task": "arrays", "task.file": str(tmp_path / "own.npz")}
    sizes = {"target.input_shape": [1, 4, 6], "target.outputs": 3}
    with pytest.warns(HyperframeWarning, match=r"x is read as images with the channels last: \[40, 4, 6, 1\]"):
        return hf.train("digits", {**FAST, **sizes, **settings}, out=tmp_path / "run")


@pytest.mark.slow
def test_a_run_keeps_what_its_inputs_were(tmp_path, run, hyperframe):
    kept = json.loads((run.folder / "inputs.json").read_text())
    train = run.experiment.task.data("train").x
    assert kept == {
        "pixels": True,
        "low": float(train.min()),
        "high": float(train.max()),
        "mean": pytest.approx(float(train.mean()), rel=1e-6),
        "aspects": [1.5, 1.5],
    }
    x = pictures(5, brightest=120)
    nets = hf.load(run.folder).sample(2)
    assert torch.equal(nets.predict(x), nets.predict(x.astype(np.float32) / 255))
    assert torch.equal(nets.predict(x), nets.predict(np.moveaxis(x, 1, 3)))
    for ask in (nets.predict, nets.mean, nets.vote, nets.summary, select(nets, slice(1)).predict):
        with pytest.raises(DataError, match=r"bytes divided by 255\): hand over bytes \(uint8\), or divide by 255"):
            ask(x.astype(np.float32))
    np.save(tmp_path / "floats.npy", x.astype(np.float32))
    code, out, err = hyperframe("predict", "run", "floats.npy")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "those of the training from 0 to 0.4706 (bytes divided by 255): hand over bytes" in err
    np.savez(tmp_path / "bytes.npz", images=x, labels=np.zeros(5))
    code, out, err = hyperframe("predict", "run", "bytes.npz", "-n", "2", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["classes"] == ["bee", "cat", "dog"]


@pytest.mark.slow
def test_a_run_whose_record_is_lost_or_damaged(tmp_path, run, hyperframe):
    np.save(tmp_path / "bytes.npy", pictures(5))
    path = run.folder / "inputs.json"
    whole = path.read_text()
    for content in ("{", "[]", '{"pixels": 3}', whole.replace("true", '"yes"'), whole.replace("1.5", "[]")):
        path.write_text(content)
        with pytest.raises(RunError, match=r"inputs\.json"):
            read_trained_inputs(run.folder)
        code, _, err = hyperframe("predict", "run", "bytes.npy")
        assert (code, len(err.splitlines())) == (2, 1)
    path.unlink()
    code, _, err = hyperframe("predict", "run", "bytes.npy")
    assert code == 0
    assert [line for line in err.splitlines() if "has no inputs.json; whether inputs are like those" in line]


@pytest.mark.slow
def test_names_of_classes_stay_with_a_run(tmp_path, run, hyperframe):
    np.save(tmp_path / "x.npy", pictures(5, brightest=120))
    (tmp_path / "own.npz").unlink()
    names = ["bee", "cat", "dog"]
    code, out, _ = hyperframe("predict", "run", "x.npy", "--json")
    content = json.loads(out)
    assert (code, content["classes"]) == (0, names)
    assert all(row["class"] == names[row["vote"]] for row in content["examples"])
    assert content["examples"][0]["class"] in hyperframe("predict", "run", "x.npy")[1]
    for name in ("a.npz", "a.safetensors"):
        assert hyperframe("predict", "run", "x.npy", "--out", name)[0] == 0
    assert np.load(tmp_path / "a.npz")["classes"].tolist() == names
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["classes"]) == names
    facts = json.loads((run.folder / "task.json").read_text())
    (run.folder / "task.json").write_text(json.dumps({**facts, "classes": names[:2]}))
    code, _, err = hyperframe("predict", "run", "x.npy")
    assert code == 2
    assert "there are 2 names of classes for 3 outputs" in err


@pytest.mark.slow
def test_images_with_other_proportions_and_brightness(tmp_path, hyperframe):
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            dark = np.random.default_rng(8 * label + number).integers(0, 90, (20, 20 + number), dtype=np.uint8)
            Image.fromarray(np.where(dark > 85, 255, dark).astype(np.uint8)).save(
                tmp_path / "images" / name / f"{number}.png"
            )
    settings = {"target.input_shape": [1, 8, 8], "target.outputs": 2, "task": "image_folder", "task.folder": "images"}
    texts = [f"{key}={json.dumps(value)}" for key, value in {**FAST, **settings}.items()]
    assert hyperframe("train", *texts, "task.size=[8,8]", "task.colours=false", "--out", "run")[0] == 0
    low, high = json.loads((tmp_path / "run" / "inputs.json").read_text())["aspects"]
    assert 1 <= low < high <= 27 / 20
    assert hyperframe("predict", "run", "images/ant")[2] == ""
    first = np.asarray(Image.open(tmp_path / "images" / "ant" / "0.png"))
    Image.fromarray(np.tile(first, (1, 3))).save(tmp_path / "wide.png")
    code, out, err = hyperframe("predict", "run", "wide.png", "images/ant/0.png")
    assert code == 0
    assert "1 of 2 images have other proportions than those of the training, and are stretched" in err
    assert "width over height is 3 for wide.png" in err
    assert "ant" in out
    Image.fromarray(255 - first).save(tmp_path / "white.png")
    code, _, err = hyperframe("predict", "run", "white.png")
    assert (code, len(err.splitlines())) == (0, 1)
    assert "images are bright here" in err


@pytest.mark.slow
@pytest.mark.parametrize("end", [nn.Softmax(-1), nn.LogSoftmax(-1), nn.Identity()])
def test_a_softmax_at_the_end_is_told(tmp_path, end):
    x, y = torch.randn(40, 3), torch.arange(40) % 2
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), end)
    settings = {key: value for key, value in FAST.items() if not key.startswith("target")}
    said = told(lambda: hf.train("digits", settings, module=module, data=(x, y), out=tmp_path / "run"))
    assert ("ends with a softmax, it seems" in said) == isinstance(end, nn.Softmax)


def test_very_few_items_are_told(tmp_path):
    x, y = torch.randn(5, 3), torch.arange(5) % 2
    settings = {**FAST, "target.input_shape": [3], "target.outputs": 2}
    said = told(lambda: hf.train("digits", settings, data=(x, y), out=tmp_path / "run"))
    assert "task 'data': 5 examples are very few; 3 of them train" in said
