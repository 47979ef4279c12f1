"""Runs saved to be used elsewhere: without their data, without the training's state, with networks and a card."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

import hyperframe as hf
from hyperframe.errors import RunError
from hyperframe.runs.sharing import LARGEST, count_to_keep, without_paths

pytestmark = pytest.mark.slow

SETTINGS = {**tiny.GENERATED, "trainer.steps": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was evaluated, of a checkpoint that is not the last one as well."""
    settings = {**tiny.PERCEPTRON, "trainer.steps": 4, "trainer.checkpoint_every": 2, "trainer.keep_checkpoints": 2}
    trained = hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")
    trained.evaluate(5)
    return trained


def test_the_folder_s_networks_and_generator_are_those_of_the_run(run, tmp_path):
    folder = run.save_pretrained(tmp_path / "digits-mlp", 4, 7)
    x = run.data("test").x
    drawn = run.sample(4, 7)
    ensemble = hf.from_pretrained(folder)
    torch.testing.assert_close(ensemble.members(x), drawn.predict(x), rtol=1e-5, atol=1e-6)
    again = hf.load(folder)
    assert again.step == run.step
    torch.testing.assert_close(again.sample(3, 2).predict(x), run.sample(3, 2).predict(x), rtol=0, atol=0)
    alone = load_file(folder / "networks.safetensors")  # by safetensors alone
    for name, value in drawn.state_dict(2).items():
        assert torch.equal(alone[name][2], value)


def test_a_saved_checkpoint_is_the_one_that_was_loaded(run, tmp_path):
    earlier = hf.load(run.folder, checkpoint=2)
    folder = earlier.save_pretrained(tmp_path / "earlier", 2)
    x = run.data("test").x[:5]
    assert hf.load(folder).step == 2
    assert torch.equal(hf.load(folder).sample(2, 1).predict(x), earlier.sample(2, 1).predict(x))
    assert "have not been measured" in (folder / "README.md").read_text()  # the evaluation is of another step


def test_data_are_not_needed(tmp_path):
    x = 50 + 20 * torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    labels = ["low" if value < 300 else "high" for value in x.sum(1)]
    np.savez(tmp_path / "mine.npz", x=x.numpy(), y=np.array(labels))
    settings = {**SETTINGS, "target": "mlp", "target.hidden": [4], "task": "arrays"}
    trained = hf.train(
        "digits_hypernetwork", {**settings, "task.file": str(tmp_path / "mine.npz")}, out=tmp_path / "run"
    )
    expected = trained.sample(3, 1).predict(x)
    folder = trained.save_pretrained(tmp_path / "shared", 3, 1)
    (tmp_path / "mine.npz").unlink()
    shutil.rmtree(tmp_path / "run")
    ensemble = hf.from_pretrained(folder)
    torch.testing.assert_close(ensemble.members(x), expected, rtol=1e-5, atol=1e-6)
    assert ensemble.classes == ("high", "low")
    card = (folder / "README.md").read_text()
    assert "`high`, `low`" in card
    assert "standardises them itself" in card
    assert str(tmp_path) not in "".join(path.read_text() for path in folder.rglob("*.[yj][as]*"))  # no paths of here
    assert "file: mine.npz" in (folder / "config.yaml").read_text()


def test_no_path_of_other_runs_and_files_is_shared(run, tmp_path):
    further = hf.train(
        "digits_hypernetwork",
        {**tiny.PERCEPTRON, "trainer.steps": 1, "trainer.from": str(run.folder)},
        out=tmp_path / "further",
    )
    file = further.write_samples(tmp_path / "drawn.safetensors", 2)
    further.evaluate(samples=file)
    folder = further.save_pretrained(tmp_path / "shared", 2)
    assert json.loads((folder / "provenance.json").read_text())["began_with"] == {"run": run.folder.name, "step": 4}
    results = json.loads((folder / "analyses" / "evaluation" / "results.json").read_text())
    assert results["samples"] == "drawn.safetensors"
    changed = {"resumed": [{"step": 1, "changed": ["trainer.from: /a/b → /a/c", "trainer.rate: 1 → 2"]}]}
    assert without_paths(changed, ["trainer.from"])["resumed"] == [{"step": 1, "changed": ["trainer.rate: 1 → 2"]}]


