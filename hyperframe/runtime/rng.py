"""Seeds of independent streams of random numbers, and random numbers that leave the caller's alone."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def stream_seed(seed: int, stream: str) -> int:
    """The seed of one stream: what one seed gives to different streams, or two seeds to one, has nothing in common.

    Example:
        >>> stream_seed(0, "latent") == stream_seed(0, "data")
        False
    """
    digest = hashlib.sha256(f"{stream}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator of its own for a stream, on a device."""
    return torch.Generator(device).manual_seed(stream_seed(seed, name))


@contextmanager
def seeded(seed: int, name: str, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed the global random numbers of the CPU and of one device; they come back as they were."""
    place = torch.device(device)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        seed_global(seed, name, place)
        yield


def seed_global(seed: int, name: str, device: torch.device) -> None:
    """Seed the global random numbers of the CPU and of one device, and of no other one."""
    torch.default_generator.manual_seed(stream_seed(seed, name))  # torch.manual_seed seeds every CUDA device there is
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(stream_seed(seed, name))


@contextmanager
def repeatable(device: torch.device | str = "cpu") -> Iterator[None]:
    """Global random numbers, of torch, Python and NumPy, that are the same each time; afterwards they are as before."""
    pythons, numpys = random.getstate(), np.random.get_state()
    try:
        with seeded(0, "probe", device):
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)


def random_states(device: torch.device | str) -> list[Any]:
    """The states of all global sources of random numbers, of torch, a device, Python and NumPy, as plain data."""
    on_device = torch.cuda.get_rng_state(device).tolist() if torch.device(device).type == "cuda" else None
    state: Any = np.random.get_state()
    numpys = [part.tolist() if isinstance(part, np.ndarray) else part for part in state]
    return [torch.get_rng_state().tolist(), on_device, random.getstate(), numpys]


class RandomState:
    """The global random numbers of the CPU and of one device as they stand now, to be drawn once more.

    Example:
        >>> state = RandomState("cpu")
        >>> first = torch.rand(3)
        >>> with state.again():
        ...     torch.equal(torch.rand(3), first)
        True
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers inside; afterwards they go on as if nothing had been drawn."""
        with torch.random.fork_rng(devices=[self._device] if self._cuda is not None else []):
            torch.set_rng_state(self._cpu)
            if self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield
