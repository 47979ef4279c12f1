"""The task `image_folder`, and images as inputs: what is read, scaled and divided, and what is refused."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import hyperframe as hf
from hyperframe.errors import ConfigError, DataError
from hyperframe.options import read_options
from hyperframe.tasks.own_data.array_files import image_aspects, image_paths, read_images
from hyperframe.types import Task

FAST = {**tiny.PERCEPTRON, "trainer.steps": 3}


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three classes of images of many kinds and sizes."""
    for label, name in enumerate(["ant", "bee", "cat"]):
        own = tmp_path / "images" / name
        own.mkdir(parents=True)
        for number in range(4):
            colour = Image.fromarray(pixels(9 + number, 12, 3, seed=10 * label + number))
            colour.save(own / f"{number}{['.png', '.jpg', '.BMP', '.webp'][number]}")
        Image.fromarray(pixels(20, 7)).save(own / "grey.png")
        (own / "notes.txt").write_text("no image")
    (tmp_path / "images" / ".hidden").mkdir()
    (tmp_path / "images" / "readme.md").write_text("no folder")
    return tmp_path / "images"


def image_task(folder, **options):
    component = hf.api.make_registry().get("task", "image_folder").component
    return component.factory(read_options(component.options, {"folder": folder, **options}, "task"))


def test_a_folder_for_each_class(folder):
    task = image_task(folder, size=[8, 6])
    assert isinstance(task, Task)
    assert (task.classes, task.num_outputs, task.input_shape) == (["ant", "bee", "cat"], 3, (3, 8, 6))
    found = {split: task.data(split) for split in ("train", "validation", "test")}
    assert [len(data) for data in found.values()] == [11, 2, 2]
    for data in found.values():
        assert (data.x.shape[1:], data.x.dtype, data.y.dtype) == ((3, 8, 6), torch.float32, torch.int64)
        assert float(data.x.min()) >= 0
        assert float(data.x.max()) <= 1
        assert len(data.x) == len(data.y)
    assert sorted(torch.cat([data.y for data in found.values()]).tolist()) == [0] * 5 + [1] * 5 + [2] * 5
    assert image_task(folder, size=[8, 6], colours=False).data("test").x.shape == (2, 1, 8, 6)
    same, other = image_task(folder, size=[8, 6]), image_task(folder, size=[8, 6], split_seed=5)
    assert torch.equal(same.data("train").x, found["train"].x)
    assert not torch.equal(other.data("train").x, found["train"].x)


def test_training_on_images(folder, hyperframe):
    settings = {**FAST, "target.input_shape": [3, 8, 6], "target.outputs": 3, "task": "image_folder"}
    texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    code, out, _ = hyperframe("train", *texts, "task.folder=images", "task.size=[8,6]", "--out", "run", "--json")
    assert code == 0
    assert json.loads(out)["examples"] == 2
    code, out, _ = hyperframe("predict", "run", "images/cat", "images/ant/0.png", "-n", 3, "--json")
    rows = json.loads(out)["examples"]
    names = [f"images/cat/{name}" for name in ("0.png", "1.jpg", "2.BMP", "3.webp", "grey.png")]
    assert [row["example"] for row in rows] == [*names, "images/ant/0.png"]
    assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-5) for row in rows)


def test_pixels_that_need_no_scaling_are_kept(tmp_path):
    colour, grey = pixels(5, 4, 3), pixels(5, 4)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    wanted = torch.from_numpy(colour.astype(np.float32) / 255).permute(2, 0, 1)
    assert torch.equal(read_images([tmp_path / "colour.png"], (3, 5, 4))[0], wanted)
    wanted = torch.from_numpy(grey.astype(np.float32) / 255)
    assert torch.equal(read_images([tmp_path / "grey.png"], (1, 5, 4))[0, 0], wanted)
    assert torch.equal(read_images([tmp_path / "grey.png"], (3, 5, 4))[0], wanted.expand(3, 5, 4))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_of_eight_bits_is_read(tmp_path, mode):
    image = Image.fromarray(pixels(6, 7, 3)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode in ("LA", "RGBA"):
        image.putalpha(255)
    image.save(path, **({"transparency": bytes([255] * 256)} if mode == "P" else {}))
    for channels in (1, 3):
        assert read_images([path], (channels, 4, 4)).shape == (1, channels, 4, 4)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L", "RGB"])
def test_what_is_transparent_is_laid_on_white(tmp_path, mode):
    shown = np.zeros((4, 6), np.uint8)
    if mode in ("LA", "RGBA"):  # black, seen through on its left half, and half seen through in one column
        image = Image.fromarray(shown).convert(mode)
        image.putalpha(Image.fromarray(np.repeat(np.uint8([[0, 0, 0, 51, 255, 255]]), 4, 0)))
        image.save(tmp_path / "a.png")
        wanted = [1, 1, 1, 0.8, 0, 0]
    else:  # one colour of it is none
        shown[:, :3] = 9
        image = Image.fromarray(shown).convert(mode)
        image.save(tmp_path / "a.png", transparency=(9, 9, 9) if mode == "RGB" else 0 if mode == "P" else 9)
        wanted = [1, 1, 1, 0, 0, 0] if mode != "P" else None
    with pytest.warns(hf.errors.HyperframeWarning, match=r"^1 of 1 images are transparent and laid on white, .*a\.png"):
        found = read_images([tmp_path / "a.png"], (3, 4, 6))[0]
    if wanted is None:
        assert float(found.max()) == 1
    else:
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float32).expand(3, 4, 6), rtol=0, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_camera_says(tmp_path, orientation):
    shown = pixels(5, 8)
    flips = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.T,
        6: np.rot90(shown, 1),
        7: np.rot90(shown, 2).T,
        8: np.rot90(shown, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(flips[orientation]))
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_images([tmp_path / "a.png"], (1, 5, 8))[0, 0], torch.from_numpy(shown).float() / 255)
    assert image_aspects([tmp_path / "a.png"]) == [8 / 5]


