"""Links in a run folder: nothing is written, renamed or removed through them."""

import json

import pytest

import hyperframe as hf
from hyperframe.errors import RunError
from hyperframe.runtime.files import DEEPEST, from_json
from hyperframe.runtime.links import inside, lock_of


def snapshot(folder):
    """Every file below a folder, with its bytes and the time of its last change."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def linked(tmp_path, small):
    """Make one part of a paused run a link to the same outside of it; returns the run and what is outside."""

    def make(part):
        run = small(tmp_path / "run", trainer__stop_after=4)
        (run.folder / "analyses").mkdir(exist_ok=True)
        outside = tmp_path / "outside"
        outside.mkdir()
        (run.folder / part).rename(outside / "kept")
        (run.folder / part).symlink_to(outside / "kept")
        return run.folder, outside

    return make


@pytest.mark.parametrize("part", ["checkpoints", "metrics.jsonl"])
def test_a_run_does_not_go_on_through_a_link(linked, part):
    folder, outside = linked(part)
    before = snapshot(outside)
    with pytest.raises(RunError, match=f"{part} is a link to .* nothing is written or removed through a link"):
        hf.resume(folder)
    assert snapshot(outside) == before


def test_an_analysis_does_not_write_through_a_link(linked, hyperframe):
    folder, outside = linked("analyses")
    before = snapshot(outside)
    code, _, err = hyperframe("analyse", str(folder), "accuracies")
    assert code == 2
    assert "is a link to" in err
    assert "Traceback" not in err
    assert snapshot(outside) == before


@pytest.mark.slow
def test_a_linked_run_folder_itself_is_the_users_choice(linked, tmp_path):
    folder, _ = linked("metrics.jsonl")
    (folder / "metrics.jsonl").unlink()
    (tmp_path / "elsewhere").symlink_to(folder)
    assert hf.resume(tmp_path / "elsewhere").finished


def test_a_lock_is_an_empty_file(tmp_path):
    assert lock_of(tmp_path, ".lock") == tmp_path / ".lock"
    (tmp_path / ".lock").write_text("mine")
    with pytest.raises(RunError, match="is not the empty file"):
        lock_of(tmp_path, ".lock")
    (tmp_path / "link").symlink_to(tmp_path / ".lock")
    with pytest.raises(RunError, match="is a link"):
        inside(tmp_path, "link", "below")


@pytest.mark.parametrize("levels", [DEEPEST + 1, 500, 980, 100_000])
def test_deep_json_is_refused(levels):
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = '{"a":' + levels * opening + "1" + levels * closing + "}"
        with pytest.raises(ValueError, match="nested more than"):
            from_json(text)


def test_numbers_that_no_float_holds_are_refused():
    for digits in ("9" * 400, "-" + "9" * 5000):
        with pytest.raises(ValueError, match="a whole number of"):
            from_json(f'{{"loss": {digits}}}')
    assert from_json(json.dumps({"seed": 10**299})) == {"seed": 10**299}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metrics.jsonl", "provenance.json", "task.json"])
@pytest.mark.parametrize(
    "text", ['{"a":' + 900 * "[" + 900 * "]" + "}", '{"step": ' + 400 * "9" + "}", '{"a": "\\ud800"}']
)
def test_one_damaged_run_does_not_hide_the_others(tmp_path, small, hyperframe, name, text):
    for number in range(2):
        small(tmp_path / "runs" / f"run{number}", trainer__steps=2)
    (tmp_path / "runs" / "run0" / name).write_text(text)
    code, out, err = hyperframe("runs", str(tmp_path / "runs"))
    assert code == 0, err
    assert "Traceback" not in out + err
    assert "run1" in out
