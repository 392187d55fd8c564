"""All-CNN-C with batch normalization: convolutions one after the other, with neither shortcuts nor poolings.

Nothing carries a signal around the layers here, and nothing but the layers is nonlinear. Where max pooling, a gate or a
ReLU of its own helps, a layer that is linear in its input looks better than it is (runs/kept/truth).
Source: Springenberg et al. 2015, "Striving for Simplicity: The All Convolutional Net", arXiv:1412.6806, Table 1 and
section 3; it has neither norms nor the initial weights that go with them.
"""

from collections.abc import Sequence

from torch import nn

DEPTH = (3, 3, 2)
MOST_STAGES = 6
_FIRST, _LATER = 96, 192  # channels


def make(*, width: float, depth: Sequence[int], head: int | None, num_classes: int) -> nn.Module:
    """A network of three-channel images, without dropout; ``head`` has no counterpart here and must be None.

    Its reductions are the strided 3x3 convolutions that end all stages but the last. In the last stage all convolutions
    but the first are 1x1. The published last 1x1 convolution is applied after the mean over space, which is the same.
    More stages than the three that are published have the channels of the third, and end on smaller maps.

    Args:
        width: multiplier of all channels, which are rounded to multiples of 8.
        depth: convolutions per stage, 0 for a dropped one.
        head: None.
        num_classes: number of logits.
    """
    assert head is None
    layers: list[nn.Module] = []
    last = 3
    for stage, convolutions in enumerate(depth):
        own = max(8, round(width * (_LATER if stage else _FIRST) / 8) * 8)
        for number in range(1, convolutions + 1):
            final = stage == len(depth) - 1
            kernel, stride = (1 if final and number > 1 else 3), (2 if not final and number == convolutions else 1)
            conv = nn.Conv2d(last, own, kernel, stride, kernel // 2, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            layers += [conv, nn.BatchNorm2d(own), nn.ReLU(inplace=True)]
            last = own
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, num_classes))
