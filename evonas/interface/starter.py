"""A first search file for images of one's own, with a comment on every key that a first user changes."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.files import write_named
from evonas.tasks.arrays import names_of
from evonas.tasks.data import load_arrays

QUICK_SIZE = 16  # pixels; a search on larger images takes several times as long
MOST_VALIDATION = 2000  # images that score each candidate
PLACEHOLDER = "images.npz"

_TEXT = Template("""\
# A search for a layer on my own images. Start it with: evonas search $file
# Every line may be changed. A key that is left out has its default; `evonas schema search` prints them all.

name = "$name"    # what the search is called; its folder is runs/$name
seed = 1    # everything random follows from it: the same file and the same seed give the same search

# Published layers that are trained first, under the same conditions, and shown beside every result.
# `evonas list layers` names all that there are.
baselines = ["bn-relu", "gn-relu", "evonorm-s0"]

[space]    # which layers there are
# Axes that a statistic may be taken over: chw is a whole image, hw one channel of it, ghw a group of channels.
# Without "bhw", the whole batch, a layer does the same in training and in evaluation, whatever the batch size.
index_sets = ["chw", "hw", "ghw"]

[layer]
groups = 4    # groups of channels for ghw; 32 is usual in networks of full size, and these are small

[data]
# A file of numpy with two arrays: x_train, the images, as bytes of the shape [n, height, width] or
# [n, height, width, 1 or 3]; and y_train, their classes, whole numbers from 0. The arrays x_test and y_test are not
# needed by a search; `evonas evaluate --test` takes them for a final comparison.
name = "npz"
path = $path    # seen from the folder in which evonas is started
$found
size = $size    # $size_says
validation = $validation    # images cut from the training images to score candidates on; 0 takes a fifth of them
flip = false    # whether training images are mirrored at random: right for most photographs, wrong for digits

[training]    # how each candidate is trained, the same for all of them
# A longer training tells good layers from lucky ones more surely, and fewer candidates are tried in the same time.
steps = 200
batch_size = 64    # images in a step
learning_rate = 0.1    # at its highest: it rises for `warmup` steps and then falls to 0
warmup = 20
weight_decay = 1e-4

# Networks in which each candidate is trained, one after the other. A layer must do well in all of them, so name
# networks that resemble those you care for. Fewer networks make a search faster, and its layers more particular.
[[tasks]]
architecture = "preact_resnet"    # or mobilenet_v2, efficientnet, densenet, all_cnn, timm:NAME, torchvision:NAME
width = 0.125    # channels against the published network
depth = [1, 1]    # blocks of each stage
unstrided = 1    # reductions of the image size that are left out, which small images need

[[tasks]]
architecture = "mobilenet_v2"
width = 0.5
depth = [1, 1, 1]
head = 64    # channels before the classifier
unstrided = 1

# A candidate is rejected if its accuracy is below `min_accuracy` after `steps` steps on any of the networks, which
# saves the rest of its training. If a search rejects every candidate here, lower it or take more steps.
[protocols.quality]
steps = 50
min_accuracy = $least    # $least_says

[protocols.propagation]    # rejects layers through which signals grow or fade in a deep network, before any training
depth = 20    # layers of that network; 0 turns the protocol off

[evolution]
window = 150    # parents are chosen among so many of the latest candidates
initial_random = 40    # candidates that are drawn at random before the first is chosen as a parent
point_mutation = 0.7    # share of the mutations that change one operation or input of a layer, and nothing else

[budget]    # when the search stops; `evonas search ... --budget 2h` sets it for one run
minutes = 60    # an hour on two cores is a reasonable first search; it may be stopped and resumed

[execution]
workers = 2    # processes; the results do not depend on how many there are
device = "auto"    # the GPU if there is one; or cpu, cuda, cuda:0