class Normed(nn.Module):
    """A network with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x):
        return self.body(x)


def test_statistics_are_kept_with_the_networks_and_others_need_data(tmp_path):
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    module, data = Normed(), (x, (x.sum(1) > 0).long())
    trained = hf.train("digits_hypernetwork", SETTINGS, module=module, data=data, out=tmp_path / "run")
    expected = trained.sample(3, 1).predict(x)
    folder = trained.save_pretrained(tmp_path / "shared", 3, 1)
    torch.testing.assert_close(hf.from_pretrained(folder, module=module).members(x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(hf.HyperframeError, match="estimated from training data"):
        hf.load(folder, module=module).sample(2)
    card = (folder / "README.md").read_text()
    assert 'hf.from_pretrained("shared", module=...)' in card
    assert "other draws need training data" in card
    with pytest.raises(RunError, match=r"handed over in Python; hand (it|them) over again"):
        hf.from_pretrained(folder)


def test_the_card_has_the_run_s_own_figures(run, tmp_path):
    folder = run.save_pretrained(tmp_path / "digits-mlp", 4)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: hyperframe\n")
    assert "# digits-mlp" in card
    results = json.loads((run.folder / "analyses" / "evaluation" / "results.json").read_text())
    accuracy, vote = results["accuracy"], results["ensemble"]["majority"]
    for text in (f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f} %", f"{100 * vote:.2f} %"):
        assert text in card
    assert f"{results['networks']} networks drawn with seed {results['seed']}" in card
    assert f"{run.experiment.target.spec.num_weights:,} weights" in card
    assert json.loads((folder / "config.json").read_text())["library_name"] == "hyperframe"


def test_what_the_card_says_to_do_works(run, tmp_path, monkeypatch):
    folder = run.save_pretrained(tmp_path / "digits-mlp", 4)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names = {"x": run.data("test").x[:5]}
    exec(code, names)
    assert names["predictions"].shape == (5, 10)
    assert names["members"].shape == (4, 5, 10)
    assert len(names["networks"]) == 200


def test_the_training_s_state_is_left_out_and_said_to_be(run, tmp_path):
    folder = run.save_pretrained(tmp_path / "shared", 2)
    assert not list(folder.rglob("trainer.safetensors"))
    assert not list(folder.rglob("metrics.jsonl"))
    with pytest.raises(RunError, match="saved to be used, and training cannot go on"):
        hf.resume(folder, {"trainer.steps": 8})
    begun = hf.train(
        "digits_hypernetwork",
        {**tiny.PERCEPTRON, "trainer.steps": 2, "trainer.from": str(folder)},
        out=tmp_path / "next",
    )
    assert begun.finished


def test_a_folder_that_was_saved_can_be_saved_again(run, tmp_path):
    first = run.save_pretrained(tmp_path / "first", 3, 1)
    second = hf.load(first).save_pretrained(tmp_path / "second", 3, 1)
    x = run.data("test").x[:3]
    assert torch.equal(hf.from_pretrained(second)(x), hf.from_pretrained(first)(x))
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} for folder in (first, second)
    ]
    assert names[0] - {".lock"} == names[1]


def test_folders_that_cannot_be_written_or_read(run, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    (tmp_path / "file").touch()
    for name, words in (("taken", "is not empty"), ("file", "is a file")):
        with pytest.raises(RunError, match=words):
            run.save_pretrained(tmp_path / name, 2)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]
    with pytest.raises(RunError, match="keeps no networks"):
        hf.from_pretrained(run.folder)


def test_a_damaged_file_is_told(run, tmp_path):
    folder = run.save_pretrained(tmp_path / "shared", 2)
    file = folder / "checkpoints" / str(run.step) / "generator.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="no checkpoint that is whole"):
        hf.from_pretrained(folder)


def test_networks_of_large_targets_are_fewer(run):
    spec = run.experiment.target.spec
    assert count_to_keep(200, spec) == 200
    assert count_to_keep(10**9, spec) == LARGEST // (4 * spec.num_weights)


def test_the_command_writes_folders_and_programs(run, tmp_path, hyperframe):
    folder, file = tmp_path / "shared", tmp_path / "ensemble.pt2"
    for out in (folder, file):
        code, said, _ = hyperframe("export", run.folder, "-n", 3, "--seed", 1, "--out", out)
        assert (code, said) == (0, f"written to {out}\n")
    x = run.data("test").x[:5]
    prediction, members = torch.export.load(file).module()(x)
    torch.testing.assert_close(members, run.sample(3, 1).predict(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(hf.from_pretrained(folder)(x), prediction, rtol=1e-5, atol=1e-6)
