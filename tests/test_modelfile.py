"""Model files: bitwise round trips, whole files or none, one clear error for each way a file is wrong."""

import json
import os
import pickle
import stat
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitprop import modelfile
from jitprop.files import check_writable, replacing, same_file
from jitprop.modelfile import ModelFileError, is_model, read, write

TENSORS = {
    "W1": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "steps": np.array([3, -(2**63)], np.int64),
    "b1": np.array([[5e-324], [1.0]], np.float64),
    "odd": np.arange(3, dtype=np.float32),
    "scalar": np.array(2.0),
    "empty": np.empty((0, 4), np.float32),
}
METADATA = {"units": [2, 2], "name": "Wörld", "nested": {"a": None, "b": [True, 1e-300]}}


def header(entries, metadata=None, format="1"):
    strings = {"jitprop_format": format, "jitprop": json.dumps({} if metadata is None else metadata)}
    return {"__metadata__": strings, **entries}


def file_bytes(head, data=b""):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), begin=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.jitprop"


def test_round_trip_keeps_bits_order_and_metadata(path):
    write(path, TENSORS, METADATA)
    tensors, metadata = read(path)
    assert list(tensors) == list(TENSORS)
    assert metadata == METADATA
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype and tensors[name].shape == array.shape
        assert tensors[name].tobytes() == array.tobytes()
        assert tensors[name].flags.c_contiguous and tensors[name].flags.writeable


def test_layout_is_that_of_safetensors(path):
    write(path, {"W": np.array([[1.0, 2.0]], np.float32), "n": np.array([7], np.int64)}, {"k": 1})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0
    checksum = str(zlib.crc32(b'{"k": 1}' + raw[8 + length :]))
    assert json.loads(raw[8 : 8 + length]) == {
        "__metadata__": {"jitprop_format": "1", "jitprop_crc32": checksum, "jitprop": '{"k": 1}'},
        "W": {"dtype": "F32", "shape": [1, 2], "data_offsets": [8, 16]},
        "n": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
    }
    assert raw[8 + length :] == bytes.fromhex("0700000000000000 0000803f 00000040")


def test_reads_bytes_made_by_hand(path):
    head = header({"a": entry("F64", (2, 1), 4, 20), "b": entry()}, {"x": "y"})
    path.write_bytes(file_bytes(head, np.float32(1.5).tobytes() + np.array([2.0, 3.0]).tobytes()))
    tensors, metadata = read(path)
    assert metadata == {"x": "y"}
    np.testing.assert_array_equal(tensors["a"], [[2.0], [3.0]])
    np.testing.assert_array_equal(tensors["b"], np.array([1.5], np.float32))


def test_strided_and_foreign_byte_order_arrays_are_stored(path):
    padded = np.arange(12, dtype=np.float64).reshape(3, 4)[:, :2]
    write(path, {"view": padded, "big": np.arange(3, dtype=">f4")}, {})
    tensors, _ = read(path)
    np.testing.assert_array_equal(tensors["view"], padded)
    np.testing.assert_array_equal(tensors["big"], [0, 1, 2])
    assert tensors["big"].dtype == np.float32


@pytest.mark.parametrize("value", [np.arange(3, dtype=np.int32), np.array([object()]), [1.0], np.float64(1)])
def test_other_dtypes_are_refused(path, value):
    with pytest.raises(TypeError, match="'W' must be a float32, float64 or int64 array"):
        write(path, {"W": value}, {})
    assert not path.exists()


@pytest.mark.parametrize("metadata", [{"a": {1, 2}}, {"a": np.float32(1)}])
def test_metadata_must_be_json(path, metadata):
    with pytest.raises(TypeError):
        write(path, {}, metadata)


@pytest.mark.parametrize("metadata", [{1: "a"}, {"a": {None: 0}}, {"a": [0, ({"b": {True: 0}},)]}])
def test_keys_in_metadata_must_be_strings(path, metadata):
    """JSON would write them as strings, and others would be read than were written."""
    with pytest.raises(TypeError, match="keys in metadata must be strings, got (1|None|True) of type"):
        write(path, {}, metadata)
    assert not path.exists()


