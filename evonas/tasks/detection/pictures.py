"""True objects of scenes, and those that a network finds, one above the other."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from evonas.report.pictures.figure import INK, new_figure, small_png, to_array
from evonas.tasks.detection.data import Scenes, Target, without_crowds
from evonas.tasks.detection.metric import found_objects

SHOWN = 4  # scenes
_INCHES, _MARGIN = 2.2, 0.3  # side of a scene, and what is left of the first one
_OPACITY = 0.55


def mask_picture(scenes: Scenes, classes: Sequence[str], model: nn.Module) -> bytes:
    """A PNG file: in the upper row the objects of the first scenes, in the lower one what the network finds there.

    An object is coloured by its class, which is written on its box; of predictions with the score. As many predictions
    of a scene are shown as it has objects, those with the highest scores. No score would do as a limit: scores are low
    until a network has been trained for long.
    """
    drawn = [scenes.draw(number) for number in range(min(SHOWN, len(scenes)))]
    true = [without_crowds(scene.target) for scene in drawn]
    outputs = found_objects(model, [scene.image for scene in drawn])
    found = [_best(objects, len(target["labels"])) for objects, target in zip(outputs, true, strict=True)]
    width, height = _MARGIN + _INCHES * len(drawn), 2 * _INCHES
    figure = new_figure(width, height)
    grid = figure.subplots(2, len(drawn), squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for row, (name, targets) in enumerate((("true", true), ("found", found))):
        for axes, scene, target in zip(grid[row], drawn, targets, strict=True):
            _draw(axes, scene.image, target, classes)
        grid[row, 0].set_ylabel(name, color=INK)
    figure.subplots_adjust(left=_MARGIN / width, right=0.995, bottom=0.01, top=0.99)
    return small_png(to_array(figure))


def _best(found: Target, count: int) -> Target:
    chosen = found["scores"].argsort(descending=True)[:count]
    return {name: values[chosen] for name, values in found.items()}


def _draw(axes: Axes, image: Tensor, target: Target, classes: Sequence[str]) -> None:
    colours = [colormaps["tab10"]((int(label) - 1) % 10)[:3] for label in target["labels"]]
    axes.imshow(_coloured(image.permute(1, 2, 0).numpy(), target["masks"].bool().numpy(), colours))
    axes.set(xticks=[], yticks=[])
    scores = target["scores"].tolist() if "scores" in target else [None] * len(colours)
    for box, label, score, colour in zip(target["boxes"], target["labels"], scores, colours, strict=True):
        left, top, right, bottom = box.tolist()
        axes.add_patch(
            Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1)
        )
        text = classes[int(label) - 1] + ("" if score is None else f" {score:.2f}")
        above = top > image.shape[1] / 12  # whether there is room for the text
        axes.text(
            max(0.0, left),
            top - 1 if above else top,
            text,
            va="bottom" if above else "top",
            fontsize=6,
            color="white",
            clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
        )


def _coloured(
    pixels: NDArray[np.float32], masks: NDArray[np.bool_], colours: Sequence[tuple[float, ...]]
) -> NDArray[np.float32]:
    shown = pixels.copy()
    for mask, colour in zip(masks, colours, strict=True):
        shown[mask] = (1 - _OPACITY) * shown[mask] + _OPACITY * np.asarray(colour, np.float32)
    return shown.clip(0, 1)
