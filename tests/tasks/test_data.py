"""Oracles: the files written here and scikit-learn's digits as they are on disk; numpy for statistics and pooling; and
for augmentation, every window of every image.
"""

import gzip
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.tasks import data
from evonas.tasks.data import DEBIAN_FASHION_MNIST, LabelledImages, image_batches, load_arrays, load_images

Bytes = NDArray[np.uint8]


def pictures(*shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def classes(count: int, seed: int = 1) -> Bytes:
    return np.random.default_rng(seed).integers(0, 3, count, dtype=np.uint8)


def npz(path: Path, **arrays: Any) -> DataConfig:
    np.savez(path, **arrays)
    return DataConfig(name="npz", path=str(path))


def raw(images: Tensor, preparation: data.Preparation) -> Bytes:
    """The bytes that prepared images were made of: [n, h, w, 3]."""
    mean, std = (np.array(v).reshape(1, -1, 1, 1) for v in (preparation.mean, preparation.std))
    return np.round((images.numpy() * std + mean) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def occurrences(images: Bytes, labels: NDArray[np.int64]) -> dict[tuple[bytes, int], int]:
    found: dict[tuple[bytes, int], int] = {}
    for image, label in zip(images, labels, strict=True):
        key = (image.tobytes(), int(label))
        found[key] = found.get(key, 0) + 1
    return found


def error_of(config: DataConfig, where: str, *, test: bool = False) -> str:
    """The message of the refusal, which is one line that begins with the key at fault."""
    read = partial(load_arrays, config, test=True) if test else partial(load_images, config)
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert message.startswith(where)
    assert "\n" not in message
    return message


def test_digits_are_normalized_images_with_labels() -> None:
    images = load_images(DataConfig())
    assert (images.name, images.num_classes, images.image_size) == ("digits", 10, 8)
    assert len(images.train) + len(images.scoring) == 1797 - 360
    for split in (images.train, images.scoring):
        assert split.images.shape == (len(split), 3, 8, 8)
        assert split.images.dtype == torch.float32
        assert split.labels.shape == (len(split),)
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) == set(range(10))
    std, mean = torch.std_mean(images.train.images, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3), atol=1e-5, rtol=0)


def test_colour_channels_are_normalized_one_by_one_with_statistics_of_training_images(tmp_path: Path) -> None:
    colours = pictures(50, 6, 6, 3) // np.array([1, 2, 5], np.uint8) + np.array([0, 100, 7], np.uint8)
    images = load_images(npz(tmp_path / "colours.npz", x_train=colours, y_train=classes(50)))
    preparation = images.preparation
    std, mean = torch.std_mean(images.train.images, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3), atol=1e-5, rtol=0)
    train = raw(images.train.images, preparation) / 255
    np.testing.assert_allclose(preparation.mean, train.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(preparation.std, train.std((0, 1, 2)), rtol=1e-5)
    assert images.scoring.images.mean((0, 2, 3)).abs().max() > 1e-3  # not normalized by its own


def test_a_blank_channel_stays_finite(tmp_path: Path) -> None:
    images = pictures(20, 4, 4, 3)
    images[..., 1] = 77
    prepared = load_images(npz(tmp_path / "blank.npz", x_train=images, y_train=classes(20)))
    assert torch.isfinite(prepared.train.images).all()
    assert prepared.train.images[:, 1].abs().max() < 1e-5


def test_training_and_validation_cut_the_training_part_in_two() -> None:
    images = load_images(DataConfig())
    preparation = images.preparation
    train, validation = (
        occurrences(raw(split.images, preparation)[..., :1], split.labels.numpy())
        for split in (images.train, images.scoring)
    )
    assert not train.keys() & validation.keys()  # digits have no two equal images
    assert train | validation == occurrences(*load_arrays(DataConfig()))


def test_digits_for_tests_are_those_a_search_never_sees() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    whole = occurrences(np.round(digits.images[..., None] * 255 / 16).astype(np.uint8), digits.target)
    seen, kept = (occurrences(*load_arrays(DataConfig(), test=test)) for test in (False, True))
    assert sum(kept.values()) == 360
    # the set has no two equal images, so that no overlap is an overlap of bytes
    assert set(whole.values()) == {1}
    assert not seen.keys() & kept.keys()
    assert seen | kept == whole


def test_scoring_on_test_images_changes_neither_training_nor_normalization() -> None:
    usual = load_images(DataConfig(train=300))
    preparation = usual.preparation
    tested = load_images(DataConfig(train=300, score_on="test"))
    same = tested.preparation
    assert torch.equal(tested.train.images, usual.train.images)
    assert torch.equal(tested.train.labels, usual.train.labels)
    assert same == preparation
    images, labels = load_arrays(DataConfig(), test=True)
    assert occurrences(raw(tested.scoring.images, same)[..., :1], tested.scoring.labels.numpy()) == occurrences(
        images, labels
    )


def test_test_images_of_another_shape_are_an_error(tmp_path: Path) -> None:
    train, test = {"x_train": pictures(20, 4, 4), "y_train": classes(20)}, {"x_test": pictures(5, 4, 3)}
    config = npz(tmp_path / "odd.npz", **train, **test, y_test=classes(5)).model_copy(update={"score_on": "test"})
    assert "[5, 4, 3, 1]" in error_of(config, "data.score_on: ")


def test_the_split_is_the_same_for_every_run_and_size() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = load_images(DataConfig(train=300, validation=100))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    again = load_images(DataConfig(train=300, validation=100))
    fewer = load_images(DataConfig(train=200, validation=100))
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.scoring.labels, again.scoring.labels)
    assert torch.equal(first.scoring.labels, fewer.scoring.labels)
    assert torch.equal(first.train.labels[:200], fewer.train.labels)


