"""300 damaged files of all kinds: each loads, falls back, or gives one clear error, in little memory.

`pytest tests/system/test_damage.py --damaged-files 20000` damages more.
"""

import json
import re
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import damage
import numpy as np
import pytest

from hyperframe.config.overrides import read_yaml
from hyperframe.errors import ConfigError, DataError
from hyperframe.runs.checkpoints import checkpoint_steps
from hyperframe.tasks.own_data.array_files import read_arrays

LARGEST_GROWTH = 300
"""MiB that a process may grow while it reads damaged files, of a few kB each before, and what commands import."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux to measure and limit memory")


@pytest.mark.slow
@linux
@pytest.mark.parametrize("part", [0, 1])
def test_damaged_files_load_fall_back_or_are_refused(tmp_path, part, request):
    files = request.config.getoption("--damaged-files") // 2
    command = [sys.executable, damage.__file__, str(tmp_path), str(files), str(part)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["wrong"] == []
    assert found["growth"] < LARGEST_GROWTH
    answers = [
        (kind, sort, answer) for kind, sorts in found["counts"].items() for sort in sorts for answer in sorts[sort]
    ]
    total = Counter()
    for kind, sort, answer in answers:
        total[answer] += found["counts"][kind][sort][answer]
    assert total.total() == files
    assert set(damage.READ) < {kind for kind, _, _ in answers}
    assert {sort for _, sort, _ in answers} == {"bytes", "encoding", "size", "values", "keys", "depth", "links"}
    assert min(total.values()) > files / 50, total  # it is damage that is read, and not all of it is fatal
    changed = {answer for kind, sort, answer in answers if kind in ("generator", "trainer") and sort != "links"}
    assert changed == {"fell back"}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return damage.Campaign(tmp_path_factory.mktemp("damage"), 0)


def breaks(campaign, path):
    raise KeyError("x")


def hangs(campaign, path):
    time.sleep(60)


def warns(campaign, path):
    warnings.warn("careless", RuntimeWarning, stacklevel=1)


def writes_elsewhere(campaign, path):
    (campaign.outside / "x.npy").write_bytes((campaign.outside / "x.npy").read_bytes())


def removes_elsewhere(campaign, path):
    (campaign.outside / "run" / "config.yaml").unlink()


def makes_something_elsewhere(campaign, path):
    (campaign.folder / "new").mkdir()


CARELESS = {
    breaks: "KeyError",
    hangs: "it takes longer than 1 s",
    warns: "warning careless",
    writes_elsewhere: "changed outside: .*outside/x.npy",
    removes_elsewhere: "changed outside: .*outside/run/config.yaml",
    makes_something_elsewhere: "changed outside: .*new",
}


@pytest.mark.slow
@pytest.mark.parametrize("careless", CARELESS)
def test_a_careless_reader_is_found(campaign, careless, monkeypatch):
    monkeypatch.setattr(damage, "LONGEST", 1)
    before = {path.name: path.read_bytes() for path in campaign.inside.iterdir() if path.is_file()}
    monkeypatch.setitem(campaign.kinds, "x.npy", (campaign.inside / "x.npy", partial(careless, campaign)))
    campaign.counts.clear()
    campaign.wrong.clear()
    campaign.one("x.npy")
    assert [list(answers) for answers in campaign.counts["x.npy"].values()] == [["wrong"]]
    assert re.search(CARELESS[careless], campaign.wrong[0])
    assert {path.name: path.read_bytes() for path in campaign.inside.iterdir() if path.is_file()} == before
    assert checkpoint_steps(campaign.run.folder) == [2, 4]


def dies(out):
    raise SystemExit(1)


def shows_a_traceback(out):
    print("Traceback (most recent call last):", file=sys.stderr)
    raise SystemExit(2)


def says_nothing(out):
    raise SystemExit(2)


def obeys_a_run(out):
    print("\x1b[31m")


def names_nothing(out):
    print("hyperframe: it is damaged", file=sys.stderr)
    raise SystemExit(2)


@pytest.mark.slow
@pytest.mark.parametrize("careless", [dies, shows_a_traceback, says_nothing, obeys_a_run, names_nothing])
def test_a_careless_command_is_found(campaign, careless, monkeypatch):
    monkeypatch.setattr(damage, "run_command_line", lambda: careless(campaign.table))
    campaign.counts.clear()
    campaign.one("run metrics")
    assert [list(answers) for answers in campaign.counts["run metrics"].values()] == [["wrong"]]


def test_a_file_that_claims_to_be_huge_takes_no_memory(tmp_path):
    with (tmp_path / "claim.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (10**12,), "fortran_order": False, "descr": "<f4"})
        file.write(b"little")
    with pytest.raises(DataError, match="its header claims 4,000,000,000,000 bytes of numbers, there are 6"):
        read_arrays(tmp_path / "claim.npy", ["x"])


def test_a_small_archive_that_unpacks_to_more_than_there_is_room_for(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1000, 1000)), y=np.arange(1000))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 5 * 2**20)
    with pytest.raises(DataError, match="too large: 15 MiB of memory are needed, 5 MiB are free"):
        read_arrays(tmp_path / "bomb.npz", ["x", "y"])


@pytest.mark.slow
def test_a_small_archive_that_would_take_minutes(tmp_path):
    for name, write in (("bomb.npz", np.savez_compressed), ("plain.npz", np.savez)):
        write(tmp_path / name, x=np.zeros((2**26 + 1,), np.float32), y=np.arange(9))
    with pytest.raises(DataError, match=r"bomb\.npz, x\.npy unpacks from .* write the file with numpy\.savez, which"):
        read_arrays(tmp_path / "bomb.npz", ["x", "y"])
    assert read_arrays(tmp_path / "plain.npz", ["x", "y"])["x"].nbytes > 2**28
    assert list(read_arrays(tmp_path / "bomb.npz", ["y"])) == ["y"]


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.savez(tmp_path / "own.npz", x=np.array([Code()], dtype=object), y=np.arange(1))
    np.save(tmp_path / "own.npy", np.array([Code()], dtype=object))
    for name in ("own.npz", "own.npy"):
        with pytest.raises(DataError, match="holds Python objects, which could run code"):
            read_arrays(tmp_path / name, ["x", "y"])
    assert not (tmp_path / "ran").exists()


def test_names_in_a_file_are_no_paths(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive, archive.open("../../x.npy", "w") as file:
        np.lib.format.write_array(file, np.zeros(3))
    assert read_arrays(tmp_path / "own.npz", ["x"]) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [1, 1]\nb: [*a, *a]\n", r"aliases such as '\*a' are not allowed"),
        ("task: ${oc.env:HOME}\n", "interpolations such as .* are not allowed"),
        ("task: {name: mnist, folder: '${oc.env:HOME}'}\n", "interpolations such as .* are not allowed"),
        ("a: !!python/object/apply:os.system [ls]\n", "tags such as 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !!pairs [a: 1]\n", "tags such as 'tag:yaml.org,2002:pairs' are not allowed"),
        ("a: " + "[" * 60_000, "nested more than 10 levels deep"),
        ("a: 1\n" * 100_000, "at most 65,536 are read"),
        ("\x00", "cannot be read"),
    ],
)
def test_configurations_that_could_do_harm(tmp_path, text, message):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "own.yaml")
