"""Standard streams: other encodings, closed ones, a terminal that is gone, and what others' texts may do to it."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
import yaml

from hyperframe.runs.checkpoints import checkpoint_steps, read_checkpoint
from hyperframe.runtime.terminal import Console, printable

LAUNCHER = "import hyperframe_launcher; hyperframe_launcher.main()"
MENDED = "from hyperframe_launcher.streams import mend_streams; mend_streams(); "
SHORT = [
    "trainer.device=cpu",
    "trainer.threads=1",
    "generator.modes=2",
    "trainer.networks=2",
    "trainer.batch_size=4",
    "evaluation.networks=2",
]


def python(program, *arguments, encoding="utf-8", **options):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=False, **options)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "latin-1:strict"])
def test_what_an_encoding_lacks_is_written_as_its_number(encoding):
    ran = python(MENDED + r"import sys; print('θ → ±\udcff'); print('θ', file=sys.stderr)", encoding=encoding)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == rb"\u03b8 \u2192 \xb1\udcff" + b"\n"
    assert ran.stderr == rb"\u03b8" + b"\n"


def test_utf_8_stays_as_it_is():
    ran = python(MENDED + r"print('θ → ±\udcff')")
    assert ran.stdout.decode() == "θ → ±\\udcff\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["config"], ["describe"], ["plugins"]])
def test_commands_in_another_encoding(command):
    ran = python(LAUNCHER, *command, encoding="cp1252")
    assert ran.returncode == 0, ran.stderr
    if command == ["config"]:
        assert yaml.safe_load(ran.stdout.decode("utf-8"))["task"]["name"] == "digits"


def test_a_file_never_gets_the_number_of_a_stream_that_is_closed(tmp_path):
    program = MENDED + "file = open('own', 'w'); print(file.fileno()); import os; os.write(2, b'message')"
    command = f'exec {sys.executable} -c "{program}" 2>&-'
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert int(ran.stdout) > 2
    assert (tmp_path / "own").read_text() == ""


def test_messages_that_cannot_be_written_cost_nothing():
    program = MENDED + "import sys; print('a', file=sys.stderr, flush=True); print('b')"
    ran = subprocess.run(
        ["sh", "-c", f'exec {sys.executable} -c "{program}" 2>/dev/full'], capture_output=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, b"b\n")


@pytest.mark.slow
def test_a_training_with_standard_error_closed(tmp_path):
    command = [sys.executable, "-c", LAUNCHER, "train", *SHORT, "trainer.steps=2", "evaluation.test_networks=2"]
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command, "--out", "run", "--json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["networks"] == 2
    assert read_checkpoint(tmp_path / "run", 2).step == 2


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_a_terminal_that_is_closed_ends_a_training_that_is_saved_first(tmp_path):
    ours, theirs = pty.openpty()
    take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    command = [sys.executable, "-c", take + LAUNCHER, "train", *SHORT, "trainer.steps=1000000", "trainer.log_every=1"]
    process = subprocess.Popen(
        [*command, "--out", "run"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size > 500):
        assert process.poll() is None
        try:
            os.read(ours, 1 << 16)
        except BlockingIOError:
            time.sleep(0.05)
    os.close(ours)
    assert process.wait(timeout=120) == 128 + signal.SIGHUP
    (step,) = checkpoint_steps(tmp_path / "run")
    assert read_checkpoint(tmp_path / "run", step).step == step > 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("\x07\r\x9b", "\\x07\\r\\x9b"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\udcff"),
        ("two\nlines\tof θ", "two\nlines\tof θ"),
    ],
)
def test_control_characters_are_written_out(text, shown, capsys):
    assert printable(text) == shown
    Console(width=80).print(text, markup=False, soft_wrap=True)
    assert "\x1b" not in capsys.readouterr().out


def test_a_foreign_run_does_not_command_the_terminal(tmp_path, hyperframe):
    run = tmp_path / "runs" / "theirs\x1b]0;title\x07"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text('{trainer: {steps: 9}, target: {name: "\\e[2J"}, task: {name: "\\e[31mdigits"}}')
    (run / "metrics.jsonl").write_text('{"step": 1, "failed": "\\u001b[2Jbad"}\n')
    code, out, err = hyperframe("runs", tmp_path / "runs")
    assert code == 0
    assert "failed" in out
    for command in (["evaluate", run], ["train", "--resume", run], ["runs", run]):
        code, more, messages = hyperframe(*command)
        out, err = out + more, err + messages
    assert "\\x1b" in out
    assert "\\x1b" in err
    assert not {"\x1b", "\x07"} & set(out + err)
