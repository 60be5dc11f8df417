"""Files that appear whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["check_path", "check_writable", "replacing", "same_file"]


@contextmanager
def replacing(path: str | os.PathLike[str], text: bool = False) -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` when the block ends, and leaves no trace if it fails.

    What is written goes to a temporary file in the same directory, is forced to the disk, and is renamed;
    then the directory is forced to the disk too, so that after a power cut either the old file is there or
    the whole new one. The permissions are those of the file that is replaced, or else what the umask leaves.
    A symbolic link is followed. A device or pipe such as /dev/stdout is written directly.

    Parameters
    ----------
    path : path-like
        The file to write or replace.
    text : bool
        Write UTF-8 text with the newlines as given, instead of bytes.

    Raises
    ------
    TypeError
        `path` is no path.
    OSError
        The directory does not exist or cannot be written, `path` is a directory, or the disk is full.
    """
    try:
        with _replacing(path, text) as file:
            yield file
    except OSError as error:
        if error.filename is None:  # a full disk is told of the descriptor; the person knows a name
            error.filename = os.fspath(path)
        raise


@contextmanager
def _replacing(path: str | os.PathLike[str], text: bool) -> Iterator[IO[Any]]:
    encoding, newline = ("utf-8", "") if text else (None, None)
    mode = "w" if text else "wb"
    target, status = _look(path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        with open(target, mode, encoding=encoding, newline=newline) as file:
            yield file
        return
    descriptor, temporary = _open_temporary(path, target)
    try:
        with open(descriptor, mode, encoding=encoding, newline=newline) as file:
            if status is not None:
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _look(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """Where `path` leads, and what is there; None for nothing, OSError for a directory."""
    target = Path(os.path.realpath(check_path(path)))
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    return target, status


def _open_temporary(path: str | os.PathLike[str], target: Path) -> tuple[int, Path]:
    """A new file beside `target`, open for writing."""
    temporary = target.with_name(f".jitprop-{secrets.token_hex(8)}.tmp")
    try:
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), temporary
    except OSError as error:
        # The person knows the name they gave, not the temporary one.
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a directory; the file itself has been synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def check_path(path: Any, name: str = "path") -> str:
    """`path` as a string, refusing what is no path; `name` is what errors call it."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {type(path).__name__}")
    return str(os.fspath(path))


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, there already or not; a device, such as a terminal, can serve both."""
    if os.path.exists(a) and os.path.exists(b):
        return os.path.isfile(a) and os.path.samefile(a, b)
    return os.path.realpath(a) == os.path.realpath(b)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError now that writing `path` would raise after the work is done."""
    if not check_path(path):
        raise FileNotFoundError(errno.ENOENT, "the name of the file to write is empty")
    target, status = _look(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such directory to write to", str(target.parent))
    if status is None or stat.S_ISREG(status.st_mode):
        # Some directories, such as /proc, take no file although their permissions say so.
        descriptor, temporary = _open_temporary(path, target)
        os.close(descriptor)
        temporary.unlink()
    elif not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
