"""Files that are written whole or not at all, as safetensors and JSON; nothing that is read runs code."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from hyperframe.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing a file into a `RunError` that names it."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunError(f"{path} cannot be written: {reason}") from error


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name that none can have is none's."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    return exists(path) and path.is_file()


def as_json(content: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON text, in which numbers that are not finite become null.

    Example:
        >>> as_json({"nll": float("nan"), "n": 3})
        '{"nll": null, "n": 3}'
    """
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; folders are made as needed."""
    write_text(path, as_json(content, indent=2) + "\n")


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append one line of JSON."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(as_json(content) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file; folders are made as needed."""
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        flush(partial)
        partial.replace(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; tensors that share memory are written one by one."""
    plain = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    with writing(path):
        safetensors.torch.save_file(plain, str(path))
        flush(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        return safetensors.torch.load_file(str(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def flush(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
