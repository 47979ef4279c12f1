"""Ensembles written as programs, which run without hyperframe: of `torch.export`, or in the ONNX format.

A program takes `x` [examples, *input_shape], for any number of examples, and gives `prediction` [examples, *outputs],
the mean of all networks' predictions, and `members` [networks, examples, *outputs], which say how far they agree.

    from torch.export import load
    prediction, members = load("ensemble.pt2").module()(x)

    from onnxruntime import InferenceSession
    prediction, members = InferenceSession("ensemble.onnx").run(None, {"x": x})

Of a task with several heads both are mappings by the heads' names. The ONNX format has no mappings: there the outputs
are called `prediction.HEAD`, for all heads in their order, and then `members.HEAD`.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hyperframe.errors import RunError, brief
from hyperframe.networks.ensemble import Ensemble
from hyperframe.networks.storage import absent_or_empty
from hyperframe.runtime.files import check_new_file, user_path, whole_file

INPUT, OUTPUTS = "x", ("prediction", "members")
HEADER = "hyperframe"
"""The key of what a file says of itself, as JSON: where its networks come from, shapes, names of classes."""

LARGEST_ONNX = 2**31 - 2**24
"""Bytes of tensors: a file of the format holds at most 2 GiB."""

EXAMPLES = 3
"""Examples that a program is traced on; another number than any layer is likely to have."""


class _Program(nn.Module):
    """The module that is written: it gives the mean prediction, and those of all networks."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        return self.ensemble.mean_and_members(x)


class _Unfailing(io.FileIO):
    """A file that keeps why it cannot be written, instead of raising it: torch's writer would end the process then.

    Attributes:
        failure: what the system said; None where all is written.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        left = memoryview(content)
        try:
            while left and self.failure is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return len(content)


def is_program(path: str | Path) -> bool:
    """Whether a program is to be written to a path, or a folder; the path is checked.

    Raises:
        RunError: neither can be, as where it has the ending of another format.

    Example:
        >>> is_program("ensemble.onnx"), is_program("ensemble")
        (True, False)
    """
    ending = user_path(path).suffix
    if ending in _WRITERS:
        check_program(path)
        return True
    if ending[1:].isalpha():
        raise RunError(
            f"{path}: an ensemble is written to a file that ends in {' or '.join(_WRITERS)}, or to a folder, whose "
            "name has no ending"
        )
    absent_or_empty(path)
    return False


def check_program(path: str | Path) -> Path:
    """Check that a program can be written to a file, and return its path.

    Raises:
        RunError: it ends otherwise, exists, cannot be written, or what writes it is not installed.
    """
    file = user_path(path)
    check_new_file(file, tuple(_WRITERS), "an ensemble is")
    missing = [name for name in ("onnx", "onnxscript") if file.suffix == ".onnx" and find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        raise RunError(f"{file}: ONNX needs {needed}; install 'hyperframe-nn[onnx]', or write a .pt2 file")
    return file


def write_program(path: str | Path, ensemble: Ensemble, example: Tensor, origin: Mapping[str, Any]) -> Path:
    """Write an ensemble as a program; see the module's description.

    Args:
        path: the file, which must not exist: .pt2, a program of `torch.export`, or .onnx.
        ensemble: on the CPU.
        example: inputs that its networks take, [examples, *input_shape].
        origin: what the file says of the networks, plain data.

    Returns:
        The file.

    Raises:
        RunError: the file cannot be written, or the networks cannot be made a program.
    """
    file = check_program(path)
    content = {**origin, "input_shape": list(ensemble.input_shape), **_outputs(ensemble, example)}
    inputs = (example[torch.arange(EXAMPLES) % len(example)],)
    with whole_file(file) as partial, _quiet():
        _WRITERS[file.suffix](partial, _Program(ensemble).eval(), inputs, json.dumps(content), file)
    return file


def _outputs(ensemble: Ensemble, example: Tensor) -> dict[str, Any]:
    """Describe predictions for the file's header: how many, at which places, and names of classes; of heads by name."""
    if ensemble.layout is not None:
        shapes = {name: list(shape) for name, shape in ensemble.layout.shapes.items()}
        return {"heads": shapes, "classes": {name: list(classes) for name, classes in ensemble.classes.items()}}
    outputs, *places = ensemble(example).shape[1:]
    known = {"outputs": outputs, "classes": list(ensemble.classes)}
    return {**known, "output_places": places} if places else known


def _output_names(ensemble: Ensemble) -> list[str]:
    """The names of a program's outputs, one after the other."""
    if ensemble.layout is None:
        return list(OUTPUTS)
    return [f"{name}.{head}" for name in OUTPUTS for head in ensemble.layout.shapes]


def _write_torch(partial: Path, program: _Program, inputs: tuple[Tensor], content: str, file: Path) -> None:
    with _told_of(file):
        exported = torch.export.export(program, inputs, dynamic_shapes=_any_number())
    with _Unfailing(partial, "wb") as opened:  # by its name alone torch would tell that it is another format
        torch.export.save(exported, opened, extra_files={HEADER: content})
        if opened.failure is not None:
            raise opened.failure


def _write_onnx(partial: Path, program: _Program, inputs: tuple[Tensor], content: str, file: Path) -> None:
    held = {id(value): value.nbytes for value in (*program.parameters(), *program.buffers())}
    if sum(held.values()) > LARGEST_ONNX:
        raise RunError(
            f"{file}: the networks take {sum(held.values()) / 2**30:.1f} GiB, and an ONNX file holds at most 2; take "
            "fewer networks, or write a .pt2 file"
        )
    with _told_of(file):
        written = torch.onnx.export(
            program,
            inputs,
            dynamo=True,
            dynamic_shapes=_any_number(),
            input_names=[INPUT],
            output_names=_output_names(program.ensemble),
            verbose=False,
        )
    assert written is not None  # as no file was named
    written.model.metadata_props[HEADER] = content
    written.save(partial, external_data=False)


_WRITERS: dict[str, Callable[[Path, _Program, tuple[Tensor], str, Path], None]] = {
    ".pt2": _write_torch,
    ".onnx": _write_onnx,
}


def _any_number() -> dict[str, dict[int, Any]]:
    """Let programs take any number of examples."""
    return {INPUT: {0: torch.export.Dim("examples")}}


@contextmanager
def _told_of(file: Path) -> Iterator[None]:
    """Raise `RunError` where torch cannot make a program of the networks."""
    try:
        yield
    except Exception as error:  # what exporters raise is no closed list
        raise RunError(
            f"{file}: the networks cannot be written as a program: {brief(error)}. 'hyperframe sample' writes their "
            "weights for any module of theirs"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own reports, which are for those who write exporters."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
