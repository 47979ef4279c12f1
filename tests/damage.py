"""Damages files of all kinds and reads them: each must load, fall back, or give one clear error, in little memory.

    python tests/damage.py FOLDER FILES SEED

prints, as JSON, how often a file of each kind loaded, was passed over for an older one, or was refused; whatever else
happened, under `wrong`; and how many MiB the process has grown.
"""

import json
import random
import resource
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import hyperframe as hf
from hyperframe.api import installed
from hyperframe.arrayfiles import read_arrays
from hyperframe.checkpoints import _measure, _own_digest, newest_checkpoint, read_checkpoint
from hyperframe.files import read_json, write_json, write_tensors
from hyperframe.listing import list_runs
from hyperframe.metrics import MetricsLog
from hyperframe.owncode import OwnCode
from hyperframe.owndata import OwnOptions, own_task
from hyperframe.predictions import read_inputs
from hyperframe.run import load_run, restore
from hyperframe.training import Training

ROOM = 2**30
SETTINGS = {
    "trainer.device": "cpu",
    "trainer.steps": 4,
    "trainer.z": 4,
    "trainer.images": 4,
    "trainer.checkpoint_every": 2,
    "evaluation.every": 2,
    "evaluation.networks": 4,
    "evaluation.images": 20,
    "generator.extractor": [8],
    "generator.weight_generators": [8],
}


class Constant(torch.nn.Module):
    """A target with a constant, which is kept with the run."""

    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.zeros(64))
        self.out = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.out(x.flatten(1) + self.shift)