def claims(width):
    """A PNG file that claims a size and holds a thousand bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def file_of(image, **how):
    content = io.BytesIO()
    image.save(content, **how)
    return content.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
PNG, JPEG = (file_of(Image.fromarray(pixels(40, 40, 3)), format=name) for name in ("PNG", "JPEG"))
BAD_IMAGES = [
    (PNG[: len(PNG) // 2], "cannot be read as an image"),
    (JPEG[: len(JPEG) // 2], "cannot be read as an image"),
    (PNG[:-60] + bytes(10) + PNG[-50:], "cannot be read as an image"),
    (b"", "cannot be read as an image"),
    (b"no image", "cannot be read as an image"),
    (EPS, "cannot be read as an image"),
    (file_of(Image.fromarray(pixels(4, 4).astype(np.uint16) * 256), format="PNG"), "more than 8 bits a channel"),
    (file_of(Image.fromarray(pixels(4, 4).astype(np.float32)), format="TIFF"), "more than 8 bits a channel"),
    (claims(12_000), r"is too large: 12000 × 12000 pixels"),
    (claims(10**9), "exceeds limit"),
]


@pytest.mark.parametrize(("content", "message"), BAD_IMAGES)
def test_images_that_are_refused(tmp_path, content, message):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=f"bad.png.*{message}"):
        read_images([tmp_path / "bad.png"], (3, 8, 8))


def test_an_eps_file_is_not_even_looked_for(tmp_path):
    (tmp_path / "a.eps").write_bytes(EPS)
    with pytest.raises(DataError, match="holds no images"):
        image_paths(tmp_path)


@pytest.mark.parametrize("shape", [(784,), (4, 8, 8), (3, 8)])
def test_inputs_that_are_no_images(tmp_path, shape):
    (tmp_path / "a.png").write_bytes(PNG)
    with pytest.raises(DataError, match=r"images have the shape \[1 or 3, height, width\], but inputs here are"):
        read_images([tmp_path / "a.png"], shape)


def test_images_for_which_there_is_no_room(folder):
    with pytest.raises(DataError, match=r"is too large: [\d,]+ MiB of memory are needed"):
        image_task(folder, size=[10**6, 10**6]).data("train")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda path: None, {"folder": None}, "needs a folder: set task.folder"),
        (lambda path: None, {"folder": "absent"}, "there is no folder absent"),
        (lambda path: None, {"size": [8]}, "size: expected a height and a width, but got 1 number$"),
        (lambda path: None, {"size": [8, 0]}, "task.size: expected a list of whole numbers, at least 1"),
        (lambda path: (path / "dog").mkdir(), {}, "dog holds no images"),
        (lambda path: (path / "bee").rename(path.parent / "away"), {"folder": "images/ant"}, "holds 0 folders"),
        (lambda path: None, {"test": 0}, "the split 'test' would be empty"),
    ],
)
def test_folders_that_make_no_task(folder, monkeypatch, change, options, message):
    monkeypatch.chdir(folder.parent)
    change(folder)
    with pytest.raises((DataError, ConfigError), match=message):
        image_task(**{"folder": folder, **options})


def test_a_broken_image_stops_a_training_before_it_begins(folder, hyperframe, tmp_path):
    for name in ("ant", "bee", "cat"):
        for path in (folder / name).glob("*.*"):
            path.write_bytes(path.read_bytes()[:30])
    settings = {**FAST, "target.input_shape": [3, 8, 6], "target.outputs": 3, "task": "image_folder"}
    texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    code, out, err = hyperframe("train", *texts, "task.folder=images", "task.size=[8,6]", "--out", "run")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot be read as an image" in err
    assert not (tmp_path / "run").exists()
