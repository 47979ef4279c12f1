"""Damage files of all kinds and read them: each must load, fall back, or give one clear error, in little memory.

    python tests/damage.py FOLDER FILES SEED

prints JSON: for each kind of file and each sort of damage, how often the file loaded, was read with a notice (for
example replaced by an older one), or was refused; under `wrong` anything else, such as a traceback, a change of a file
elsewhere, or a command that hangs; and by how many MiB the process has grown.
"""

import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from mutations import SPARSE, Damages, tells_of
from PIL import Image

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.cli.main import run_command_line
from hyperframe.cli.prediction_files import read_inputs
from hyperframe.config.in_memory import OwnCode
from hyperframe.runs.checkpoints import _measure, _own_digest, newest_checkpoint, read_checkpoint
from hyperframe.runs.listing import list_runs
from hyperframe.runs.loading import load_run, restore
from hyperframe.runs.metrics_log import MetricsLog
from hyperframe.runtime.files import read_json, write_json, write_tensors
from hyperframe.tasks.own_data.array_files import read_arrays
from hyperframe.tasks.own_data.arrays import OwnOptions, own_task
from hyperframe.training.loop import Training

ROOM = 2**30
LONGEST = 60
"""Seconds after which a reader counts as hanging; the slowest takes two, on a busy machine."""
LONGEST_MESSAGE, LONGEST_OUTPUT = 1500, 20_000
"""The most characters of a message, and of all that a command prints."""
OFTEN = 4
"""How many files are read by functions, which are fast, for each one that a command reads."""
STRANGE = re.compile(r"Traceback|\w+Warning:|[\x00-\x08\x0b-\x1f\x7f]")
"""Text that a user must never see."""
SETTINGS = {
    "trainer.device": "cpu",
    "trainer.steps": 4,
    "trainer.networks": 4,
    "trainer.batch_size": 4,
    "trainer.checkpoint_every": 2,
    "evaluation.every": 2,
    "evaluation.networks": 4,
    "evaluation.examples": 20,
}
OF_MODULE = {"generator.extractor": [8], "generator.weight_generators": [8]}
OF_TABLE = {"target": "mlp", "target.hidden": [4], "generator": "mlp", "generator.hidden": [8]}
OF_TABLE |= {"task": "arrays", "evaluation.test_networks": 4}

OF_REPORT = ["--analysis", "ensembles,pca", "ensembles.draws=2"]
COMMANDS = {
    "runs": ["runs", "{runs}"],
    "runs as JSON": ["runs", "{runs}", "--json"],
    "evaluate": ["evaluate", "{run}"],
    "analyse": ["analyse", "{run}", "ensembles", "ensembles.draws=2"],
    "other": ["analyse", "{runs}/other", "accuracies", "accuracies.other={run}"],
    "predict": ["predict", "{run}", "{folder}/inputs.npy", "-n", "2"],
    "sample": ["sample", "{run}", "-n", "2", "--out", "{run}/new.safetensors"],
    "best": ["sample", "{run}", "-n", "2", "--checkpoint", "best", "--split", "{run}/new"],
    "compare": ["compare", "{run}", "{runs}/other", "-n", "2"],
    "report": ["report", "{run}", *OF_REPORT, "--out", "{run}/new.html"],
    "again": ["report", "{run}", "--analysis", "accuracies", "--again"],
    "resume": ["train", "--resume", "{run}", "trainer.steps=6", "trainer.max_seconds=10"],
}
"""The commands that read a run's files."""

