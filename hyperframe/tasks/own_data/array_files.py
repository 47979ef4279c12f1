"""Arrays and images from a user's files: read without running code, their sizes checked before memory is taken."""

import math
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hyperframe.errors import DataError, RunError, brief, notice
from hyperframe.runtime.files import exists, is_file, opened_tensors
from hyperframe.runtime.memory import missing_memory

T = TypeVar("T")

ARRAY_FILES = (".npz", ".npy", ".safetensors")
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""Formats that are decoded; others can start programs (EPS)."""
LARGEST_IMAGE = 100_000_000
"""Pixels of one image at most."""


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a .npz or .safetensors file; a .npy file holds one, "x".

    Raises:
        DataError: there is no such file, it is none of these, or it is damaged.
    """
    return _read(path, _names)


LARGEST_UNPACKED, MOST_PACKED = 1 << 28, 500
"""Bytes up to which an array in an archive may unpack to anything, and what of its size in the archive beyond that."""


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read those of the named arrays that a file holds.

    Args:
        path: a .npz, .npy (one array, which gets the first name) or .safetensors file.
        names: which arrays.

    Raises:
        DataError: there is no such file, it is none of these, it is damaged, or there is no room for what it holds.
    """
    return _read(path, lambda path: _arrays(path, names))


def _names(path: Path) -> list[str]:
    if path.suffix == ".safetensors":
        with opened_tensors(path) as file:
            return sorted(file.keys())
    if path.suffix == ".npy":
        return ["x"]
    with zipfile.ZipFile(path) as archive:
        return sorted(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return _safetensors(path, names)
    with warnings.catch_warnings(action="ignore"):  # of how old a file is
        return _npz(path, names) if path.suffix == ".npz" else _npy(path, names[0])


def _read(path: Path, read: Callable[[Path], T]) -> T:
    """Read something of a file of arrays; whatever goes wrong is told as a `DataError`."""
    if not is_file(path):
        raise DataError(f"there is no file {path}")
    if path.suffix not in ARRAY_FILES:
        raise DataError(f"{path}: expected a file that ends in {', '.join(ARRAY_FILES)}")
    try:
        return read(path)
    except DataError:
        raise
    except RunError as error:
        raise DataError(str(error)) from error
    # What zip, its decompressors and numpy raise for a damaged file is no closed list.
    except Exception as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {brief(error)}") from error


def _safetensors(path: Path, names: Sequence[str]) -> dict[str, Tensor]:
    with opened_tensors(path) as file:
        held = [name for name in names if name in set(file.keys())]
        _check_room(path, 2 * path.stat().st_size)
        return {name: file.get_tensor(name) for name in held}


def _npz(path: Path, names: Sequence[str]) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        members = {name: f"{name}.npy" for name in names if f"{name}.npy" in archive.namelist()}
        sizes = 0
        for member in members.values():
            _check_packing(archive.getinfo(member), f"{path}, {member}")
            with archive.open(member) as file:
                sizes += _check_header(file, archive.getinfo(member).file_size, f"{path}, {member}")
        _check_room(path, 2 * sizes)
        arrays = {}
        for name, member in members.items():
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
                file.read(1)  # the end, where its checksum is compared
    return arrays


def _check_packing(member: zipfile.ZipInfo, where: str) -> None:
    """Refuse a large array that is next to nothing when it is packed: a small file would cost minutes of work."""
    if member.file_size > LARGEST_UNPACKED and member.file_size > MOST_PACKED * member.compress_size:
        raise DataError(
            f"{where} unpacks from {member.compress_size:,} bytes to {member.file_size:,}, more than {MOST_PACKED} "
            "times as many; if that is meant, write the file with numpy.savez, which does not compress"
        )


def _npy(path: Path, name: str) -> dict[str, Any]:
    with path.open("rb") as file:
        _check_room(path, 2 * _check_header(file, path.stat().st_size, str(path)))
        file.seek(0)
        return {name: np.lib.format.read_array(file, allow_pickle=False)}


def _check_header(file: IO[bytes], size: int, where: str) -> int:
    """Compare what an array's header claims with the number of bytes there are; return the array's bytes."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise DataError(f"{where}: version {version} of the format is not read")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, which could run code; expected numbers")
    claimed, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed != there:
        raise DataError(f"{where} is damaged: its header claims {claimed:,} bytes of numbers, there are {there:,}")
    return claimed


