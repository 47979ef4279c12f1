"""Who may read what the framework writes follows from the umask, as for any other program's files."""

import os
import stat

import pytest
import tiny
import torch

import hyperframe as hf
from hyperframe.analysis.distillation.distill import distill
from hyperframe.errors import RunError
from hyperframe.runtime.files import whole_file, write_tensors

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems have no umask")


@pytest.fixture
def masked(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder):
    return {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("masked", [0o022, 0o077], indirect=True, ids=oct)
def test_every_file_of_a_run_and_all_that_it_gives(tmp_path, hyperframe, masked):
    run = hf.train("digits", {**tiny.CHECKED, "target": "mlp", "target.hidden": [6]}, out=tmp_path / "run")
    run.evaluate()
    run.write_samples(tmp_path / "networks.safetensors", 2)
    run.write_state_dicts(tmp_path / "split", 2)
    distill(run, tmp_path / "one.safetensors", "average")
    assert hyperframe("predict", "run", "run/x.npy", "--out", "a.npz")[0] == 2  # nothing is left of what fails
    write_tensors(tmp_path / "deep" / "x.safetensors", {"x": run.data("test").x[:3]})
    for name in ("a.npz", "b.safetensors"):
        assert hyperframe("predict", "run", "deep/x.safetensors", "--out", name)[0] == 0
    assert hyperframe("analyse", "run", "unit_diversity")[0] == 0
    found = modes(tmp_path)
    assert {"generator.safetensors", "trainer.safetensors", "network_00001.safetensors", "a.npz"} <= {
        path.name for path in found
    }
    for path, mode in found.items():
        assert mode == (0o777 if path.is_dir() else 0o666) & ~masked, f"{path} has {oct(mode)}"


@pytest.mark.parametrize("masked", [0o022], indirect=True)
def test_a_file_that_is_written_again_or_was_left_half(tmp_path, masked):
    path = tmp_path / "a.safetensors"
    path.touch(0o600)
    (tmp_path / f".{path.name}.{os.getpid()}.partial").touch(0o400)
    write_tensors(path, {"x": torch.ones(2)})
    assert modes(tmp_path) == {path: 0o644}
    with pytest.raises(RunError), whole_file(path):
        raise OSError(28, "No space left on device")
    assert modes(tmp_path) == {path: 0o644}
