"""Folders that appear whole."""

import pytest

from hyperframe.errors import RunError
from hyperframe.runtime.files import whole_folder


def write(folder):
    with whole_folder(folder) as partial:
        (partial / "new").write_text("new")
        assert not (folder / "new").exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_appears_under_a_free_name_or_in_an_empty_ones_place(tmp_path, is_there):
    folder = tmp_path / "folder"
    if is_there:
        folder.mkdir()
    write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_folder_that_holds_something_stays_as_it_is(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(RunError):
        write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in folder.iterdir()] == ["old"]