def test_numbers_of_images_are_those_asked_for() -> None:
    def counts(**asked: int) -> tuple[int, int]:
        images = load_images(DataConfig(**asked))
        return len(images.train), len(images.scoring)

    assert counts() == (1437 - 287, 287)  # a fifth validates
    assert counts(train=100) == (100, 287)
    assert counts(validation=37) == (1400, 37)
    assert counts(train=1, validation=1436) == (1, 1436)


@pytest.mark.parametrize("asked", [{"train": 2000}, {"validation": 1437}, {"train": 1000, "validation": 438}])
def test_more_images_than_there_are_is_an_error(asked: dict[str, int]) -> None:
    assert "1437 there" in error_of(DataConfig(**asked), "data.train, data.validation: ")


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_to_train_and_validate_is_an_error(tmp_path: Path, count: int) -> None:
    config = npz(tmp_path / "few.npz", x_train=pictures(count, 4, 4), y_train=classes(count))
    assert f"{count} there" in error_of(config, "data.train, data.validation: ")


def test_the_smallest_set_has_an_image_in_each_part(tmp_path: Path) -> None:
    images = load_images(npz(tmp_path / "two.npz", x_train=pictures(2, 4, 4), y_train=classes(2)))
    assert (len(images.train), len(images.scoring)) == (1, 1)


@pytest.mark.parametrize(("asked", "limit"), [({"crop": 9}, 8), ({"crop": 5, "size": 4}, 4)])
def test_a_crop_larger_than_the_image_is_an_error(asked: dict[str, int], limit: int) -> None:
    assert f"up to the image size {limit}" in error_of(DataConfig(**asked), "data.crop: ")


def test_a_crop_must_fit_the_shorter_side(tmp_path: Path) -> None:
    config = npz(tmp_path / "wide.npz", x_train=pictures(10, 9, 6), y_train=classes(10))
    assert load_images(config).image_size == 6
    assert "up to the image size 6" in error_of(config.model_copy(update={"crop": 7}), "data.crop: ")


def test_a_path_that_digits_would_ignore_is_an_error() -> None:
    assert "data.name = 'npz'" in error_of(DataConfig(path="mine.npz"), "data.path: ")