LOADING = ["evaluate", "predict", "sample", "best", "compare", "resume"]
LAST = "checkpoints/4"
READ = {
    "run config": ("config.yaml", ["runs", "runs as JSON", "report", *LOADING]),
    "signed run config": ("config.yaml", [*LOADING]),
    "run task": ("task.json", [*LOADING]),
    "run inputs": ("inputs.json", ["predict", "sample", "resume"]),
    "run provenance": ("provenance.json", ["report", *LOADING]),
    "run metrics": ("metrics.jsonl", ["runs", "runs as JSON", "compare", "resume"]),
    "run state": (f"{LAST}/state.json", ["runs", *LOADING]),
    "signed run state": (f"{LAST}/state.json", ["runs", *LOADING]),
    "run generator": (f"{LAST}/generator.safetensors", LOADING),
    "run trainer": (f"{LAST}/trainer.safetensors", ["resume", "sample"]),
    "signed run trainer": (f"{LAST}/trainer.safetensors", ["resume"]),
    "run checkpoint": (LAST, ["runs", *LOADING]),
    "run checkpoints": ("checkpoints", ["runs", *LOADING]),
    "run analyses": ("analyses", ["evaluate", "report", "analyse", "again"]),
    "run analysis": ("analyses/ensembles", ["analyse", "report"]),
    "run evaluation": ("analyses/evaluation/results.json", ["report", "evaluate"]),
    "run results": ("analyses/ensembles/results.json", ["report", "analyse"]),
    "run points": ("analyses/pca/pca.json", ["report"]),
    "run picture": ("analyses/ensembles/accuracy.png", ["report", "analyse"]),
    "run report": ("report.html", ["again", "report"]),
    "run all results": ("results.json", ["again", "report"]),
    "run TensorBoard": ("tensorboard", ["resume"]),
    "run lock": (".lock", ["runs", "resume", "evaluate"]),
    "run as a whole": (
        ".",
        ["runs", "other", "predict", "compare"],
    ),  # of what writes, a link there is the user's choice
}
"""Kinds of files and folders of the table's run, and the commands that read each."""


class Constant(torch.nn.Module):
    """A target with a constant, which is kept with the run."""

    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.zeros(64))
        self.out = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.out(x.flatten(1) + self.shift)


def sign(folder, **changes):
    """Give a checkpoint the digests of its damaged files, as somebody would who made them on purpose.

    Files that cannot be read, or are endless, are not signed.
    """
    path = folder / "state.json"
    files = [folder / name for name in ("generator.safetensors", "trainer.safetensors")]
    if not all(file.is_file() and file.stat().st_size < SPARSE for file in files):
        return
    with suppress(hf.HyperframeError, OSError):
        state = {**read_json(path), **changes}
        state.pop("sha256", None)
        state["files"] = {file.name: _measure(file) for file in files}
        write_json(path, {**state, "sha256": _own_digest(state)})