def test_metadata_must_be_finite_and_names_not_reserved(path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(path, {}, {"a": float("nan")})
    with pytest.raises(ValueError, match="cannot be the name"):
        write(path, {"__metadata__": np.zeros(1)}, {})
    assert not path.exists()


FIRST = header({"W": entry()})
WRONG = {
    "empty file": (b"", "does not start with a safetensors header"),
    "text": (b"x,y\n1,2\n3,4\n5,6\n", "does not start with a safetensors header"),
    "pickle": (pickle.dumps({"W": [1.0] * 9}), "it looks like a pickle"),
    "zip": (b"PK\x03\x04" + bytes(40), "it looks like a ZIP or NPZ file"),
    "length over the bound": ((2**40).to_bytes(8, "little") + b"{}", "does not start"),
    "header cut": (file_bytes(FIRST)[:40], "truncated: the header has"),
    "data cut": (file_bytes(FIRST, b"abc"), "truncated: 3 of 4 bytes"),
    "data left over": (file_bytes(FIRST, b"abcde"), "1 bytes follow the last tensor"),
    "not JSON": (file_bytes(b"{W: 1}"), "header is not valid JSON"),
    "not UTF-8": (file_bytes(b'{"\xff": 1}'), "header is not valid JSON"),
    "deep": (file_bytes(b'{"a":' + b"[" * 200_000), "header is not valid JSON"),
    "name twice": (file_bytes(b'{"W": 1, "W": 2}'), "a name appears twice"),
    "number beyond range": (file_bytes(b'{"W": 1e999}'), "not a finite number"),
    "int beyond range": (file_bytes(b'{"W": 1' + b"0" * 400 + b"}"), "not a finite number"),
    "other program": (file_bytes({"W": entry()}, b"abcd"), "that another program wrote"),
    "metadata not strings": (file_bytes({"__metadata__": {"a": 1}}), "not a map of strings"),
    "metadata not an object": (
        file_bytes({"__metadata__": {"jitprop_format": "1", "jitprop": "[]"}}),
        "metadata is not a JSON object",
    ),
    "newer": (file_bytes(header({}, format="2")), "newer jitprop: format 2, this version reads up to 1"),
    "format not a number": (file_bytes(header({}, format="new")), "format number is 'new'"),
    "entry not described": (file_bytes(header({"W": 1})), "not described"),
    "dtype not accepted": (file_bytes(header({"W": entry("F16")}), b"abcd"), "dtype 'F16', accepted: F32"),
    "dtype not a name": (file_bytes(header({"W": entry(["F32"])}), b"abcd"), "accepted: F32"),
    "negative size": (file_bytes(header({"W": entry(shape=[-1])}), b"abcd"), "has shape"),
    "size not a number": (file_bytes(header({"W": entry(shape=[True])}), b"abcd"), "has shape"),
    "shape too large": (file_bytes(header({"W": entry(shape=[2**62])}), b"abcd"), "its place has 4"),
    "empty but huge": (file_bytes(header({"W": entry(shape=[0, 2**70], end=0)})), "has shape"),
    "offsets reversed": (file_bytes(header({"W": entry(begin=4, end=0)}), b"abcd"), "its place has -4"),
    "beyond the file": (file_bytes(header({"W": entry(shape=[2**40], end=2**42)}), b"abcd"), "truncated"),
    "gap": (file_bytes(header({"W": entry(begin=4, end=8)}), bytes(8)), "starts at byte 4"),
    "overlap": (
        file_bytes(header({"W": entry(), "b": entry("F64", begin=0, end=8)}), bytes(8)),
        "starts at byte 0 of the data, expected 4",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_give_one_error_that_names_the_file(path, case):
    content, message = WRONG[case]
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_noticed(path):
    write(path, TENSORS, METADATA)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            read(path)


def test_every_bit_that_flips_in_the_data_or_in_the_metadata_is_noticed(path):
    write(path, {"W": np.ones((2, 2)), "n": np.arange(2, dtype=np.int64)}, {"mean": 1.25})
    whole = path.read_bytes()
    data, text = len(whole) - 48, whole.index(b"1.25")
    for place in (*range(data, len(whole)), text, text + 2):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match="damaged: what it holds is not what was written"):
            read(path)


@given(st.data())
def test_damage_is_an_error_or_a_model(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "model.jitprop"
    write(path, {"W": np.ones((2, 2)), "n": np.arange(2)}, {"a": 1})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        read(path)
    except ModelFileError:
        pass


def test_pickles_are_never_loaded(path, monkeypatch):
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    np.savez(path.with_suffix(".npz"), W=np.array([{}], object))
    with pytest.raises(ModelFileError, match="NPZ"):
        read(path.with_suffix(".npz"))


def test_what_says_that_it_is_a_model_is_one_damaged_or_newer(path):
    write(path, TENSORS, METADATA)
    whole = path.read_bytes()
    for content in (whole, whole[:-1], whole.replace(b'format":"1"', b'format":"9"')):
        path.write_bytes(content)
        assert is_model(path)
    for case in ("empty file", "text", "pickle", "zip", "header cut", "other program", "metadata not strings"):
        path.write_bytes(WRONG[case][0])
        assert not is_model(path)


def test_what_is_no_path_is_told_by_name():
    for call in (lambda: read(None), lambda: write(5, {}, {}), lambda: check_writable(None)):
        with pytest.raises(TypeError, match="^path must be a path, got (NoneType|int)$"):
            call()


def test_one_file_is_recognized_by_all_its_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("a")
    (tmp_path / "link").symlink_to("a")
    os.link("a", "twin")
    for other in ("a", "./a", tmp_path / "a", "link", "twin"):
        assert same_file("a", other)
    assert same_file("new", tmp_path / "new")
    assert not same_file("a", "new") and not same_file("/dev/null", "/dev/null")


def test_missing_file_directory_and_pipe(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read(tmp_path / "pipe")


def test_writing_to_a_directory_or_a_missing_one_names_the_path(tmp_path):
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        write(tmp_path, TENSORS, {})
    with pytest.raises(FileNotFoundError, match="none/model"):
        write(tmp_path / "none" / "model", TENSORS, {})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    write(path, {"W": np.zeros(2)}, {"old": True})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, {"W": np.ones(2)}, {})
    monkeypatch.undo()
    assert list(path.parent.iterdir()) == [path]
    assert read(path)[1] == {"old": True}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_block_leaves_nothing(path, stop):
    with pytest.raises(stop), replacing(path) as file:
        file.write(b"half")
        raise stop
    assert list(path.parent.iterdir()) == []


def test_permissions_follow_the_umask_or_the_old_file(path):
    before = os.umask(0o027)
    try:
        write(path, {}, {})
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        write(path, {}, {"a": 1})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_link_is_followed_and_a_device_written_directly(path):
    link = path.with_name("link")
    link.symlink_to(path.name)
    write(link, {}, {"a": 1})
    assert link.is_symlink() and read(path)[1] == {"a": 1}
    write("/dev/null", {}, {})
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("text", [False, True])
def test_a_full_disk_is_named(text):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), replacing("/dev/full", text) as file:
        file.write("half" if text else b"half")


def test_check_writable_tries(tmp_path):
    check_writable(tmp_path / "new")
    (tmp_path / "old").write_bytes(b"old")
    check_writable(tmp_path / "old")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
    check_writable("/dev/null")
    with pytest.raises(OSError, match="too long"):
        check_writable(tmp_path / ("n" * 300))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_a_directory_that_takes_no_files_is_found_out_at_the_start():
    with pytest.raises(OSError, match="'/proc/x'"):
        check_writable("/proc/x")


def test_the_error_is_a_value_error_that_pickles():
    error = pickle.loads(pickle.dumps(modelfile.ModelFileError("a: b")))
    assert isinstance(error, ValueError) and str(error) == "a: b"