@pytest.mark.parametrize("labels_of", [lambda y: y, lambda y: y[:, None], lambda y: y.astype(np.int32)])
@pytest.mark.parametrize("shape", [(20, 5, 5, 3), (20, 5, 5, 1), (20, 5, 5)])
@pytest.mark.parametrize("test", [False, True])
def test_npz_files_read_back(
    tmp_path: Path, labels_of: Callable[[Bytes], Bytes], shape: tuple[int, ...], test: bool
) -> None:
    images = {part: pictures(*shape, seed=seed) for seed, part in enumerate(("train", "test"))}
    labels = {part: classes(20, seed) for seed, part in enumerate(("train", "test"), 2)}
    arrays = {f"x_{part}": images[part] for part in images} | {f"y_{part}": labels_of(labels[part]) for part in labels}
    found = load_arrays(npz(tmp_path / "mine.npz", **arrays), test=test)
    part = "test" if test else "train"
    assert np.array_equal(found[0], images[part].reshape(20, 5, 5, -1))
    assert found[0].dtype == np.uint8
    assert np.array_equal(found[1], labels[part])
    assert found[1].dtype == np.int64


def test_grey_images_become_three_equal_channels(tmp_path: Path) -> None:
    images = load_images(npz(tmp_path / "grey.npz", x_train=pictures(20, 5, 5), y_train=classes(20)))
    first, second, third = images.train.images.unbind(1)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_the_number_of_classes_counts_labels_outside_the_chosen_images(tmp_path: Path) -> None:
    labels = np.arange(20) % 7
    config = npz(tmp_path / "classes.npz", x_train=pictures(20, 4, 4), y_train=labels)
    assert load_images(config.model_copy(update={"train": 1, "validation": 1})).num_classes == 7


def test_compressed_npz_files_read_back(tmp_path: Path) -> None:
    images, labels = pictures(20, 5, 5, 3), classes(20)
    np.savez_compressed(tmp_path / "small.npz", x_train=images, y_train=labels)
    found = load_arrays(DataConfig(name="npz", path=str(tmp_path / "small.npz")))
    assert np.array_equal(found[0], images)
    assert np.array_equal(found[1], labels)


def test_npz_needs_a_path_of_a_file_that_exists(tmp_path: Path) -> None:
    assert ".npz file with x_train" in error_of(DataConfig(name="npz"), "data.path: is empty")
    missing = str(tmp_path / "missing.npz")
    assert missing in error_of(DataConfig(name="npz", path=missing), "data.path: no such file")


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, pictures(3, 3))


def _good(path: Path) -> bytes:
    np.savez_compressed(path, x_train=pictures(20, 8, 8, 3), y_train=classes(20))
    return path.read_bytes()


def _cut_short(path: Path) -> None:
    path.write_bytes(_good(path)[:-100])


def _damaged(path: Path) -> None:
    content = bytearray(_good(path))
    content[200:260] = bytes(60)
    path.write_bytes(content)


