"""`train` on several processes: one folder, one voice, one end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from hyperframe.runs.checkpoints import checkpoint_steps, newest_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

SETTINGS = [
    "trainer.device=cpu",
    "trainer.threads=1",
    "generator.modes=2",
    "trainer.networks=3",
    "trainer.batch_size=4",
    "trainer.log_every=2",
    "trainer.checkpoint_every=4",
    "evaluation.every=4",
    "evaluation.networks=2",
    "evaluation.examples=20",
    "evaluation.test_networks=2",
    "evaluation.analyses=[]",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def torchrun(count, *arguments, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += ["-m", "hyperframe", *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)


def start(count, *arguments, cwd):
    """Start processes as torchrun does, which then is not there to end all of them where one ends."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1]), "WORLD_SIZE": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "hyperframe", *arguments],
            cwd=cwd,
            env={**ENVIRONMENT, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(processes):
    """The exit codes, standard outputs and the lines of the library's messages of all."""
    ends = [process.communicate(timeout=300) for process in processes]
    assert not any("Traceback" in err for _, err in ends), ends
    told = [line for _, err in ends for line in err.splitlines() if line.startswith("hyperframe: ")]
    return [process.returncode for process in processes], [out for out, _ in ends], told


def until(condition, processes, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert all(process.poll() is None for process in processes), finish(processes)
        assert time.monotonic() < end
        time.sleep(0.02)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def digests(folder):
    return {name: measured["sha256"] for name, measured in newest_checkpoint(folder).state["files"].items()}


def test_python_m_hyperframe_is_the_command_whose_threads_sleep_while_they_wait():
    said = {name: value for name, value in ENVIRONMENT.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-m", "hyperframe", "plugins"]
    shown = {"env": {**said, "OMP_DISPLAY_ENV": "VERBOSE"}, "capture_output": True, "text": True}
    done = subprocess.run(command, check=True, **shown)
    assert "digits_cnn" in done.stdout
    assert "GOMP_SPINCOUNT = '0'" in done.stderr
    as_library = subprocess.run([sys.executable, "-c", "import hyperframe"], check=True, **shown)
    assert "GOMP_SPINCOUNT" in as_library.stderr
    assert "GOMP_SPINCOUNT = '0'" not in as_library.stderr


def test_torchrun_trains_one_run_on_two_processes(tmp_path):
    done = torchrun(2, "train", "digits", *SETTINGS, "trainer.steps=6", "--json", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["networks"] == 2
    run = tmp_path / "run"
    assert [line["step"] for line in lines(run) if "loss" in line] == [2, 4, 6]
    assert checkpoint_steps(run) == [4, 6]
    assert json.loads((run / "provenance.json").read_text())["environment"]["processes"] == 2
    assert newest_checkpoint(run).state["gradient_evaluations"] == 6 * 3 * 4
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_goes_on_with_as_many_processes_is_the_same_bit_for_bit(tmp_path):
    whole = ["train", "digits", *SETTINGS, "trainer.steps=6"]
    assert finish(start(2, *whole, "--out", "whole", cwd=tmp_path))[0] == [0, 0]
    assert finish(start(2, *whole, "trainer.stop_after=3", "--out", "parts", cwd=tmp_path))[0] == [0, 0]
    codes, outputs, told = finish(start(2, "train", "--resume", "parts", cwd=tmp_path))
    assert (codes, told) == ([0, 0], [])
    assert outputs[0]
    assert not outputs[1]
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")


def test_a_signal_to_one_process_pauses_all_after_the_same_step(tmp_path):
    processes = start(2, "train", "digits", *SETTINGS, "trainer.steps=1000000", "--out", "run", cwd=tmp_path)
    run = tmp_path / "run"
    until(lambda: checkpoint_steps(run), processes)
    processes[1].send_signal(signal.SIGTERM)
    codes, _, told = finish(processes)
    assert codes == [128 + signal.SIGTERM] * 2
    assert told == []
    last = newest_checkpoint(run).step
    assert last == checkpoint_steps(run)[-1]
    assert all(line["step"] <= last for line in lines(run))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_others_and_one_can_go_on(tmp_path, killed):
    processes = start(2, "train", "digits", *SETTINGS, "trainer.steps=1000000", "--out", "run", cwd=tmp_path)
    run = tmp_path / "run"
    until(lambda: checkpoint_steps(run), processes)
    processes[killed].kill()
    codes, _, told = finish(processes)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 2
    (message,) = [line for line in told if "ended" in line]
    assert message.startswith("hyperframe: another process of this training has ended, or cannot be reached. The last")
    assert f"The last good checkpoint is run/checkpoints/{checkpoint_steps(run)[-1]}; 'hyperframe train" in message
    last = newest_checkpoint(run).step
    assert last == checkpoint_steps(run)[-1]
    (alone,) = start(1, "train", "--resume", "run", "trainer.stop_after=2", cwd=tmp_path)
    codes, _, told = finish([alone])
    assert codes == [0]
    assert any("processes: 2 → null" in line for line in told)
    assert newest_checkpoint(run).step == last + 2


def test_more_processes_than_networks_are_refused_once_and_nothing_is_written(tmp_path):
    codes, outputs, told = finish(start(4, "train", "digits", *SETTINGS, "--out", "run", cwd=tmp_path))
    assert codes == [2] * 4
    assert told == [
        "hyperframe: trainer.networks is 3, and 4 processes are to share them; start no more processes than networks"
    ]
    assert outputs == [""] * 4
    assert list(tmp_path.iterdir()) == []


def test_other_commands_are_refused_once(tmp_path):
    codes, outputs, told = finish(start(2, "plugins", cwd=tmp_path))
    assert (codes, outputs) == ([2, 2], ["", ""])
    assert told == [
        "hyperframe: torchrun has started 2 processes, and of all commands only 'train' shares its work among them; "
        "start 'hyperframe plugins' without torchrun"
    ]
