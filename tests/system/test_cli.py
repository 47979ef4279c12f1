"""The command line: what it prints, and that a user's mistake gives one message and exit code 2."""

import json
import subprocess
import sys

import pytest

from hyperframe.cli.main import main

FAST = [
    "trainer.device=cpu",
    "trainer.steps=4",
    "trainer.networks=8",
    "evaluation.networks=4",
    "evaluation.every=2",
    "evaluation.test_networks=5",
]


def test_train_ends_in_a_table_and_names_the_folder(hyperframe, tmp_path):
    code, out, err = hyperframe("train", *FAST)
    assert code == 0
    assert "5 generated networks on 360 test examples" in out
    assert "ensemble: majority vote" in out
    folder = out.splitlines()[-1].removeprefix("run folder: ")
    assert folder.startswith("runs/digits-")
    assert (tmp_path / folder / "config.yaml").is_file()
    first, *lines = err.splitlines()
    assert first == f"training on cpu into {folder}"
    assert [line.split()[:2] for line in lines] == [["step", "2"], ["step", "4"]]


@pytest.mark.slow
def test_train_evaluate_json(hyperframe, tmp_path):
    code, out, err = hyperframe("train", "digits", *FAST, "--out", "mine", "--json")
    assert (code, err) == (0, "")
    trained = json.loads(out)
    code, out, _ = hyperframe("evaluate", "mine", "--json")
    results = json.loads(out)
    assert results == trained
    assert results["networks"] == 5
    assert set(results["accuracy"]) == {"mean", "std", "min", "max"}
    assert {"majority", "mean_probability"} <= set(results["ensemble"])
    assert isinstance(results["entropy"], float)
    assert (results["split"], results["examples"]) == ("test", 360)
    code, out, _ = hyperframe("evaluate", "mine", "-n", "3", "--split", "validation", "--json")
    assert json.loads(out)["networks"] == 3
    assert json.loads(out)["examples"] == 240
    assert "3 generated networks" in hyperframe("evaluate", "mine", "-n", 3)[1]
    assert json.loads(hyperframe("evaluate", "mine", "-n", 1, "--json")[1])["entropy"] is None


@pytest.mark.slow
def test_a_file_of_ones_own(hyperframe, tmp_path):
    code, out, _ = hyperframe("config", "digits", *FAST)
    assert code == 0
    (tmp_path / "own.yaml").write_text(out)
    code, out, _ = hyperframe("train", "own.yaml", "trainer.steps=2")
    assert code == 0
    assert "runs/own-" in out


def test_config_lists_what_ships(hyperframe):
    assert hyperframe("config", "--list")[1].split() == [
        "cifar100_lenet",
        "cifar10_lenet",
        "cifar10_resnet32",
        "diabetes",
        "digits",
        "digits_hypernetwork",
        "mnist",
        "mnist_authors",
        "mnist_best",
        "mnist_hypernetwork",
        "shapes",
        "toy",
    ]


@pytest.mark.slow
def test_describe(hyperframe):
    code, out, _ = hyperframe("describe", "mnist_cnn", "--config", "mnist", "--json")
    described = json.loads(out)
    assert code == 0
    assert described["target"]["name"] == "mnist_cnn"
    assert described["target"]["weights"] == 20_018
    assert described["hypernetwork"]["parameters"] == 633_640
    assert described["step_memory"] > 0
    for command in (["describe"], ["describe", "--config", "mnist"], ["describe", "generator=mlp"]):
        code, out, _ = hyperframe(*command)
        assert code == 0
        assert "weights" in out
        assert "known but not fixed" in out


@pytest.mark.slow
def test_describe_prints_what_each_part_of_a_generator_costs(hyperframe):
    forms = ["generator.sharing=shape", "generator.rank=4", "generator.residual=true", "generator.whole=[]"]
    sizes = ["generator.code=2", "generator.layer_code=3", "generator.weight_generators=[16,16]"]
    for name in ("hypernetwork", "modes"):
        command = ["describe", "mlp", f"generator={name}", "target.hidden=[20,20]", *forms, *sizes]
        code, out, _ = hyperframe(*command)
        assert code == 0
        heads = ("codes", "rank", "skip connections", "matrix entries", "batch norm", "layer codes")
        assert all(head in out for head in heads)
        assert "biases" not in out
        row = next(line for line in out.splitlines() if "5 → 16 → 16 → 21" in line)
        cells = [cell.strip() for cell in row.split("│")[1:-1]]
        assert cells[2:] == ["30", "4", "1", str(5 * 16 + 16 * 16 + 4 * (16 + 21)), "64", "6"]
        assert cells[0] == "weights of hidden2, out"
        described = json.loads(hyperframe(*command, "--json")[1])[name]
        rows = described.get("around", described)["weight_generators"]
        assert [row["layers"] for row in rows] == [["hidden1"], ["hidden2", "out"]]
    code, out, _ = hyperframe("describe", "generator=mlp", "generator.rank=4")
    assert code == 0
    assert "dense" in out


def test_plugins(hyperframe):
    code, out, _ = hyperframe("plugins", "--json")
    rows = json.loads(out)["components"]
    assert code == 0
    assert {"kind", "name", "distribution", "version", "summary"} == set(rows[0])
    assert {row["name"] for row in rows} >= {"mnist_cnn", "digits", "scale"}
    code, out, _ = hyperframe("plugins")
    assert "mnist_cnn" in out


