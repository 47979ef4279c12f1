"""2,000 damaged files of all kinds: each loads, falls back, or gives one clear error, in little memory.

`pytest tests/test_damage.py --damaged-files 20000` damages more.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import damage
import numpy as np
import pytest

from hyperframe.arrayfiles import read_arrays
from hyperframe.checkpoints import checkpoint_steps
from hyperframe.errors import ConfigError, DataError
from hyperframe.overrides import read_yaml

LARGEST_GROWTH = 200
"""MiB that a process may grow while it reads damaged files of a few kB each."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux to measure and limit memory")


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
    counts = found["counts"]
    assert sum(sum(kind.values()) for kind in counts.values()) == files
    total = {
        answer: sum(kind.get(answer, 0) for kind in counts.values()) for answer in ("loaded", "fell back", "refused")
    }
    assert min(total.values()) > files / 50, total  # it is damage that is read, and not all of it is fatal
    assert all(counts[kind].get("fell back", 0) == sum(counts[kind].values()) for kind in ("generator", "trainer"))


def test_a_reader_that_breaks_would_be_found(tmp_path):
    campaign = damage.Campaign(tmp_path, 0)
    before = (tmp_path / "x.npy").read_bytes()

    def careless(path):
        raise KeyError("x")

    campaign.kinds["x.npy"] = (tmp_path / "x.npy", careless)
    campaign.one("x.npy")
    assert campaign.counts == {"x.npy": {"wrong": 1}}
    assert "KeyError" in campaign.wrong[0]
    assert (tmp_path / "x.npy").read_bytes() == before
    assert checkpoint_steps(campaign.run.folder) == [2, 4]


def test_a_file_that_claims_to_be_huge_takes_no_memory(tmp_path):
    with (tmp_path / "claim.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (10**12,), "fortran_order": False, "descr": "<f4"})
        file.write(b"little")
    with pytest.raises(DataError, match="its header claims 4,000,000,000,000 bytes of numbers, there are 6"):
        read_arrays(tmp_path / "claim.npy", ["x"])


def test_a_small_archive_that_unpacks_to_more_than_there_is_room_for(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1000, 1000)), y=np.arange(1000))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000
    monkeypatch.setattr("hyperframe.memory.available_memory", lambda: 5 * 2**20)
    with pytest.raises(DataError, match="too large: 15 MiB of memory are needed, 5 MiB are free"):
        read_arrays(tmp_path / "bomb.npz", ["x", "y"])


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
        ("a: " + "[" * 200_000, "nested more than 10 levels deep"),
        ("a: 1\n" * 100_000, "at most 262,144 are read"),
        ("\x00", "cannot be read"),
    ],
)
def test_configurations_that_could_do_harm(tmp_path, text, message):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "own.yaml")
