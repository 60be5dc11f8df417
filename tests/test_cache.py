"""The compile cache: a second process loads; what is in doubt is compiled again, and rightly."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import jitprop_kernels
from jitprop_kernels.jit import cache, compiling, store

KERNEL = """
import json, sys
import numpy as np
from numba import prange, types
from jitprop_kernels.jit import compiling

@compiling.jit
def inner(x):
    return 3.0 * x

@compiling.jit(parallel=PARALLEL)
def kernel(x):
    for i in prange(x.size):
        x[i] = inner(x[i]) + 1.0

x = np.arange(4.0)
with compiling.parallel_region():
    kernel(x)
hits = sum(kernel.stats.cache_hits.values())
print(json.dumps({"x": x.tolist(), "hits": hits, "seconds": compiling.compile_seconds()}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the kernels that a test may edit, and a program that uses them."""
    root = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(jitprop_kernels.__file__).parent, root / "jitprop_kernels")
    (root / "program.py").write_text(KERNEL.replace("PARALLEL", "False"))
    (root / "parallel_program.py").write_text(KERNEL.replace("PARALLEL", "True"))
    return root


def start(package, directory, program="program.py"):
    environment = dict(os.environ, JITPROP_CACHE_DIR=str(directory), PYTHONPATH=str(package))
    command = [sys.executable, "-W", "always", package / program]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process):
    """Return whether the kernel came from the cache, and the warnings; its result is checked."""
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    result = json.loads(output)
    assert result["x"] == [1.0, 4.0, 7.0, 10.0]
    assert (result["hits"] == 1) == (result["seconds"] == 0.0)
    return result["hits"] == 1, errors


def run(package, directory, program="program.py"):
    return finish(start(package, directory, program))


def entry(directory):
    (path,) = directory.glob("*kernel-*" + store.SUFFIX)
    return path


def test_second_process_loads_and_edited_source_compiles(package, tmp_path):
    assert run(package, tmp_path / "c") == (False, "")
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert run(package, tmp_path / "c") == (True, "")
    edited = tmp_path / "edited"
    shutil.copytree(package, edited)
    with open(edited / "jitprop_kernels" / "contract.py", "a") as file:
        file.write("\n")
    assert run(edited, tmp_path / "c") == (False, "")
    assert run(package, tmp_path / "c") == (True, "")  # both versions keep theirs


def test_parallel_kernel_is_cached(package, tmp_path):
    assert run(package, tmp_path, "parallel_program.py") == (False, "")
    assert run(package, tmp_path, "parallel_program.py") == (True, "")


def test_two_processes_compile_once(package, tmp_path):
    both = [start(package, tmp_path) for _ in range(2)]
    assert sorted(finish(process) for process in both) == [(False, ""), (True, "")]


def damage(kind, path):
    data = path.read_bytes()
    if kind == "truncated":
        data = data[: len(data) // 2]
    elif kind == "empty":
        data = b""
    elif kind == "flipped":
        data = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    elif kind == "another key":
        data = data.replace(b"float64", b"float32")
    else:
        path.chmod(0o666)
    path.write_bytes(data)


def test_truncated_entry_is_compiled_again(package, tmp_path):
    run(package, tmp_path)
    damage("truncated", entry(tmp_path))
    loaded, errors = run(package, tmp_path)
    assert not loaded
    assert errors.count("RuntimeWarning") == 1
    assert entry(tmp_path).name in errors


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache of this process, which does not read the sources."""
    monkeypatch.setenv("JITPROP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "source_digest", lambda: "0" * 64)
    monkeypatch.setattr(store, "_warned", False)
    return tmp_path / "cache"


def make_kernel(factor):
    @compiling.jit
    def times(x):
        return factor * x

    return times


@pytest.mark.parametrize("kind", ["truncated", "empty", "flipped", "another key", "writable by others"])
def test_doubtful_entry_is_replaced(directory, kind):
    make_kernel(3.0)(2.0)
    (path,) = directory.glob("*" + store.SUFFIX)
    damage(kind, path)
    with pytest.warns(RuntimeWarning, match=path.name):
        kernel = make_kernel(3.0)
        assert kernel(2.0) == 6.0
    assert not kernel.stats.cache_hits
    kernel = make_kernel(3.0)
    assert kernel(2.0) == 6.0
    assert sum(kernel.stats.cache_hits.values()) == 1


def test_entry_that_cannot_be_loaded_is_compiled_again(directory, monkeypatch):
    """A header in order does not save a payload that numba no longer understands."""
    make_kernel(3.0)(2.0)
    monkeypatch.setattr(cache.CompileResult, "_rebuild", lambda *_: [].pop())
    with pytest.warns(RuntimeWarning, match="cannot be loaded"):
        assert make_kernel(3.0)(2.0) == 6.0


def test_symbols_unknown_here_are_not_linked(directory, monkeypatch):
    """LLVM would end the process."""
    monkeypatch.setattr(cache, "_external_symbols", lambda library: ["no_such_function"])
    make_kernel(3.0)(2.0)
    with pytest.warns(RuntimeWarning, match="no_such_function"):
        assert make_kernel(3.0)(2.0) == 6.0


def test_closures_are_part_of_the_key(directory):
    assert [make_kernel(factor)(2.0) for factor in (3.0, 4.0, 3.0)] == [6.0, 8.0, 6.0]
    assert len(cache.cache_entries()) == 2
    again = make_kernel(4.0)
    assert again(2.0) == 8.0
    assert sum(again.stats.cache_hits.values()) == 1


def test_sources_edited_since_import_are_not_a_key(tmp_path, monkeypatch):
    """The process runs the old ones."""
    (tmp_path / "kernels.py").write_text("")
    monkeypatch.setattr(cache, "_ROOT", tmp_path)
    assert cache.source_digest.__wrapped__() is None
    os.utime(tmp_path / "kernels.py", (1.0, 1.0))
    assert cache.source_digest.__wrapped__() is not None


def test_constants_are_part_of_the_key(directory):
    """A function outside the package, whose source is not in the digest."""

    def make(first):
        if first:
            kernel = compiling.jit(lambda x: 3.0 * x)
        else:
            kernel = compiling.jit(lambda x: 4.0 * x)
        return kernel

    assert [make(first)(2.0) for first in (True, False)] == [6.0, 8.0]


def test_directory_writable_by_others_is_refused(directory):
    make_kernel(3.0)(2.0)
    directory.chmod(0o777)
    kernel = make_kernel(3.0)
    with pytest.warns(RuntimeWarning, match="others can write"):
        assert kernel(2.0) == 6.0
    assert not kernel.stats.cache_hits
    assert make_kernel(4.0)(2.0) == 8.0  # and no second warning
    assert len(list(directory.glob("*" + store.SUFFIX))) == 1


def test_unusable_directory_works_without_cache(directory, monkeypatch):
    directory.write_text("a file where the directory should be")
    with pytest.warns(RuntimeWarning, match="set JITPROP_CACHE_DIR"):
        assert make_kernel(3.0)(2.0) == 6.0


def test_loaded_kernel_is_called_by_a_compiled_one(directory):
    make_kernel(5.0)(1.0)
    inner = make_kernel(5.0)

    @compiling.jit
    def outer(x):
        return inner(x) + 1.0

    assert inner(1.0) == 5.0
    assert outer(1.0) == 6.0


def test_entries_flush_and_clear(directory):
    kernel = make_kernel(2.0)
    kernel(1.0)
    kernel(np.ones(2, np.float32))
    entries = cache.cache_entries()
    assert {item.signature for item in entries} == {"float64 -> None", "array(float32, 1d, C) -> None"}
    assert all(item.function.endswith("make_kernel.<locals>.times") for item in entries)
    kernel.recompile()
    assert len(cache.cache_entries()) == 2
    other = directory / "notes.txt"
    other.write_text("")
    assert cache.clear_cache() == 2
    assert cache.cache_entries() == []
    assert other.exists()


def test_failed_write_leaves_a_working_kernel_and_no_file(directory, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        assert make_kernel(7.0)(1.0) == 7.0
    assert [path.name for path in directory.iterdir()] == ["lock"]


def test_failed_compilation_releases_its_lock(directory):
    kernel = make_kernel("a")
    with pytest.raises(numba.TypingError):
        kernel(1.5)
    assert kernel._cache._pending == {}


def test_address_in_the_code_is_not_cached(directory):
    address = compiling.compile_address(lambda x: x, "float64(float64)")
    cache.clear_cache()
    with pytest.warns(RuntimeWarning, match="address"):
        assert make_kernel(address)(1) == address
    assert cache.cache_entries() == []


def test_cleaning_removes_the_unused_and_the_excess(directory, monkeypatch):
    directory.mkdir(mode=0o700)
    paths = [directory / f"{name}{store.SUFFIX}" for name in "abc"]
    for age, path in enumerate(reversed(paths)):
        path.write_bytes(bytes(100))
        used = path.stat().st_mtime - 20 * 86400 * age  # 40, 20 and 0 days ago
        os.utime(path, (used, used))
    store.clean.__wrapped__(directory)
    assert sorted(directory.iterdir()) == paths[1:]
    monkeypatch.setattr(store, "KEEP_BYTES", 150)
    store.clean.__wrapped__(directory)
    assert sorted(directory.iterdir()) == paths[2:]


def test_directory_follows_the_environment(monkeypatch):
    monkeypatch.delenv("JITPROP_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.abspath("xdg"))
    assert cache.cache_directory() == Path("xdg", "jitprop").absolute()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(store.os.path, "expanduser", lambda path: os.path.abspath("home"))
    assert cache.cache_directory() == Path("home", ".cache", "jitprop").absolute()
    monkeypatch.setattr(store.os.path, "expanduser", lambda path: path)  # there is no home
    assert cache.cache_directory() is None