def _not_arrays(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train", "text")
        file.writestr("y_train", "text")


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_bytes(b""), id="empty"),
        pytest.param(_bytes(b"text\n"), id="text"),
        pytest.param(_bytes(b"PK\x03\x04 and no more"), id="zip header"),
        pytest.param(_array, id="one array"),
        pytest.param(_cut_short, id="cut short"),
        pytest.param(_damaged, id="damaged"),
        pytest.param(_not_arrays, id="texts"),
        pytest.param(Path.mkdir, id="folder"),
    ],
)
def test_what_is_not_an_npz_file_is_an_error(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "odd.npz"
    write(path)
    error_of(DataConfig(name="npz", path=str(path)), f"data.path: {path}: ")


class Malicious:
    """Unpickling it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def _as_array(path: Path, content: Malicious) -> None:
    np.savez(path, x_train=np.array([content], dtype=object), y_train=classes(1))


def _as_file(path: Path, content: Malicious) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [_as_array, _as_file])
def test_pickles_are_refused_and_not_run(tmp_path: Path, write: Callable[[Path, Malicious], None]) -> None:
    trace, path = tmp_path / "executed", tmp_path / "malicious.npz"
    write(path, Malicious(trace))
    error_of(DataConfig(name="npz", path=str(path)), f"data.path: {path}: is not an .npz file of plain arrays")
    assert not trace.exists()


def test_the_pickles_of_these_tests_would_do_harm(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("missing", ["x_train", "y_train"])
def test_a_missing_array_is_named(tmp_path: Path, missing: str) -> None:
    arrays = {"x_train": pictures(5, 4, 4), "y_train": classes(5)}
    del arrays[missing]
    message = error_of(npz(tmp_path / "half.npz", **arrays), f"data.path: {tmp_path / 'half.npz'}: ")
    assert f"has no array {missing!r}; accepted: x_train, y_train" in message


def test_a_file_without_test_images_trains_but_does_not_test(tmp_path: Path) -> None:
    config = npz(tmp_path / "train.npz", x_train=pictures(10, 4, 4), y_train=classes(10))
    load_images(config)
    assert "'x_test'" in error_of(config, "data.path: ", test=True)


@pytest.mark.parametrize(
    ("images", "labels", "named"),
    [
        (pictures(20, 4, 4).astype(np.float32), classes(20), "float32[20, 4, 4] images"),
        (pictures(20, 4, 4).astype(np.int64), classes(20), "int64[20, 4, 4] images"),
        (pictures(20, 16), classes(20), "uint8[20, 16] images"),
        (pictures(20, 3, 8, 8), classes(20), "1 or 3]"),  # channels first
        (pictures(20, 8, 8, 4), classes(20), "1 or 3]"),
        (pictures(20, 0, 0), classes(20), "uint8[20, 0, 0] images"),
        (pictures(20, 4, 4), classes(19), "19 labels"),
        (pictures(20, 4, 4), np.eye(3, dtype=np.uint8)[classes(20)], "60 labels"),  # one-hot
        (pictures(20, 4, 4), classes(20) / 2, "float64 labels; accepted: whole numbers"),
        (pictures(20, 4, 4), np.full(20, "cat"), "labels; accepted: whole numbers"),
        (pictures(20, 4, 4), np.arange(20) - 1, "labels from -1; accepted: whole numbers"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, images: Any, labels: Any, named: str) -> None:
    config = npz(tmp_path / "odd.npz", x_train=images, y_train=labels)
    assert named in error_of(config, f"data.path: {tmp_path / 'odd.npz'}: ")


def idx(array: Bytes) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + sizes + array.tobytes()


def write_idx(folder: Path, *, prefix: str = "train", zipped: bool = False, seed: int = 0) -> tuple[Bytes, Bytes]:
    images, labels = pictures(30, 28, 28, seed=seed), classes(30, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return images, labels


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("inner", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("prefix", ["train", "t10k"])
def test_idx_files_read_back(tmp_path: Path, zipped: bool, inner: str, prefix: str) -> None:
    images, labels = write_idx(tmp_path / inner, prefix=prefix, zipped=zipped)
    found = load_arrays(DataConfig(name="fashion_mnist", path=str(tmp_path)), test=prefix == "t10k")
    assert np.array_equal(found[0], images[..., None])
    assert np.array_equal(found[1], labels)
    assert found[0].flags.writeable  # torch warns of arrays that are not


def test_training_images_of_idx_files_are_never_test_images(tmp_path: Path) -> None:
    train, _ = write_idx(tmp_path, prefix="train", seed=0)
    test, _ = write_idx(tmp_path, prefix="t10k", seed=1)
    config = DataConfig(name="fashion_mnist", path=str(tmp_path))
    assert np.array_equal(load_arrays(config)[0][..., 0], train)
    assert np.array_equal(load_arrays(config, test=True)[0][..., 0], test)


IMAGES = idx(pictures(30, 28, 28))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-images-idx3-ubyte", b""),
        ("train-images-idx3-ubyte", b"\x00\x00\x08"),
        ("train-images-idx3-ubyte", IMAGES[:7]),
        ("train-images-idx3-ubyte", IMAGES[:-1]),
        ("train-images-idx3-ubyte", IMAGES + b"\x00"),
        ("train-images-idx3-ubyte", b"\x00\x00\x0d" + IMAGES[3:]),  # floats
        ("train-images-idx3-ubyte", gzip.compress(IMAGES, mtime=0)),
        ("train-images-idx3-ubyte.gz", IMAGES),
        ("train-images-idx3-ubyte.gz", gzip.compress(IMAGES, mtime=0)[:-50]),
    ],
    ids=["empty", "magic", "header", "short", "long", "floats", "compressed", "not compressed", "cut off"],
)
def test_a_damaged_idx_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / name).write_bytes(content)
    config = DataConfig(name="fashion_mnist", path=str(tmp_path))
    error_of(config, f"data.path: {tmp_path / name}: is not an IDX file of bytes")


def test_missing_fashion_mnist_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", tmp_path / "none")
    for path, place in (("", tmp_path / "none"), (str(tmp_path), tmp_path)):
        config = DataConfig(name="fashion_mnist", path=path)
        message = error_of(config, f"data.path: no Fashion-MNIST files in {place}")
        assert "apt-get install dataset-fashion-mnist" in message
        assert "torchvision.datasets.FashionMNIST('data', download=True) and data.path = 'data'" in message


def test_fashion_mnist_with_one_file_of_two_is_missing(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    error_of(DataConfig(name="fashion_mnist", path=str(tmp_path)), "data.path: no Fashion-MNIST files")


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_fashion_mnist_is_the_published_one() -> None:
    images, labels = load_arrays(DataConfig(name="fashion_mnist"))
    assert images.shape == (60_000, 28, 28, 1)
    assert np.bincount(labels).tolist() == [6000] * 10
    assert images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert images.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    images, labels = load_arrays(DataConfig(name="fashion_mnist"), test=True)
    assert images.shape == (10_000, 28, 28, 1)
    assert np.bincount(labels).tolist() == [1000] * 10


def test_missing_cifar10_names_folder_and_download(tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    message = error_of(DataConfig(name="cifar10", path=str(tmp_path)), f"data.path: no CIFAR-10 files in {tmp_path}")
    assert f"torchvision.datasets.CIFAR10({str(tmp_path)!r}, download=True)" in message


def test_cifar10_without_torchvision_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'evonas[vision]'" in error_of(DataConfig(name="cifar10"), "data.name: ")


def numbered(count: int, height: int = 1, width: int = 1) -> LabelledImages:
    """Images in which every value occurs once: pixel p of image i, channel c, is i + c / 10 + p / 10,000."""
    pixels = torch.arange(height * width, dtype=torch.float64).view(height, width) / 10_000
    channels = torch.arange(3, dtype=torch.float64).view(3, 1, 1) / 10
    images = torch.arange(count, dtype=torch.float64).view(-1, 1, 1, 1) + channels + pixels
    return LabelledImages(images, torch.arange(count))


def take(source: Iterator[tuple[Tensor, Tensor]], count: int) -> list[tuple[Tensor, Tensor]]:
    return [next(source) for _ in range(count)]


def test_every_epoch_is_a_new_permutation() -> None:
    drawn = take(image_batches(numbered(12), 4, seed=5), 9)
    epochs = [torch.cat([labels for _, labels in drawn[start : start + 3]]).tolist() for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in (*epochs, range(12))}) == 4
    for images, labels in drawn:
        assert torch.equal(images[:, 0, 0, 0], labels.double())


def test_an_incomplete_last_batch_is_dropped() -> None:
    drawn = take(image_batches(numbered(11), 4, seed=5), 8)
    assert all(images.shape == (4, 3, 1, 1) for images, _ in drawn)
    for start in range(0, 8, 2):
        assert len(set(torch.cat([labels for _, labels in drawn[start : start + 2]]).tolist())) == 8


def test_a_batch_is_never_larger_than_the_data() -> None:
    for _, labels in take(image_batches(numbered(3), 64, seed=0), 2):
        assert sorted(labels.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("options", [{}, {"crop": 4}, {"flip": True}, {"crop": 4, "flip": True}])
def test_batches_follow_from_the_seed_alone(options: dict[str, Any]) -> None:
    def draw(seed: int, noise: int) -> list[tuple[Tensor, Tensor]]:
        torch.manual_seed(noise)
        source, drawn = image_batches(numbered(40, 6, 6), 8, seed, **options), []
        for _ in range(7):
            torch.rand(noise)
            drawn.append(next(source))
        return drawn

    first, again, other = draw(1, 3), draw(1, 4), draw(2, 3)
    assert all(torch.equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(one[1], two[1]) for one, two in zip(first, other, strict=True))


def test_drawing_batches_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    take(image_batches(numbered(40, 6, 6), 8, seed=1, crop=3, flip=True), 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("flip", [False, True])
def test_crops_are_windows_of_their_image_at_every_place(flip: bool) -> None:
    whole, seen = numbered(10, 5, 7), set[tuple[int, int, bool]]()
    for images, labels in take(image_batches(whole, 10, seed=2, crop=3, flip=flip), 60):
        assert images.shape == (10, 3, 3, 3)
        assert images.is_contiguous()
        for image, label in zip(images, labels, strict=True):
            turned = bool(image[0, 0, 0] > image[0, 0, 1])
            upright = image.flip(2) if turned else image
            place = round((upright[0, 0, 0].item() - label.item()) * 10_000)
            top, left = divmod(place, 7)
            assert torch.equal(upright, whole.images[label, :, top : top + 3, left : left + 3])
            seen.add((top, left, turned))
    assert seen == {(top, left, turned) for top in range(3) for left in range(5) for turned in {False, flip}}


def test_about_half_of_the_images_are_flipped() -> None:
    flipped = [
        bool(image[0, 0, 0] > image[0, 0, 1])
        for images, _ in take(image_batches(numbered(50, 2, 2), 50, seed=0, flip=True), 20)
        for image in images
    ]
    assert len(flipped) == 1000
    assert 0.45 < np.mean(flipped) < 0.55


def test_augmentation_leaves_the_data_as_they_were() -> None:
    whole = numbered(10, 4, 4)
    before = whole.images.clone()
    for images, _ in take(image_batches(whole, 10, seed=0, crop=2, flip=True), 3):
        images.zero_()
    assert torch.equal(whole.images, before)


@pytest.mark.parametrize("colours", [1, 3])
def test_pooling_takes_block_means(tmp_path: Path, colours: int) -> None:
    images = pictures(20, 12, 12, colours)
    config = npz(tmp_path / "large.npz", x_train=images, y_train=classes(20))
    prepared = load_images(config.model_copy(update={"size": 4}))
    preparation = prepared.preparation
    assert prepared.image_size == 4
    blocks = images.reshape(20, 4, 3, 4, 3, colours).mean((2, 4)) / 255
    expected = (blocks - preparation.mean) / np.array(preparation.std)
    np.testing.assert_allclose(
        preparation(images), np.broadcast_to(expected.transpose(0, 3, 1, 2), (20, 3, 4, 4)), rtol=1e-4, atol=1e-5
    )
    std, mean = torch.std_mean(prepared.train.images, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)  # statistics are those of pooled images
    torch.testing.assert_close(std, torch.ones(3), atol=1e-5, rtol=0)


def test_pooling_makes_any_image_square(tmp_path: Path) -> None:
    config = npz(tmp_path / "tall.npz", x_train=pictures(20, 12, 8), y_train=classes(20))
    images = load_images(config.model_copy(update={"size": 8}))
    assert images.train.images.shape[1:] == (3, 8, 8)


def test_images_move_to_a_device_together() -> None:
    moved = numbered(3).to(torch.device("meta"))
    assert (moved.images.device.type, moved.labels.device.type, len(moved)) == ("meta", "meta", 3)
