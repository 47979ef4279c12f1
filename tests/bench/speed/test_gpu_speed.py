"""The benchmark for a GPU, on a CPU with tiny settings: every part gives a table, and what fails is written down."""

import argparse
import subprocess
import sys

import gpu_speed
import pytest
import torch

from hyperframe.bench.speed import floor


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu_speed.PARTS)
def test_every_part_gives_a_table(name, tmp_path, monkeypatch):
    monkeypatch.setattr(floor, "MATRIX", {"cpu": 32})
    monkeypatch.delenv("HYPERFRAME_DATA", raising=False)  # none is needed
    bench = gpu_speed.Bench(device=torch.device("cpu"), scale=gpu_speed.TINY, profiles=tmp_path)
    head, line, *rows = gpu_speed.as_table(gpu_speed.PARTS[name].work(bench))
    assert rows
    assert {text.count(" | ") for text in (head, line, *rows)} == {head.count(" | ")}
    if name == "profiles":
        assert "Self CPU" in (tmp_path / "mnist.txt").read_text()


@pytest.mark.slow
def test_the_command_writes_the_page(tmp_path, root):
    page = tmp_path / "new" / "page.md"
    command = [sys.executable, root / "benchmarks" / "gpu_speed.py", page, "--device", "cpu", "--tiny"]
    ended = subprocess.run([*command, "--part", "mnist,draw"], capture_output=True, text=True, check=True)
    text = page.read_text()
    assert "TRIED OUT WITH TINY SETTINGS" in text
    assert "| as it is | " in text
    assert "4 steps, scaled" in text
    assert "| networks at once | networks a second | peak of memory, MiB |" in text
    assert "Not measured" not in text
    assert ended.stdout.splitlines()[-1] == str(page)
    ended = subprocess.run([*command, "--seconds", "0"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert page.read_text().count("Not measured: no time was left.") == len(gpu_speed.PARTS)


def asked(tmp_path, device="cpu"):
    return argparse.Namespace(page=tmp_path / "page.md", device=device, tiny=True)


def test_a_part_that_takes_too_long_is_ended_and_told(tmp_path):
    assert gpu_speed.measured("mnist", asked(tmp_path), 0.01) == (None, "not done after 0 s")


@pytest.mark.slow
def test_a_part_that_fails_is_told(tmp_path):
    rows, why = gpu_speed.measured("draw", asked(tmp_path, "nowhere"), 60)
    assert rows is None
    assert why.startswith("failed: ")
    assert "expected auto, cpu, cuda or cuda:INDEX, but got 'nowhere'" in why


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["page.md"], "torch finds no CUDA device here; --device cpu --tiny tries the program out"),
        (["page.md", "--part", "mnist,dance"], "--part: unknown dance; known: mnist"),
    ],
)
def test_wrong_arguments_are_told(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        gpu_speed.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_script_says_where_there_is_no_device(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON", sys.executable)
    script = ["bash", root / "benchmarks" / "gpu_speed.sh"]
    ended = subprocess.run([*script, tmp_path / "page.md"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "torch finds no CUDA device" in ended.stderr
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode
    assert "name the page to write" in ended.stderr
