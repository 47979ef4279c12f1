"""Links in a run folder, which may come from anybody: what writes or removes there follows none of them."""

import os
import stat
from pathlib import Path

from hyperframe.errors import RunError


def inside(folder: Path, *names: str) -> Path:
    """A path in a folder that may be written and removed: nothing from the folder down to it is a link.

    The folder itself may be one, since whoever names it has chosen it.

    Raises:
        RunError: something on the way is a link, which would lead out of the folder.

    Example:
        >>> inside(Path("runs/a"), "checkpoints", "500").as_posix()
        'runs/a/checkpoints/500'
    """
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            raise RunError(
                f"{path} is a link to {os.readlink(path)}, and nothing is written or removed through a link in a run "
                f"folder; put what it leads to in its place, or remove it"
            )
    return path


def lock_of(folder: Path, name: str) -> Path:
    """Return the path of a folder's lock; taking the lock empties the file, so it may be no link and hold nothing.

    Raises:
        RunError: something else has its name.
    """
    path = inside(folder, name)
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:  # there is none, or taking it says why not
        return path
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        raise RunError(f"{path} is not the empty file that keeps others out of {folder}; remove it")
    return path