[rerank]    # `evonas rerank runs/$name` trains the best layers again, with seeds that the search has not used
top = 10    # so many of the best layers
seeds = 5    # so many times each
steps = 400    # longer than in the search
baselines = ["bn-relu", "evonorm-s0"]    # what they are compared with
""")


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a file of images holds.

    Attributes:
        images: how many.
        height: of an image.
        width: of an image.
        channels: 1 or 3.
        classes: how many there are, counted up to the highest label.
        largest: share of the largest class, which is the accuracy of a constant answer.
        test: how many test images; 0 if there are none.
    """

    images: int
    height: int
    width: int
    channels: int
    classes: int
    largest: float
    test: int = 0

    def __str__(self) -> str:
        """In words."""
        size, colours = f"{self.height}x{self.width}", "grey" if self.channels == 1 else "colour"
        test = f"{self.test} test images" if self.test else "no test images"
        return f"{self.images} {colours} images of {size} in {self.classes} classes, {test}"


def look_into(path: Path) -> DataFacts:
    """What an ``.npz`` file of images holds.

    Raises:
        InputError: it is not there, an array is missing, or one cannot be used.
    """
    data = DataConfig(name="npz", path=str(path))
    images, labels = load_arrays(data)
    counts = np.bincount(labels)
    if np.count_nonzero(counts) < 2:
        raise InputError(f"data.path: {path}", "y_train has less than two classes", accepted="two classes or more")
    has_test = {"x_test", "y_test"} <= names_of(str(path), f"data.path: {path}")
    test = len(load_arrays(data, test=True)[1]) if has_test else 0
    largest = float(counts.max() / counts.sum())
    count, height, width, channels = images.shape
    return DataFacts(count, height, width, channels, len(counts), largest, test)


def write_search_file(file: Path, data: Path | None = None, *, force: bool = False) -> DataFacts | None:
    """Write a search file with a comment on every key that a first user changes.

    Args:
        file: is written; the search is named after it.
        data: an ``.npz`` file of images, whose facts are filled in.
        force: overwrite a file that is there.

    Returns:
        What the images are, if any are given.

    Raises:
        InputError: the file is there already or is no .toml file, or the images cannot be used.
    """
    if file.suffix != ".toml":
        raise InputError("FILE.toml", str(file), accepted="a file that ends in .toml")
    if file.exists() and not force:
        raise InputError(str(file), "is there already", remedy="give another name, or overwrite it with --force")
    facts = look_into(data) if data is not None else None
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-") or "search"
    filled = _without_data() if facts is None else _filled(facts)
    path = json.dumps(str(data or PLACEHOLDER), ensure_ascii=False)
    write_named(file, _TEXT.substitute(filled, file=shlex.quote(str(file)), name=name, path=path))
    return facts


def _filled(facts: DataFacts) -> dict[str, object]:
    side = min(facts.height, facts.width)
    pooled = side > QUICK_SIZE
    as_they_are = f"{facts.height}x{facts.width}"
    size_says = (
        f"images of {as_they_are} are averaged to this height and width, for speed; 0 keeps them as they are"
        if pooled
        else f"0 keeps images as they are, {as_they_are}; another number averages them to that height and width"
    )
    least = min(1.5 * facts.largest, facts.largest + 0.05)
    return {
        "found": f"# Found there: {facts}.",
        "size": QUICK_SIZE if pooled else 0,
        "size_says": size_says,
        "validation": min(facts.images // 5, MOST_VALIDATION),
        "least": f"{min(least, 0.99):.3g}",
        "least_says": f"a constant answer, the largest class, would have {facts.largest:.3g}",
    }


def _without_data() -> dict[str, object]:
    return {
        "found": "# `evonas init --data FILE.npz` fills in what fits the images of a file.",
        "size": QUICK_SIZE,
        "size_says": "images are averaged to this height and width, for speed; 0 keeps them as they are",
        "validation": 0,
        "least": "0.15",
        "least_says": "for ten classes, where guessing has 0.1; give a little more than guessing has",
    }
