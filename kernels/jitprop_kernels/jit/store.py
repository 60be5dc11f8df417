"""The files of the compile cache: a private directory, verified reads, whole writes, and a lock.

A file's header holds a checksum of all that follows and the key it was written for; a reader gets the payload
only after owner, checksum and key were verified. There is no index, hence no race between processes: a file
appears complete, by a rename, or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes may compile the same kernel, the later rename wins
    fcntl = None  # type: ignore[assignment]

MAGIC = b"jitprop kernel 1\n"
SUFFIX = ".jitkernel"
TEMPORARY = ".jitkernel-"
PATIENCE = 120.0  # seconds to wait for another process that compiles the same kernel, then compile as well
KEEP_SECONDS = 30 * 86400.0  # an entry unused for so long goes, such as those of older sources
KEEP_BYTES = 256 * 2**20  # beyond this size the longest unused go


def cache_directory() -> Path | None:
    """Return the directory of the cache, which need not exist.

    It is ``$JITPROP_CACHE_DIR``, else ``$XDG_CACHE_HOME/jitprop``, else ``~/.cache/jitprop``, else None.
    """
    if chosen := os.environ.get("JITPROP_CACHE_DIR"):
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification: a relative one is ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "jitprop") if os.path.isabs(base) else None


_warned = False


def warn_once(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"jitprop compiles kernels anew: {reason}", RuntimeWarning, stacklevel=2)


def _is_private(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def usable_directory() -> Path | None:
    """Return the directory, made if need be, or None after a warning when it cannot or must not be used."""
    directory = cache_directory()
    if directory is None:
        warn_once("there is no home directory for a cache; set JITPROP_CACHE_DIR")
        return None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = _is_private(directory.stat())
    except OSError as error:
        warn_once(f"the cache directory {directory} cannot be used ({error.strerror}); set JITPROP_CACHE_DIR")
        return None
    if not private:
        warn_once(f"the cache directory {directory} belongs to another user or others can write to it; "
              "a cache holds code, so it must be yours alone (mode 0700)")  # fmt: skip
    return directory if private else None


def read(path: Path, key: bytes) -> bytes | None:
    """Return what a file holds for this key, or None if it is not there or is not to be trusted."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        warn_once(f"{path} cannot be read ({error.strerror})")
        return None
    start = len(MAGIC) + 32
    head = MAGIC + data[len(MAGIC) : start] + len(key).to_bytes(4, "little") + key
    payload = data[len(head) :]
    if not _is_private(status):
        warn_once(f"{path} belongs to another user or others can write to it")
    elif not data.startswith(head) or hashlib.sha256(data[start:]).digest() != data[len(MAGIC) : start]:
        warn_once(f"{path} is damaged")
    else:
        if time.time() - status.st_mtime > 86400.0:  # the last use, to the day
            with contextlib.suppress(OSError):  # a read-only directory
                os.utime(path)
        return payload
    return None


def write(path: Path, key: bytes, payload: bytes) -> None:
    body = len(key).to_bytes(4, "little") + key + payload
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def files_of(directory: Path | None) -> list[tuple[Path, os.stat_result]]:
    """Return the entries and temporary files with their status, the longest unused first."""
    found = []
    if directory is not None and directory.is_dir():
        for path in directory.iterdir():
            if path.suffix == SUFFIX or path.name.startswith(TEMPORARY):
                with contextlib.suppress(FileNotFoundError):  # another process removed it
                    found.append((path, path.stat()))
    return sorted(found, key=lambda item: item[1].st_mtime)


@functools.cache
def clean(directory: Path) -> None:
    """Remove, once in a process, what was not used for long and, if there is too much, the longest unused."""
    files = files_of(directory)
    size = sum(status.st_size for _, status in files)
    for path, status in files:
        limit = KEEP_SECONDS if path.suffix == SUFFIX else 86400.0  # of a writer that died
        if size > KEEP_BYTES or time.time() - status.st_mtime > limit:
            path.unlink(missing_ok=True)
            size -= status.st_size


@dataclass(frozen=True)
class Entry:
    """A compiled function in the cache: name, arguments, digest of sources, bytes, time of last use."""

    path: Path
    function: str
    signature: str
    sources: str
    size: int
    used: float


def cache_entries() -> list[Entry]:
    """Return what the cache holds, the longest unused first."""
    entries = []
    for path, status in files_of(cache_directory()):
        head, key = b"", ""
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:  # it may go meanwhile
            head = file.read(len(MAGIC) + 36)
            key = file.read(min(int.from_bytes(head[-4:], "little"), 2**20)).decode(errors="replace")
        fields = dict(line.partition(" ")[::2] for line in key.splitlines())
        if head.startswith(MAGIC) and "function" in fields:
            signature, sources = fields.get("signature", ""), fields.get("sources", "")
            size, used = status.st_size, status.st_mtime
            entries.append(Entry(path, fields["function"], signature, sources, size, used))
    return entries


def clear_cache() -> int:
    """Remove all compiled functions from the cache and return how many there were.

    Raises
    ------
    OSError
        When a file cannot be removed.
    """
    files = files_of(cache_directory())
    for path, _ in files:
        path.unlink(missing_ok=True)
    return sum(path.suffix == SUFFIX for path, _ in files)


class _Locks:
    """Locks between processes, a byte of one file for each entry, so that no lock files pile up.

    POSIX record locks end with the process and forked children do not inherit them: none outlives its owner.
    They do not exclude threads, which numba's compiler lock does. A kernel is locked before those it calls,
    and calls form no cycle, so processes do not wait in a circle; should they ever, patience ends.
    """

    def __init__(self) -> None:
        self.files: dict[Path, int] = {}

    def _open(self, directory: Path) -> int:
        path = directory / "lock"
        with contextlib.suppress(OSError, KeyError):  # removed with the directory, or closed by a daemon
            if os.path.samestat(os.fstat(self.files[directory]), path.stat()):
                return self.files[directory]
        self.files[directory] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self.files[directory]

    def acquire(self, path: Path) -> bool:
        """Wait for the lock of an entry; False when there is none to be had, which costs time but no harm."""
        if fcntl is None:
            return False
        give_up = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):  # a read-only directory, or a file system without locks
            file = self._open(path.parent)
            while time.monotonic() < give_up:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _position(path))
                    return True
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EAGAIN):
                        raise
                time.sleep(0.02)
        return False

    def release(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # the directory was removed meanwhile
            fcntl.lockf(self.files[path.parent], fcntl.LOCK_UN, 1, _position(path))


def _position(path: Path) -> int:
    return int(path.stem[-14:], 16)


locks = _Locks()
