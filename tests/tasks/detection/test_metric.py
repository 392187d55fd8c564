"""Oracles: precision and recall by hand; predictions that are the truth, and none at all."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evonas.tasks.detection.data import Scene, Scenes, Target, target_of
from evonas.tasks.detection.metric import average_precision, found_objects, precision_of

pytest.importorskip("torchmetrics", reason="pip install 'evonas[detection]'")
pytest.importorskip("faster_coco_eval", reason="pip install 'evonas[detection]'")

SIDE = 40


def squares(*places: tuple[int, int, int]) -> Tensor:
    """Masks of squares, each given by its left and upper edge and its side."""
    masks = torch.zeros(len(places), SIDE, SIDE, dtype=torch.uint8)
    for mask, (left, top, side) in zip(masks, places, strict=True):
        mask[top : top + side, left : left + side] = 1
    return masks


def truth(masks: Tensor, *labels: int, crowds: tuple[int, ...] | None = None) -> Target:
    return target_of(masks, torch.tensor(labels, dtype=torch.int64), None if crowds is None else torch.tensor(crowds))


def found(target: Target, *scores: float) -> Target:
    """Predictions of the objects of a target."""
    return {
        "boxes": target["boxes"],
        "labels": target["labels"],
        "masks": target["masks"].bool(),
        "scores": torch.tensor(scores, dtype=torch.float32),
    }


TWO = truth(squares((2, 2, 10), (20, 20, 12)), 1, 2)
NOTHING = found(truth(squares()))


def precision(*pairs: tuple[Target, Target]) -> dict[str, float]:
    return precision_of(iter((one, true | {"masks": true["masks"].bool()}) for one, true in pairs))


def test_the_truth_has_a_precision_of_one_and_nothing_has_none() -> None:
    perfect = precision((found(TWO, 0.9, 0.8), TWO), (found(TWO, 0.3, 0.2), TWO))
    assert perfect == pytest.approx({"mask_ap": 1, "mask_ap50": 1, "box_ap": 1, "box_ap50": 1})
    assert precision((NOTHING, TWO)) == {"mask_ap": 0, "mask_ap50": 0, "box_ap": 0, "box_ap50": 0}


def test_the_score_comes_first() -> None:
    assert next(iter(precision((NOTHING, TWO)))) == "mask_ap"


def test_the_class_must_be_right() -> None:
    wrong = truth(squares((2, 2, 10), (20, 20, 12)), 2, 1)
    assert precision((found(wrong, 0.9, 0.8), TWO))["mask_ap50"] == 0


def test_a_case_by_hand() -> None:
    """One class, three objects; by falling score: right, wrong, right, and the third object is not found.

    Precision at recall 1/3 is 1, at recall 2/3 it is 2/3, beyond it 0. Of the recalls 0, 0.01, ..., 1, 34 are at most
    1/3 and 33 more are at most 2/3: (34 + 33 * 2/3) / 101.
    """
    true = truth(squares((0, 0, 8), (10, 0, 8), (20, 0, 8)), 1, 1, 1)
    predicted = found(truth(squares((0, 0, 8), (0, 30, 8), (10, 0, 8)), 1, 1, 1), 0.9, 0.8, 0.7)
    expected = (34 + 33 * 2 / 3) / 101
    assert precision((predicted, true)) == pytest.approx(
        dict.fromkeys(("mask_ap", "mask_ap50", "box_ap", "box_ap50"), expected)
    )


def test_the_mean_is_over_ten_thresholds_of_the_overlap() -> None:
    """A square of 10 pixels instead of 8 over the object: the overlap is 64 / 100, which reaches 0.5, 0.55 and 0.6."""
    true = truth(squares((10, 10, 8)), 1)
    figures = precision((found(truth(squares((9, 9, 10)), 1), 0.9), true))
    assert figures == pytest.approx({"mask_ap": 0.3, "mask_ap50": 1, "box_ap": 0.3, "box_ap50": 1})


def test_masks_and_boxes_are_scored_apart() -> None:
    """A mask that is half of its object but has the same box."""
    true = truth(squares((10, 10, 10)), 1)
    half = found(true, 0.9)
    half["masks"] = half["masks"].clone()
    half["masks"][0, 12:18, 10:20] = False
    figures = precision((half, true))
    assert figures["box_ap"] == pytest.approx(1)
    assert figures["mask_ap50"] == 0


def test_predictions_on_a_crowd_are_neither_right_nor_wrong() -> None:
    true = truth(squares((0, 0, 8), (20, 20, 16)), 1, 1, crowds=(0, 1))
    predicted = found(truth(squares((20, 20, 6), (28, 28, 6), (0, 0, 8)), 1, 1, 1), 0.9, 0.8, 0.7)
    assert precision((predicted, true))["mask_ap"] == pytest.approx(1)
    single = truth(squares((0, 0, 8)), 1)  # without the crowd the first two are wrong
    assert precision((predicted, single))["mask_ap"] == pytest.approx(1 / 3, abs=0.01)


def test_images_without_objects_count_what_is_found_there_as_wrong() -> None:
    empty, one = truth(squares()), truth(squares((0, 0, 8)), 1)
    assert precision((NOTHING, empty), (found(one, 0.5), one))["mask_ap"] == pytest.approx(1)
    assert precision((found(one, 0.9), empty), (found(one, 0.5), one))["mask_ap"] == pytest.approx(0.5, abs=0.01)
    assert precision((NOTHING, empty))["mask_ap"] == 0  # torchmetrics gives -1


class Oracle(nn.Module):
    """Knows the scenes by their first pixel, as a detector of torchvision gives what it finds; counts its calls."""

    def __init__(self, scenes: Scenes) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.known = {float(scenes.draw(n).image[0, 0, 0]): scenes.draw(n).target for n in range(len(scenes))}
        self.sizes: list[int] = []

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        assert not self.training
        self.sizes.append(len(images))
        targets = [self.known[float(image[0, 0, 0])] for image in images]
        return [
            {
                "boxes": target["boxes"],
                "labels": target["labels"],
                "scores": torch.full((len(target["labels"]),), 0.9),
                "masks": target["masks"][:, None] * 0.6 + 0.2,  # probabilities of 0.2 and 0.8
            }
            for target in targets
        ]


def scenes_of(*targets: Target) -> Scenes:
    return Scenes(len(targets), lambda number: Scene(torch.full((3, SIDE, SIDE), number / 8), targets[number]))


def test_a_network_sees_every_scene_in_evaluation_mode_and_keeps_its_modes() -> None:
    scenes = scenes_of(TWO, truth(squares()), truth(squares((5, 5, 9)), 3))
    model = Oracle(scenes).train()
    assert average_precision(scenes, 2, model)["mask_ap"] == pytest.approx(1)
    assert model.sizes == [2, 1]
    assert model.training


def test_a_pixel_belongs_to_an_object_if_that_is_likelier_than_not() -> None:
    scenes = scenes_of(TWO)
    (objects,) = found_objects(Oracle(scenes), [scenes.draw(0).image])
    assert torch.equal(objects["masks"], TWO["masks"].bool())
    assert objects["scores"].tolist() == pytest.approx([0.9, 0.9])
