"""Files of images that promise something else than they hold. Oracle: sound files, of which one thing is changed."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.limits import MOST_CLASSES
from evonas.tasks.arrays import names_of, read_arrays
from evonas.tasks.data import load_arrays

IMAGES, LABELS = np.zeros((6, 4, 4), np.uint8), np.arange(6)


def saved(path: Path, labels: np.ndarray = LABELS) -> Path:
    np.savez(path, x_train=IMAGES, y_train=labels)
    return path


def packed(path: Path, header: str, body: bytes = b"", method: int = zipfile.ZIP_STORED) -> Path:
    """A file whose images have another header."""
    head = header.encode().ljust(117) + b"\n"
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head + body)
        archive.writestr("y_train.npy", labels.getvalue())
    return path


def refusal(path: Path | str) -> str:
    with pytest.raises(InputError) as error:
        load_arrays(DataConfig(name="npz", path=str(path)))
    message = str(error.value)
    assert message.isprintable()
    return message


def test_a_header_is_held_against_what_is_there_before_anything_is_read(tmp_path: Path) -> None:
    sound = "{'descr': '|u1', 'fortran_order': False, 'shape': %s}"
    file = packed(tmp_path / "a.npz", sound % "(6, 4, 4)", bytes(96))
    assert load_arrays(DataConfig(name="npz", path=str(file)))[0].shape == (6, 4, 4, 1)
    for shape in ("(1152921504606846976, 8)", "(6, 4, 5)", "(6, 4)", "(-6, -4, 4)"):
        message = refusal(packed(tmp_path / "a.npz", sound % shape, bytes(96)))
        assert "is not an .npz file of plain arrays (x_train.npy is uint8[" in message
        assert "in 96 bytes" in message


@pytest.mark.parametrize("header", ["(" * 100, "'''", "{'a': " * 30, "9" * 100, "{'descr': '|O', 'shape': (1,)}", ""])
def test_a_header_that_is_none_is_one_line(header: str, tmp_path: Path) -> None:
    assert "is not an .npz file of plain arrays" in refusal(packed(tmp_path / "a.npz", header))


def damaged(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes(8) + content[middle + 8 :]


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damage_to_packed_arrays_is_one_line(method: int, tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4096,)}"
    file = packed(tmp_path / "a.npz", header, np.random.default_rng(0).bytes(4096), method)
    file.write_bytes(damaged(file.read_bytes()))
    assert "is not an .npz file of plain arrays" in refusal(file)


def test_an_encrypted_file_is_said_to_be_one(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.npz")
    content = bytearray(file.read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    assert "x_train.npy is encrypted" in refusal(file)


@pytest.mark.parametrize(
    ("label", "words"), [(2**64 - 1, "a label 18446744073709551615"), (30_000_000, "a label 30000000")]
)
def test_labels_that_are_no_classes_are_refused(label: int, words: str, tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 3, 4, label], np.uint64)
    assert f"{words}; accepted: labels below {MOST_CLASSES}" in refusal(saved(tmp_path / "a.npz", labels))


def test_pipes_and_devices_are_no_files_of_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", "/dev/zero"):
        assert "is not a regular file" in refusal(path)
    assert "is a folder" in refusal(tmp_path)


def test_names_and_arrays_of_a_sound_file_are_read(tmp_path: Path) -> None:
    file = str(saved(tmp_path / "a.npz"))
    assert names_of(file, "here") == {"x_train", "y_train"}
    images, labels = read_arrays(file, "here", ("x_train", "y_train"))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("call", [names_of, lambda path, where: read_arrays(path, where, ("x_train",))])
def test_a_missing_file_is_named(call: Callable[[str, str], object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="here: no such file"):
        call(str(tmp_path / "no.npz"), "here")
