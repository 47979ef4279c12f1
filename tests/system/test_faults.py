"""Real processes that are killed, told to stop, started twice, or run out of disk: nothing that was saved is lost.

`pytest tests/system/test_faults.py --kills 200` kills more often than the 20 times of the whole suite.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from hyperframe.runs.checkpoints import checkpoint_steps, newest_checkpoint, read_checkpoint

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

STEPS_PER_KILL = 120
SETTINGS = [
    "trainer.device=cpu",
    "trainer.threads=1",
    "generator.modes=2",
    "trainer.networks=2",
    "trainer.batch_size=4",
    "trainer.log_every=7",
    "trainer.checkpoint_every=25",
    "trainer.keep_checkpoints=2",
    "evaluation.every=60",
    "evaluation.networks=2",
    "evaluation.examples=20",
    "evaluation.test_networks=2",
]


def start(*arguments, cwd, **options):
    """Start the command as a process of its own; TensorBoard's files take no part, so that the disk holds little."""
    program = "import sys; sys.modules['tensorboard'] = None; import hyperframe_launcher; hyperframe_launcher.main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def run(*arguments, cwd):
    return finish(start(*arguments, cwd=cwd))


def until(condition, process, seconds=120):
    """Wait for something that the process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def result(folder):
    """All that a run has trained and written, less what measures time or tells of resumptions."""
    found = newest_checkpoint(folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("steps_per_second", None)
        line.pop("cpu_seconds_per_step", None)
    digests = {name: measured["sha256"] for name, measured in found.state["files"].items()}
    return found.step, found.state["validation_score"], digests, lines


def unbroken(folder, steps):
    """The result of a run that nothing disturbs."""
    code, _, err = run("train", *SETTINGS, f"trainer.steps={steps}", "--out", "whole", cwd=folder)
    assert code == 0, err
    return result(folder / "whole")


def written(folder):
    """How much the run has written of its metrics."""
    path = folder / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing_that_was_saved(tmp_path, request):
    kills = request.config.getoption("--kills")
    steps = kills * STEPS_PER_KILL
    moments = random.Random(0)
    arguments = ["train", *SETTINGS, f"trainer.steps={steps}", "--out", "run"]
    folder, reached, done = tmp_path / "run", [], 0
    while done < kills:
        resumed = (folder / "config.yaml").is_file()
        process = start(*(["train", "--resume", "run"] if resumed else arguments), cwd=tmp_path)
        if moments.random() < 0.15:  # while it starts
            time.sleep(moments.uniform(0, 3))
        else:
            before = written(folder) if resumed else 0
            until(lambda before=before: written(folder) > before, process)
            time.sleep(moments.uniform(0, 0.6))
        assert process.poll() is None, "the run was over before all kills: more steps are needed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        done += 1
        known = checkpoint_steps(folder)
        assert reached == sorted(reached)
        for step in known:  # whatever has its name is whole
            read_checkpoint(folder, step)
        reached.append(known[-1] if known else 0)
    assert reached[-1] > 0
    code, _, err = run("train", "--resume", "run", cwd=tmp_path)
    assert code == 0, err
    assert "bit for bit" not in err
    assert result(folder) == unbroken(tmp_path, steps)


SIGNALS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU")
    if hasattr(signal, name)
]


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    steps = 300
    process = start("train", *SETTINGS, f"trainer.steps={steps}", "--out", "my run", cwd=tmp_path)
    folder = tmp_path / "my run"
    until(lambda: written(folder) > 500, process)
    process.send_signal(number)
    code, out, err = finish(process)
    assert code == 128 + number
    assert out == ""
    step = checkpoint_steps(folder)[-1]
    assert f"paused at step {step} of {steps}: {number.name} was received; all is saved" in err
    assert "go on with: hyperframe train --resume 'my run'" in err
    listed = json.loads(run("runs", "--json", ".", cwd=tmp_path)[1])["runs"]
    assert [(row["state"], row["step"], row["steps"]) for row in listed] == [("paused", step, steps)]
    code, _, err = run("train", "--resume", "my run", cwd=tmp_path)
    assert code == 0, err
    assert result(folder) == unbroken(tmp_path, steps)


@pytest.mark.slow
def test_of_two_runs_into_one_folder_the_second_is_refused(tmp_path):
    arguments = ["train", *SETTINGS, "trainer.steps=1000000", "--out", "run"]
    first = start(*arguments, cwd=tmp_path)
    try:
        until((tmp_path / "run" / "config.yaml").is_file, first)
        listed = json.loads(run("runs", "--json", ".", cwd=tmp_path)[1])["runs"]
        assert [row["state"] for row in listed] == ["running"]
        for second in (arguments, ["train", "--resume", "run"]):
            code, out, err = run(*second, cwd=tmp_path)
            assert (code, out) == (2, "")
            assert "holds a run already" in err or "another training is at work in run" in err
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()


@pytest.mark.slow
def test_of_two_runs_that_start_at_once_one_is_refused(tmp_path):
    arguments = ["train", *SETTINGS, "trainer.steps=200", "--out", "run"]
    ended = [finish(process) for process in [start(*arguments, cwd=tmp_path) for _ in range(2)]]
    assert sorted(code for code, _, _ in ended) == [0, 2]
    (_, _, err) = next(answer for answer in ended if answer[0] == 2)
    assert "at work in run" in err or "holds a run already" in err


def limited_disk(folder):
    """A way to run a process whose files cannot take more than 8 MB together, or None."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    if shutil.which("unshare") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    return ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]


