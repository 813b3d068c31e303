"""Files that are replaced as a whole: whoever reads one sees the old content or the new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["atomic_file", "flush_to_disk", "write_text_atomically"]


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary handle whose content takes the place of ``path`` when the block ends.

    It is a temporary file ``NAME.partial`` in the same folder, which is flushed to the disk before
    it is renamed, and the folder after. If the block raises, ``path`` stays what it was. A process
    that is killed leaves the temporary file behind; the next one that writes ``path`` replaces it.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    OSError
        If the folder is missing, not writable or full.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.partial")
    try:
        with open(temporary, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # Windows does not open folders
        flush_to_disk(path.parent)


def flush_to_disk(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Replace a text file, UTF-8, as :func:`atomic_file` does."""
    with atomic_file(path) as handle:
        handle.write(text.encode())