@pytest.mark.slow
def test_plugins_that_fail_are_shown(hyperframe, tmp_path, monkeypatch):
    info = tmp_path / "broken_shop-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-shop\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[hyperframe]\nown = broken_shop_module\n")
    (tmp_path / "broken_shop_module.py").write_text("import absent_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = hyperframe("plugins")
    assert code == 0
    assert "mnist_cnn" in out
    assert "broken-shop 3.1" in err
    assert "absent_library" in err
    failures = json.loads(hyperframe("plugins", "--json")[1])["not_loaded"]
    assert failures[0]["distribution"] == "broken-shop"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "digit"], ["unknown configuration 'digit'", "'digits'"]),
        (["train", "trainer.step=3"], ["trainer: unknown key 'step'", "'steps'"]),
        (["train", "target=digitscnn"], ["unknown target 'digitscnn'", "'digits_cnn'"]),
        (["train", "gauges=[scael]"], ["unknown gauge 'scael'", "'scale'"]),
        (["train", "entropy=kl"], ["unknown entropy 'kl'", "kozachenko_leonenko"]),
        (["train", "trainer.steps=lots"], ["trainer.steps", "a whole number, at least 1", "'lots'"]),
        (["train", "trainer.rate=-1"], ["trainer.rate", "above 0", "-1"]),
        (["train", "trainer.device=gpu"], ["trainer.device", "'gpu'"]),
        (["train", "task=mnist", "target=mnist_cnn", "task.folder=nowhere"], ["nowhere", "task.download=true"]),
        (["train", "--out", "full"], ["full", "not empty"]),
        (["train", "--resume", "full"], ["full is no run: it has no config.yaml"]),
        (["train", "--resume", "absent"], ["absent does not exist"]),
        (["train", "digits", "--resume", "full"], ["no CONFIG, no --out"]),
        (["sample", "full", "-n", "2", "--out", "x"], ["full is no run"]),
        (["sample", "full", "-n", "2"], ["either --out FILE or --split DIR"]),
        (["export", "full", "--out", "nets.txt"], ["nets.txt", "ends in .pt2 or .onnx", "or to a folder"]),
        (["export", "full", "--out", "full"], ["the folder full is not empty"]),
        (["export", "full", "--out", "shared"], ["full is no run"]),
        (["predict", "full", "mine.png"], ["full is no run"]),
        (["predict", "full", "mine.png", "--out", "x.csv"], ["x.csv", ".npz or .safetensors"]),
        (["predict", "full", "mine.png", "--samples", "x", "-n", "3"], ["--samples takes networks from a file"]),
        (["runs", "absent"], ["there is no folder absent"]),
        (["train", "task=arrays"], ["task 'arrays' needs a file", "task.file"]),
        (["train", "task=image_folder"], ["task 'image_folder' needs a folder", "task.folder"]),
        (["train", "target=no.such:thing"], ["target 'no.such:thing'", "No module named 'no'"]),
        (["train", "target=math:tau"], ["target 'math:tau'", "no callable"]),
        (["train", "--outt", "x"], ["--outt"]),
        (["train", "--out", ""], ["the output folder has no name"]),
        (["train", "--out", "x" * 300], ["cannot be written", "too long"]),
        (
            ["train", "generator.weight_generators=" + "[" + "1," * 300 + "0]"],
            ["weight_generators", "at least 1"],
        ),
        (["evaluate", "x" * 300], ["cannot be read: File name too long"]),
        (["evaluate", "absent"], ["absent", "does not exist"]),
        (["evaluate", "full"], ["full", "is no run"]),
        (["evaluate", "full", "-n", "0"], ["-n", "0"]),
        (["describe", "mnist_cn"], ["unknown target 'mnist_cn'", "'mnist_cnn'"]),
        (["config", "nothing"], ["unknown configuration 'nothing'"]),
        (["trian"], ["trian"]),
    ],
)
def test_mistakes(hyperframe, tmp_path, arguments, parts):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    code, out, err = hyperframe(*arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["full", "full/mine.txt"]


@pytest.mark.slow
def test_help_names_every_command(hyperframe):
    code, out, _ = hyperframe("--help")
    assert code == 0
    for command in main.commands:
        assert f"\n  {command} " in out
        assert hyperframe(command, "--help")[0] == 0
    assert hyperframe("--version")[1].startswith("hyperframe, version ")


def launch(path, *arguments):
    command = [sys.executable, "-c", "import hyperframe_launcher; hyperframe_launcher.main()", *arguments]
    environment = {"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin", "HOME": str(path)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_http2_library_of_the_same_name_is_named(tmp_path):
    info = tmp_path / "hyperframe-6.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hyperframe\nVersion: 6.1.0\n")
    other = tmp_path / "hyperframe"
    other.mkdir()
    (other / "__init__.py").write_text("__version__ = '6.1.0'\n")
    answer = launch(tmp_path, "train")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "HTTP/2" in answer.stderr
    assert "6.1.0" in answer.stderr
    assert "environment of its own" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_the_launcher_runs_the_command(tmp_path):
    answer = launch(tmp_path, "config", "--list")
    assert (answer.returncode, answer.stdout.split()[0]) == (0, "cifar100_lenet")