def _check_room(path: Path, needed: int) -> None:
    missing = missing_memory(needed)
    if missing:
        raise DataError(f"{path} is too large: {missing}")


def image_paths(path: Path) -> list[Path]:
    """The images that a path stands for: itself, or all that lie in a folder, by name.

    Raises:
        DataError: there are none.
    """
    if exists(path) and path.is_dir():
        found = [file for file in entries(path) if file.suffix.lower() in IMAGE_FILES and file.is_file()]
        if not found:
            raise DataError(f"folder {path} holds no images ({', '.join(IMAGE_FILES)})")
        return found
    if not is_file(path):
        raise DataError(f"there is no file {path}")
    return [path]


def entries(folder: Path) -> list[Path]:
    """List a folder, by name; raises `DataError` where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror or error}") from error


def read_images(paths: Sequence[Path], shape: Sequence[int]) -> Tensor:
    """Read images, scaled to one size: float32 [images, channels, height, width] in [0, 1].

    A camera's note on how an image is to be turned (EXIF) is followed. What is transparent is laid on white, as
    programs that show images do, and a notice says so.

    Args:
        paths: the files.
        shape: channels (1: grey, 3: colours), height and width.

    Raises:
        DataError: a file is no image, is damaged or too large; the shape is none of an image; there is no room for all.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(f"images have the shape [1 or 3, height, width], but inputs here are {list(shape)}")
    _check_room(Path(paths[0]).parent, 2 * 4 * len(paths) * math.prod(shape))
    images = torch.empty(len(paths), *shape)
    transparent = []
    for number, path in enumerate(paths):
        images[number], through = _image(path, shape)
        transparent += [path] if through else []
    if transparent:
        notice(f"{len(transparent)} of {len(paths)} images are transparent and laid on white, such as {transparent[0]}")
    return images


def _image(path: Path, shape: Sequence[int]) -> tuple[Tensor, bool]:
    """An image [channels, height, width], and whether one sees through any of it."""
    from PIL import Image, ImageOps  # noqa: PLC0415  (comes with torchvision)

    channels, height, width = shape
    through = False
    try:
        # What PIL only warns of is refused below, or is of no matter here.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise DataError(f"{path} is too large: {image.width} × {image.height} pixels")
            if image.mode.startswith(("I", "F")):  # converting would clip it
                raise DataError(f"{path} has more than 8 bits a channel; save it with 8")
            plain: Image.Image = ImageOps.exif_transpose(image)
            if plain.has_transparency_data:
                layer = plain.convert("RGBA")
                through = layer.getchannel("A").getextrema() != (255, 255)
                plain = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer) if through else plain
            plain = plain.convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(plain.resize((width, height), Image.Resampling.BILINEAR))
    except DataError:
        raise
    # As above: a decoder's errors are no closed list.
    except Exception as error:
        raise DataError(f"{path} cannot be read as an image: {type(error).__name__}: {brief(error)}") from error
    values = torch.from_numpy(pixels.astype(np.float32) / 255).reshape(height, width, channels)
    return values.permute(2, 0, 1), through


def image_aspects(paths: Sequence[Path]) -> list[float]:
    """Width over height of images as they are shown, which only their headers are read for.

    Raises:
        DataError: a file is no image.
    """
    from PIL import ExifTags, Image  # noqa: PLC0415  (comes with torchvision)

    aspects = []
    for path in paths:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path, formats=IMAGE_FORMATS) as image:
                aspect = image.width / image.height
                lies = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        except Exception as error:
            raise DataError(f"{path} cannot be read as an image: {type(error).__name__}: {brief(error)}") from error
        aspects.append(1 / aspect if lies else aspect)
    return aspects