class Campaign:
    """Two runs and other files, the readers of each, and counts of the outcomes.

    One run has a module and data that were handed over, and its files are read by the library's functions. The other is
    of a table, and commands read it, so that their output and their files are checked as well.
    """

    def __init__(self, folder, seed):
        self.folder, self.inside, self.outside = folder, folder / "inside", folder / "outside"
        self.random = random.Random(seed)
        self.counts, self.wrong = {}, []
        self._make_run()
        self._make_files()
        self._make_table()
        for copy in (self.outside, folder / "pristine"):
            shutil.copytree(self.inside, copy)
        self.damage = Damages(seed, self.inside, self.outside)
        self.good = snapshot(self.inside)
        self.kinds = self._read_by_functions() | self._read_by_commands()

    def _make_run(self):
        layer = hf.targets.LayerSpec(
            name="out", filters=10, params=[hf.targets.kernel("out.weight", "o i"), hf.targets.bias("out.bias")]
        )
        spec = hf.targets.TargetSpec(
            name="constant", input_shape=(1, 8, 8), num_outputs=10, layers=[layer], logits="out"
        )
        self.own = {"module": Constant(), "spec": spec}
        self.run = hf.train("digits_hypernetwork", SETTINGS | OF_MODULE, out=self.inside / "run", **self.own)
        self.registry = make_registry([OwnCode(self.own["module"], spec, None)])
        self.training = Training(self.run, hf.Reporter())
        self.run.write_samples(self.inside / "samples.safetensors", 3)

    def _make_files(self):
        x = np.random.default_rng(0).random((20, 5), dtype=np.float32)
        self.y = np.arange(20) % 3
        np.savez(self.inside / "plain.npz", x=x, y=self.y)
        np.savez_compressed(self.inside / "small.npz", x=x, y=self.y)
        np.save(self.inside / "x.npy", x)
        write_tensors(self.inside / "x.safetensors", {"x": torch.from_numpy(x), "y": torch.from_numpy(self.y)})
        for suffix in ("png", "jpg"):
            Image.fromarray((x[:, :1] * 255).astype(np.uint8).repeat(20, 1)).save(self.inside / f"image.{suffix}")

    def _make_table(self):
        """Make a run of a table, with all files that commands write into its folder; its data lies elsewhere."""
        x = np.random.default_rng(1).normal(3, 2, (40, 5)).astype(np.float32)
        np.savez(self.folder / "data.npz", x=x, y=np.array(["ant", "bee", "cat"])[np.arange(40) % 3])
        np.save(self.folder / "inputs.npy", x[:3])
        (self.inside / "runs").mkdir()
        self.table = self.inside / "runs" / "table"
        settings = SETTINGS | OF_TABLE | {"task.file": str(self.folder / "data.npz")}
        hf.train("digits_hypernetwork", settings, out=self.table)
        hf.train("digits_hypernetwork", settings, out=self.inside / "runs" / "other")
        for command in (COMMANDS["evaluate"], COMMANDS["analyse"], ["report", "{run}", *OF_REPORT]):
            answer, err = self.execute(command)
            assert answer == "loaded", err

    def _read_by_functions(self):
        last = self.run.folder / "checkpoints" / "4"
        return {
            "generator": (last / "generator.safetensors", self.checkpoint),
            "trainer": (last / "trainer.safetensors", self.checkpoint),
            "state": (last / "state.json", self.checkpoint),
            "signed generator": (last / "generator.safetensors", self.signed),
            "signed trainer": (last / "trainer.safetensors", self.signed),
            "config": (self.run.folder / "config.yaml", self.load),
            "provenance": (self.run.folder / "provenance.json", self.load),
            "constants": (self.run.folder / "target.safetensors", self.checkpoint),
            "metrics": (self.run.folder / "metrics.jsonl", self.metrics),
            "samples": (self.inside / "samples.safetensors", self.run.read_samples),
            "plain.npz": (self.inside / "plain.npz", self.arrays),
            "small.npz": (self.inside / "small.npz", self.arrays),
            "x.npy": (self.inside / "x.npy", self.arrays),
            "x.safetensors": (self.inside / "x.safetensors", self.arrays),
            "image.png": (self.inside / "image.png", lambda path: read_inputs([path], (1, 8, 8))),
            "image.jpg": (self.inside / "image.jpg", lambda path: read_inputs([path], (3, 8, 8))),
        }

    def _read_by_commands(self):
        kinds = {}
        for kind, (path, commands) in READ.items():
            kinds[kind] = (self.table / path, partial(self.command, commands))
        return kinds

    def checkpoint(self, path):
        restore(self.run.folder, newest_checkpoint(self.run.folder), self.run.experiment)

    def signed(self, path):
        sign(path.parent)
        found = read_checkpoint(self.run.folder, 4)
        restore(self.run.folder, found, self.run.experiment)
        self.training.trainer.restore(4, found.trainer(), same_device=True)

    def load(self, path):
        load_run(self.run.folder, self.registry, "cpu")

    def metrics(self, path):
        MetricsLog(self.run.folder, 3).__exit__()

    def arrays(self, path):
        arrays = read_arrays(path, ["x", "y"])
        own_task("mine", {"y": self.y, **arrays}, OwnOptions())

    def command(self, names, path):
        """Read a damaged file by one of the commands; return how it ended."""
        name = self.random.choice(names)
        answer, err = self.execute(COMMANDS[name])
        if answer == "refused" and not tells_of(err, path):
            self.wrong.append(f"{name}, {path.name}: a message that names nothing: {err[:500]}")
        return answer

    def execute(self, command):
        """Run a command in this process as the program does; return how it ended and its standard error."""
        places = {"run": self.table, "runs": self.table.parent, "folder": self.folder}
        arguments = ["hyperframe", *(part.format(**places) for part in command)]
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        code = 0
        with patch.object(sys, "argv", arguments), redirect_stdout(out), redirect_stderr(err):
            try:
                run_command_line()
            except SystemExit as stop:
                code = stop.code or 0
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
        if code not in (0, 2):
            raise AssertionError(f"{arguments}: exit code {code}: {texts[1]}")
        if code == 2 and not texts[1].rpartition("hyperframe: ")[2].strip():
            raise AssertionError(f"{arguments}: exit code 2 without a message")
        if max(map(len, texts[1].splitlines()), default=0) > LONGEST_MESSAGE or len(texts[0]) > LONGEST_OUTPUT:
            raise AssertionError(f"{arguments}: {list(map(len, texts))} letters: {texts[1][:2000]}, {texts[0][:1000]}")
        found = STRANGE.search("".join(texts))
        if found:
            raise AssertionError(f"{arguments}: {found[0]!r} in {''.join(texts)}")
        told = "fell back" if "hyperframe: " in texts[1] else "loaded"
        return ("refused" if code else told), texts[1]

    def one(self, kind):
        """Damage a file, read it, and put it back; all other files must stay as they are."""
        path, read = self.kinds[kind]
        sort = self.damage(path)
        damaged = path.read_bytes() if path.is_file() and path.stat().st_size < SPARSE else b""
        if kind.startswith("signed run"):
            sign(self.table / LAST, **({"kept": None} if path.suffix == ".yaml" else {}))
        before, known = snapshot(self.folder, self.inside), len(self.wrong)
        signal.signal(signal.SIGALRM, self._hangs)
        signal.alarm(LONGEST)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answer = self.answer(read, path)
                list_runs(self.run.folder.parent)
            strange = [str(item.message) for item in caught if not issubclass(item.category, hf.HyperframeWarning)]
            if strange:
                self.wrong.append(f"{kind}: warning {strange[0]}")
            if answer == "loaded" and caught:
                answer = "fell back"
        except BaseException as error:  # noqa: BLE001  (what is wrong is counted)
            self.wrong.append(f"{kind}, {sort}: {''.join(traceback.format_exception(error))[-3000:]}")
        finally:
            signal.alarm(0)
        changed = different(before, snapshot(self.folder, self.inside))
        if changed:
            self.wrong.append(f"{kind}, {sort}: changed outside: {changed}")
            self._put_back(self.outside, self.outside.iterdir())
        if len(self.wrong) > known:
            (self.folder / f"wrong-{len(self.wrong)}").write_bytes(damaged)
            print("\n".join(self.wrong[known:]), file=sys.stderr)
            answer = "wrong"
        self._put_back(
            self.inside, {self.inside / name.parts[0] for name in different(self.good, snapshot(self.inside))}
        )
        self.good = snapshot(self.inside)
        counts = self.counts.setdefault(kind, {}).setdefault(sort, {})
        counts[answer] = counts.get(answer, 0) + 1

    def _hangs(self, *signal_and_frame):
        self.wrong.append(f"it takes longer than {LONGEST} s")
        raise TimeoutError("it hangs")

    def _put_back(self, folder, paths):
        """Put files and folders back as they were, from the copy."""
        for path in list(paths):
            original = self.folder / "pristine" / path.relative_to(folder)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if original.is_dir():
                shutil.copytree(original, path)
            elif original.exists():
                shutil.copy2(original, path)

    def answer(self, read, path):
        try:
            told = read(path)
        except hf.HyperframeError as error:
            if len(str(error)) > LONGEST_MESSAGE:
                self.wrong.append(f"a message of {len(str(error))} letters: {str(error)[:300]}")
            return "refused"
        return told if isinstance(told, str) else "loaded"


def snapshot(folder, left_out=None):
    """Return all files below a folder, but those in `left_out`, with attributes that change when a file is written."""
    found = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(where, name) != left_out]
        for name in (".", *folders, *files):
            path = Path(where, name)
            known = path.lstat()
            if path != folder:
                found[path.relative_to(folder)] = (known.st_ino, known.st_mode, known.st_size, known.st_mtime_ns)
    return found


def different(before, after):
    """Return the paths on which two snapshots differ."""
    return sorted({path for path in {*before, *after} if before.get(path) != after.get(path)})


def status(name):
    """Return a number from the process' status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def main(folder, files, seed):
    torch.set_num_threads(1)
    campaign = Campaign(Path(folder), seed)
    kinds = [*OFTEN * [kind for kind in campaign.kinds if kind not in READ], *READ]
    for kind in dict.fromkeys(kinds):  # what is loaded on first use is no growth
        campaign.one(kind)
    before = status("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + ROOM,) * 2)
    for number in range(files - len(campaign.kinds)):
        campaign.one(kinds[number % len(kinds)])
    growth = (status("VmHWM") - before) // 2**20
    print(json.dumps({"counts": campaign.counts, "wrong": campaign.wrong, "growth": growth}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