class Damages:
    """The ways to damage a file's bytes."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def __call__(self, content):
        return self.random.choice(
            [self.flip, self.flip, self.cut, self.swap, self.repeat, self.zero, self.header, self.nothing, self.text]
        )(bytearray(content))

    def place(self, content):
        """A place in the content, as likely in its first bytes as in all others, since headers stand there."""
        return self.random.randrange(min(len(content), self.random.choice([8, 300, len(content)])))

    def flip(self, content):
        for _ in range(self.random.choice([1, 1, 3, 30])):
            content[self.place(content)] ^= 1 << self.random.randrange(8)
        return content

    def cut(self, content):
        return content[: self.random.randrange(len(content))]

    def swap(self, content):
        a, b, size = self.place(content), self.place(content), self.random.randrange(1, 40)
        content[a : a + size], content[b : b + size] = content[b : b + size], content[a : a + size]
        return content

    def repeat(self, content):
        place = self.place(content)
        return content[:place] + content[place : place + 50] * self.random.choice([2, 100]) + content[place:]

    def zero(self, content):
        place = self.place(content)
        content[place : place + 20] = bytes(len(content[place : place + 20]))
        return content

    def header(self, content):
        """A first number that claims as much as there can be, or a text in which sizes are huge."""
        if self.random.random() < 0.5:
            content[:8] = self.random.choice([2**63, 2**40, 10**8, 2**31, len(content)]).to_bytes(8, "little")
            return content
        digits = self.random.choice([b"9", b"0", b"-"])
        changed = (digits if 49 <= byte <= 57 and self.random.random() < 0.3 else bytes([byte]) for byte in content)
        return bytearray(b"".join(changed))

    def text(self, content):
        """Something a parser may choke on, in place of a piece."""
        pieces = [
            b"[" * 5000,
            b"{" * 5000,
            b'"',
            b"\xff\xfe",
            b"NaN",
            b"1" * 5000,
            b"&a *a ",
            b"${oc.env:HOME}",
            b"!!python/object:x ",
            b"- ",
        ]
        place = self.place(content)
        return content[:place] + self.random.choice(pieces) + content[place + self.random.randrange(8) :]

    def nothing(self, content):
        return bytearray()


def sign(folder):
    """Give a checkpoint the digests of its files as they are now, as whoever made the file on purpose would."""
    path = folder / "state.json"
    state = read_json(path)
    state.pop("sha256")
    state["files"] = {name: _measure(folder / name) for name in state["files"]}
    write_json(path, {**state, "sha256": _own_digest(state)})


class Campaign:
    """One run and its files, the readers, and the count of what happened."""

    def __init__(self, folder, seed):
        self.damage, self.folder = Damages(seed), folder
        self.counts, self.wrong = {}, []
        layer = hf.LayerSpec(name="out", filters=10, params=[hf.kernel("out.weight", "o i"), hf.bias("out.bias")])
        spec = hf.TargetSpec(name="constant", input_shape=(1, 8, 8), num_outputs=10, layers=[layer], logits="out")
        self.own = {"module": Constant(), "spec": spec}
        self.run = hf.train("digits", SETTINGS, out=folder / "run", **self.own)
        self.registry = installed([OwnCode(self.own["module"], spec, None)])
        self.training = Training(self.run, self.registry, None)
        self.run.write_samples(folder / "samples.safetensors", 3)
        x = np.random.default_rng(0).random((20, 5), dtype=np.float32)
        self.y = np.arange(20) % 3
        np.savez(folder / "plain.npz", x=x, y=self.y)
        np.savez_compressed(folder / "small.npz", x=x, y=self.y)
        np.save(folder / "x.npy", x)
        write_tensors(folder / "x.safetensors", {"x": torch.from_numpy(x), "y": torch.from_numpy(self.y)})
        for suffix in ("png", "jpg"):
            Image.fromarray((x[:, :1] * 255).astype(np.uint8).repeat(20, 1)).save(folder / f"image.{suffix}")
        last = self.run.folder / "checkpoints" / "4"
        self.kinds = {
            "generator": (last / "generator.safetensors", self.checkpoint),
            "trainer": (last / "trainer.safetensors", self.checkpoint),
            "state": (last / "state.json", self.checkpoint),
            "signed generator": (last / "generator.safetensors", self.signed),
            "signed trainer": (last / "trainer.safetensors", self.signed),
            "config": (self.run.folder / "config.yaml", self.load),
            "provenance": (self.run.folder / "provenance.json", self.load),
            "constants": (self.run.folder / "target.safetensors", self.checkpoint),
            "metrics": (self.run.folder / "metrics.jsonl", self.metrics),
            "samples": (folder / "samples.safetensors", self.run.read_samples),
            "plain.npz": (folder / "plain.npz", self.arrays),
            "small.npz": (folder / "small.npz", self.arrays),
            "x.npy": (folder / "x.npy", self.arrays),
            "x.safetensors": (folder / "x.safetensors", self.arrays),
            "image.png": (folder / "image.png", lambda path: read_inputs([path], (1, 8, 8))),
            "image.jpg": (folder / "image.jpg", lambda path: read_inputs([path], (3, 8, 8))),
        }

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

    def one(self, kind):
        """Damage a file, read it, and put it back."""
        path, read = self.kinds[kind]
        original = path.read_bytes()
        others = (path.parent / "state.json").read_bytes() if "signed" in kind else b""
        damaged = original
        while damaged == original:  # a swap of equal bytes, or zeros over zeros, is no damage
            damaged = bytes(self.damage(original))
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answer = self.answer(read, path)
                list_runs(self.folder)
            strange = [str(item.message) for item in caught if not issubclass(item.category, hf.HyperframeWarning)]
            if strange:
                self.wrong.append(f"{kind}: warning {strange[0]}")
            if answer == "loaded" and caught:
                answer = "fell back"
        except BaseException as error:  # noqa: BLE001  (what is wrong is counted)
            (self.folder / f"wrong-{len(self.wrong)}").write_bytes(damaged)
            self.wrong.append(f"{kind}: {''.join(traceback.format_exception(error))[-1500:]}")
            answer = "wrong"
        finally:
            path.write_bytes(original)
            if others:
                (path.parent / "state.json").write_bytes(others)
            for path in self.run.folder.glob("**/.*.partial"):
                path.unlink()
        self.counts.setdefault(kind, {}).setdefault(answer, 0)
        self.counts[kind][answer] += 1

    def answer(self, read, path):
        try:
            read(path)
        except hf.HyperframeError as error:
            if len(str(error)) > 1500:
                self.wrong.append(f"a message of {len(str(error))} letters: {str(error)[:300]}")
            return "refused"
        return "loaded"


def status(name):
    """A figure of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def main(folder, files, seed):
    torch.set_num_threads(1)
    campaign = Campaign(Path(folder), seed)
    kinds = list(campaign.kinds)
    for kind in kinds:  # what is loaded on first use is no growth
        campaign.one(kind)
    before = status("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + ROOM,) * 2)
    for number in range(files - len(kinds)):
        campaign.one(kinds[number % len(kinds)])
    growth = (status("VmHWM") - before) // 2**20
    print(json.dumps({"counts": campaign.counts, "wrong": campaign.wrong, "growth": growth}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
