"""Texts about one of everything: no count of one stands before a plural."""

import json
import re

import pytest

import hyperframe as hf

PLURALS = (
    *("analyses", "averages", "batches", "checkpoints", "commands", "components", "draws", "entries", "examples"),
    *("filters", "images", "inputs", "intervals", "layers", "networks", "outputs", "places", "predictions", "steps"),
    *("threads", "units", "validations", "values"),
)
ONE_OF_MANY = re.compile(rf"(?<![\d.,])1 (?:[a-z]+ )?(?:{'|'.join(PLURALS)})\b")

ONE = {
    "task": "diabetes",
    "target": {"name": "mlp", "hidden": [1]},
    "generator": {"name": "mlp", "hidden": [1], "latent": 1},
    "diversity": "none",
    "gauges": [],
    "trainer": {"networks": 1, "batch_size": 1, "steps": 1, "log_every": 1, "device": "cpu"},
    "evaluation": {"networks": 1, "test_networks": 1, "every": 1},
}


def plurals_of_one(text):
    return sorted({found[0] for found in ONE_OF_MANY.finditer(re.sub(r"<[^>]*>", " ", text))})


def test_a_plural_of_one_is_found():
    text = "<b>1 networks</b>, 21 steps, 0.1 steps, 1 step, 1 test examples"
    assert plurals_of_one(text) == ["1 networks", "1 test examples"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hyperframe.errors.HyperframeWarning")
def test_one_of_everything_is_told_in_the_singular(hyperframe, tmp_path):
    run = hf.train("diabetes", ONE, out=tmp_path / "run")
    held = {**ONE, "generator": {"name": "direct", "networks": 1}}
    told = [str(run.sample(1)._repr_html_()), str(run.experiment.target.spec._repr_html_()), run._repr_html_()]
    told.append(str(hf.trace(run.sample(1)[0], (10,))))
    run.evaluate()
    hf.train("diabetes", held, out=tmp_path / "held")
    for arguments in (
        ["train", "diabetes", "--dry-run", *_pairs(ONE)],
        ["evaluate", "run"],
        ["describe", "--config", "diabetes", *_pairs(ONE)],
        ["sample", "run", "-n", "1", "--out", "one.safetensors"],
        ["export", "run", "-n", "1", "--out", "folder"],
        ["distill", "run", "-n", "1", "--steps", "1", "--out", "student.safetensors"],
        ["report", "run", "--analysis", "training_curves,answers,distillation", "distillation.steps=1"],
        ["compare", "run", "held"],
        ["train", "--resume", "run"],
        ["evaluate", "held", "-n", "2"],
        ["doctor"],
    ):
        code, out, err = hyperframe(*arguments)
        assert code == (2 if "2" in arguments else 0), err
        told.append(out + err)
    told += [path.read_text() for path in tmp_path.rglob("*") if path.suffix in {".html", ".md"}]
    assert len(told) == 4 + 11 + 2
    assert [found for text in told for found in plurals_of_one(text)] == []


def _pairs(settings):
    return [f"{key}={json.dumps(value)}" for key, value in settings.items() if key != "task"]