@pytest.mark.slow
@linux
def test_a_full_disk_leaves_the_last_checkpoint_good(tmp_path):
    shell = limited_disk(tmp_path)
    if shell is None:
        pytest.skip("needs a mount of its own")
    program = "import sys; sys.modules['tensorboard'] = None; import hyperframe_launcher; hyperframe_launcher.main()"
    train = f'{sys.executable} -c "{program}" train {" ".join(SETTINGS)} trainer.steps=1000'
    script = f"""
        mkdir disk kept && mount -t tmpfs -o size=8m tmpfs disk && cd disk
        {train} trainer.stop_after=30 --out run || exit 9
        head -c 100m /dev/zero > filler 2>/dev/null
        truncate -s -300k filler
        {sys.executable} -c "{program}" train --resume run
        echo $? > ../kept/code
        cp -r run ../kept/run
        rm filler
        {sys.executable} -c "{program}" train --resume run trainer.stop_after=40 && cp -r run ../kept/later
    """
    ran = subprocess.run([*shell, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (tmp_path / "kept" / "code").exists(), ran.stderr
    assert (tmp_path / "kept" / "code").read_text() == "2\n", ran.stderr
    assert "Traceback" not in ran.stderr
    assert "cannot be written: " in ran.stderr
    assert "No space left on device" in ran.stderr
    assert "The last good checkpoint is run/checkpoints/30; 'hyperframe train --resume run" in ran.stderr
    assert newest_checkpoint(tmp_path / "kept" / "run").step == 30
    assert newest_checkpoint(tmp_path / "kept" / "later").step == 70


def limit_files():
    """Limit the size of a process's files, which works as a quota does, and needs no rights."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.slow
@linux
def test_a_quota_leaves_the_last_checkpoint_good(tmp_path):
    code, _, err = run("train", *SETTINGS, "trainer.steps=1000", "trainer.stop_after=30", "--out", "run", cwd=tmp_path)
    assert code == 0, err
    code, _, err = finish(start("train", "--resume", "run", cwd=tmp_path, preexec_fn=limit_files))
    assert code == 2
    assert re.search(r"run/checkpoints/\.50\..*generator\.safetensors cannot be written: ", err)
    assert "The last good checkpoint is run/checkpoints/30" in err
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["25", "30"]
    assert newest_checkpoint(tmp_path / "run").step == 30


@pytest.mark.slow
@linux
def test_a_program_that_is_too_large_for_a_quota_is_told_and_leaves_nothing(tmp_path):
    code, _, err = run("train", *SETTINGS, "trainer.steps=1", "--out", "run", cwd=tmp_path)
    assert code == 0, err
    export = ["export", "run", "-n", "20", "--out", "ensemble.pt2"]
    code, _, err = finish(start(*export, cwd=tmp_path, preexec_fn=limit_files))
    assert code == 2, err
    assert err == "hyperframe: ensemble.pt2 cannot be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
