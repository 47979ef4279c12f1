"""Files that are written whole or not at all, as safetensors and JSON; nothing that is read runs code.

What is read is checked before it takes memory: texts have a largest size, and a safetensors file's header must agree
with the file's length, which the library checks before it makes a tensor.
"""

import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hyperframe.errors import RunError, brief

LARGEST_TEXT = 1 << 20
"""Bytes of a JSON or YAML file at most; those of a run have a few thousand."""

LARGEST_RESULTS = 1 << 28
"""Bytes of what an analysis found at most; a plane of many points or many networks' results have some MiB."""


DEEPEST = 50
"""Levels of a JSON file at most; those of a run have about ten."""

LONGEST_NUMBER = 300
"""Digits of a whole number in a JSON file at most: with a few more, no float could hold it."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing a file into a `RunError` that names it."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else brief(error)
        raise RunError(f"{path} cannot be written: {reason}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says against reading a file or folder into a `RunError` that names it."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or brief(error)}") from error


def contents(folder: Path) -> list[Path]:
    """List what lies in a folder; nothing where there is none. Raises `RunError` where it cannot be read."""
    with reading(folder):
        return sorted(folder.iterdir()) if exists(folder) else []


def user_path(path: str | Path) -> Path:
    """A path that a user gives: `~` and `~name` at its beginning stand for a home folder, as in a shell.

    Example:
        >>> user_path("~") == Path.home(), user_path("runs/~a")
        (True, PosixPath('runs/~a'))
    """
    return Path(os.path.expanduser(path))


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name that none can have is none's."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    return exists(path) and path.is_file()


def partial_of(path: Path) -> Path:
    """Return the place where this process builds a file or folder before it gets its name."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


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


def from_json(text: str) -> dict[str, Any]:
    """Read a text that holds one JSON object, in which numbers are no larger than a float can be.

    Raises:
        ValueError: it holds something else, or is nested so deeply that whoever works through it could not.
    """
    try:
        content = json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected keys and values, but found {type(content).__name__}")  # noqa: TRY004
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        items = (item for value in level for item in (value.values() if isinstance(value, dict) else value))
        level = [item for item in items if isinstance(item, dict | list)]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return content


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"it holds a whole number of {len(digits):,} digits")
    return int(digits)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; folders are made as needed."""
    write_text(path, as_json(content, indent=2) + "\n")


def read_json(path: Path, largest: int = LARGEST_TEXT) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        RunError: there is none, it is larger than `largest` bytes, or it is damaged.
    """
    try:
        return from_json(read_text(path, largest))
    except ValueError as error:
        raise RunError(f"{path} is damaged: {brief(error)}") from error


def kept_json(path: Path, largest: int = LARGEST_TEXT) -> dict[str, Any] | None:
    """Read what `write_json` wrote; None where there is no file or it is damaged, so that it is made anew."""
    if not is_file(path):
        return None
    try:
        return read_json(path, largest)
    except RunError:
        return None


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Read a text file.

    Raises:
        RunError: there is no such file, it is larger than `largest` bytes, or it is no text.
    """
    with reading(path):
        if not path.is_file():  # where that may not be known it says so
            raise RunError(f"there is no file {path}")
        check_size(path, largest)
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RunError(f"{path} cannot be read: {brief(error)}") from error


def check_size(path: Path, largest: int) -> None:
    """Raise `RunError` where a file has more bytes than are read, of which a few on the disk may claim any number."""
    size = path.stat().st_size
    if size > largest:
        raise RunError(f"{path} has {size:,} bytes; at most {largest:,} are read")


def write_text(path: Path, text: str) -> None:
    """Write a text file; folders are made as needed. What is no character (half of one) is written as its number."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; tensors that share memory are written one by one."""
    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        # The format does not know of memory that tensors share, or use in part only.
        if storage.data_ptr() in taken or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        plain[key] = tensor
    with whole_file(path) as partial:
        safetensors.torch.save_file(plain, str(partial), dict(metadata) if metadata else None)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write under; the file appears under its own when all of it is on the disk.

    Who may read it follows from the process' umask, as for any file, whatever library writes it.
    """
    partial = partial_of(path)
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            partial.touch()
            mode = stat.S_IMODE(partial.stat().st_mode)
            yield partial
            if stat.S_IMODE(partial.stat().st_mode) != mode:  # safetensors makes files for their owner alone
                partial.chmod(mode)
            flush(partial)
            partial.replace(path)
            flush(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into; once on the disk it has its own name, which is free, or that of an empty folder."""
    partial = partial_of(path)
    with writing(path):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            flush(partial)
            if path.is_dir():
                path.rmdir()
            partial.rename(path)
            flush(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def opened_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file: names, types and shapes are known, no tensor is read yet.

    Raises:
        RunError: there is no such file, or it is damaged.
    """
    if not is_file(path):
        raise RunError(f"there is no file {path}")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            yield file
    # What the library, and torch beneath it, raise for what a file may claim is no closed list.
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        raise RunError(f"{path} cannot be read: {brief(error)}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
        RunError: there is no such file, or it is damaged.
    """
    with opened_tensors(path) as file:
        # Copied: what the library gives lies in the file, which may be cut or removed while the tensor is used.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (no mapping)


def different_tensors(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Say where tensors differ from those wanted in name, shape or type; None where they do not."""
    for name in [*wanted, *found]:
        if name not in found:
            return f"'{name}' is missing"
        if name not in wanted:
            return f"'{name}' is not known"
        pair = [f"{_type(value)} {list(value.shape)}" for value in (found[name], wanted[name])]
        if pair[0] != pair[1]:
            return f"'{name}' is {pair[0]}, should be {pair[1]}"
    return None


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A text that is another one for other tensors: the beginning of the SHA-256 of names, types, shapes and values.

    Example:
        >>> import torch
        >>> fingerprint({"x": torch.zeros(2)}) == fingerprint({"x": torch.ones(2)})
        False
    """
    whole = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        whole.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        whole.update(memoryview(value.cpu().contiguous().flatten().view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return whole.hexdigest()[:16]


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The SHA-256 of a file, or another digest that `hashlib` knows."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {brief(error)}") from error


def flush(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_new_file(path: Path, endings: Sequence[str], what: str) -> None:
    """Check that something can get this name; raises `RunError` where it ends otherwise, or is taken."""
    if path.suffix not in endings:
        raise RunError(f"{path}: {what} written to a file that ends in {' or '.join(endings)}")
    if exists(path):
        raise RunError(f"{path} exists already; name another file, or remove it")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Check that a file can be written in the folder that is to hold it; raises `RunError`.

    A folder that is missing is made when the file is.
    """
    folder = next((parent for parent in path.absolute().parents if exists(parent)), Path(path.anchor))
    if not folder.is_dir():
        raise RunError(f"{path} cannot be written: {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"{path} cannot be written: the folder {folder} is not writable")
