"""Seeds of independent streams of random numbers, and random numbers that leave the caller's alone."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

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
