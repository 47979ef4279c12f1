"""A run folder that was copied elsewhere, without its data, and after the original is gone, says what it said."""

import json
import shutil

import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors import safe_open
from torch import nn

import hyperframe as hf

FAST = {**tiny.GENERATED, "trainer.steps": 2, "target": "mlp", "target.hidden": [4]}


def classes_of_a_table(folder):
    """A table whose labels are texts, on scales that are standardised, and rows to predict."""
    x = np.random.default_rng(0).normal([0, 1000], [1, 300], size=(60, 2)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.array(["ant", "bee", "cat"])[np.arange(60) % 3])
    np.save(folder / "asked.npy", x[:4])
    return {"task": "arrays", "task.file": "data.npz"}, "asked.npy"


def values_of_a_table(folder):
    """A table whose labels are values far from 0."""
    x = np.random.default_rng(0).normal(5, 9, size=(60, 2)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=x.sum(1) * 1e4 + 0.5)
    np.save(folder / "asked.npy", x[:4])
    return {"task": "arrays", "task.file": "data.npz"}, "asked.npy"


def image_folder(folder):
    """A folder of images for each class, and one of images to predict."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "asked"):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / name / f"{number}.png")
    shutil.move(folder / "data" / "asked", folder / "asked")
    return {"task": "image_folder", "task.folder": "data", "task.size": [8, 8], "task.colours": False}, "asked"


def said(hyperframe, run, asked, out):
    """The output of commands about a run, and the tensors and the description of networks that it draws."""
    code, rows, err = hyperframe("predict", run, asked, "-n", "3", "--json")
    assert (code, err) == (0, "")
    content = json.loads(rows)
    for row in content["examples"]:
        row["example"] = row["example"].rpartition("/")[2]
    assert hyperframe("sample", run, "-n", "3", "--gauge", "--out", out)[0] == 0
    with safe_open(out, "numpy") as file:
        header = json.loads(file.metadata()["hyperframe"])
        tensors = {name: file.get_tensor(name).tolist() for name in file.keys()}  # noqa: SIM118  (no mapping)
    assert hyperframe("predict", run, asked, "--samples", out, "--json")[0] == 0
    return content, {**header, "run": ""}, tensors


@pytest.mark.slow
@pytest.mark.parametrize("make", [classes_of_a_table, values_of_a_table, image_folder])
def test_a_copy_says_what_the_original_said(tmp_path, hyperframe, monkeypatch, make):
    first, second = tmp_path / "first", tmp_path / "second" / "deeper"
    first.mkdir()
    monkeypatch.chdir(first)
    settings, asked = make(first)
    hf.train("digits", {**FAST, **settings}, out="run")
    before = said(hyperframe, "run", asked, first / "nets.safetensors")
    second.mkdir(parents=True)
    shutil.copytree(first / "run", second / "copy")
    shutil.move(first / asked, second / asked)
    monkeypatch.chdir(second)
    assert said(hyperframe, "copy", asked, second / "beside.safetensors") == before
    shutil.rmtree(first)
    assert said(hyperframe, "copy", asked, second / "alone.safetensors") == before
    if make is not values_of_a_table:
        assert before[0]["classes"][:2] == ["ant", "bee"]
        assert before[0]["examples"][0]["class"] in before[0]["classes"]
    if make is not image_folder:
        assert len(before[1]["inputs"]["std"]) == 2
    # What measures says which data it lacks.
    code, _, err = hyperframe("evaluate", "copy")
    assert code == 2
    assert "override that: task." in err


@pytest.mark.slow
def test_a_copy_of_a_run_whose_data_and_module_were_handed_over(tmp_path):
    x, y = np.random.default_rng(0).normal(4, 2, size=(60, 3)).astype(np.float32), np.arange(60) % 2
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    run = hf.train("digits", {**tiny.GENERATED, "trainer.steps": 2}, module=net, data=(x, y), out=tmp_path / "run")
    before = run.sample(3).predict(x)
    shutil.copytree(run.folder, tmp_path / "copy")
    shutil.rmtree(run.folder)
    copy = hf.load(tmp_path / "copy", module=net)
    assert copy.sample(3).predict(x).equal(before)
    assert copy.trained_inputs == run.trained_inputs
    assert copy.fingerprints == run.fingerprints
