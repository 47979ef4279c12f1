"""Several processes that train together do what one does, and end together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import STEPS, one_of, steps_of_all, steps_on_devices, trained_in_steps

from hyperframe.api import make_registry
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, DeviceError
from hyperframe.experiment.build import build_experiment, resolve_device
from hyperframe.runtime.distributed import ALONE, Processes, started


@given(st.integers(1, 9), st.integers(0, 30))
def test_shares_are_blocks_of_all_networks_and_differ_by_one_at_most(count, spare):
    total = count + spare
    shares = [range(total)[Processes(rank=rank, count=count).rows(total)] for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, ALONE),
        ({"WORLD_SIZE": "1", "RANK": "0"}, ALONE),
        ({"WORLD_SIZE": "2"}, ALONE),
        ({"WORLD_SIZE": "two", "RANK": "1"}, ALONE),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, Processes(rank=3, count=4, local_rank=1)),
    ],
)
def test_what_the_environment_says_of_processes(monkeypatch, variables, found):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert started() == found


def test_each_process_takes_a_cuda_device_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    processes = [Processes(rank=rank, count=3, local_rank=rank) for rank in range(3)]
    for name in ("auto", "cuda"):
        assert [resolve_device(name, one).index for one in processes[:2]] == [0, 1]
        with pytest.raises(
            DeviceError, match=r"process 3 on this machine finds no CUDA device of its own, torch finds 2"
        ):
            resolve_device(name, processes[2])
    with pytest.raises(DeviceError, match=r"each of 3 processes takes a CUDA device of its own, and 'cuda:0' is one"):
        resolve_device("cuda:0", processes[0])
    assert resolve_device("cpu", processes[2]) == torch.device("cpu")


def test_more_processes_than_networks_are_refused():
    config = load_config("digits", ["trainer.device=cpu", "trainer.networks=8"], make_registry())
    with pytest.raises(ConfigError, match=r"trainer.networks is 8, and 9 processes are to share them"):
        build_experiment(config, processes=Processes(rank=0, count=9))


@pytest.fixture(scope="module")
def shared_steps(tmp_path_factory):
    """The results of all trainings' steps in two processes."""
    folder = tmp_path_factory.mktemp("steps")
    torch.multiprocessing.spawn(one_of, (2, str(folder), steps_of_all), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_steps_of_two_processes_are_those_of_one(shared_steps, name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wanted = trained_in_steps(name)
    for found in (states[name] for states in shared_steps):
        assert found.keys() == wanted.keys()
        for key in wanted.keys() - {"stream.global"}:  # from which several processes draw seeds of their own
            assert torch.allclose(found[key].double(), wanted[key].double(), rtol=1e-10, atol=1e-10), key


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_all_processes_have_the_same_bits(shared_steps, name):
    first, second = (states[name] for states in shared_steps)
    for key in first:
        assert torch.equal(first[key], second[key]), key


@pytest.mark.slow
def test_processes_draw_numbers_of_their_own_and_the_same_ones_afterwards(shared_steps):
    first, second = (states["drawn"] for states in shared_steps)
    assert not (first["own"] == second["own"]).any()
    assert not (first["stream"] == second["stream"]).any()
    assert torch.equal(first["after"], second["after"])


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_steps_of_two_processes_on_two_devices_are_those_of_one(tmp_path):
    torch.multiprocessing.spawn(one_of, (2, str(tmp_path), steps_on_devices), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", map_location="cpu") for rank in range(2))
    for name in STEPS:
        wanted = trained_in_steps(name, device="cuda")
        for key in wanted:
            assert torch.equal(first[name][key], second[name][key]) or key.startswith("stream"), key
            if not key.startswith("stream"):
                assert torch.allclose(first[name][key].double(), wanted[key].double().cpu(), rtol=1e-8, atol=1e-8), key
