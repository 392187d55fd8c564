"""Checks of steering methods."""

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from evonas.studies.steering.fit import fit
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.methods import PROMPT, Method, register_method
from evonas.studies.steering.mixture import MixtureMap
from evonas.testing.sentences import require, saying

FEATURES = 6


def check_steering_method(method: Method) -> None:
    """Check that a method gives finite maps, the same twice, and interventions that are saved; it is registered.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    name = method.name
    with saying(f"The steering method {name!r} cannot be registered"):
        register_method(method)
    if method.name == PROMPT:
        return  # no maps
    if method.estimate is not None:
        _check_estimate(method)
    one, two = _fitted(method), _fitted(method)
    for first, second in zip(one.maps, two.maps, strict=True):
        same = all(torch.equal(value, second.parts[part]) for part, value in first.parts.items())
        require(same, f"The steering method {name!r} gives other maps when it is fitted again.")
    with saying(f"An intervention of {name!r} is not saved and read back"), tempfile.TemporaryDirectory() as folder:
        one.save(Path(folder) / "maps")
        read = Intervention.load(Path(folder) / "maps")
        torch.testing.assert_close([m.parts for m in read.maps], [m.parts for m in one.maps], rtol=0, atol=0)


def _check_estimate(method: Method) -> None:
    estimate, name = method.estimate, method.name
    assert estimate is not None
    estimate = partial(estimate, bounded=True) if method.configured else estimate
    estimate = partial(estimate, clusters=2) if method.clustered else estimate
    for case, (source, target) in {
        "samples": (_samples(0, 9), _samples(1, 7) * 2 + 1),
        "two samples": (_samples(0, 2), _samples(1, 2)),
        "equal samples": (_samples(0, 1).expand(4, -1), _samples(1, 1).expand(3, -1)),
    }.items():
        with saying(f"The steering method {name!r} fails on {case}"):
            found = estimate(source, target)
        known = isinstance(found, AffineMap | MixtureMap)
        require(known, f"The steering method {name!r} gives {type(found).__name__}, no AffineMap.")
        for part, value in found.parts.items():
            fits = value.dtype == source.dtype and bool(torch.isfinite(value).all())
            fits = fits and (not isinstance(found, AffineMap) or value.shape == (FEATURES,))
            require(fits, f"The {part} of {name!r} on {case} is not {FEATURES} finite numbers of the samples' type.")


def _samples(seed: int, count: int) -> Tensor:
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))


def _fitted(method: Method) -> Intervention:
    """An intervention on a small network of fixed weights."""
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Tanh(), nn.Linear(FEATURES, FEATURES))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            draw = torch.Generator().manual_seed(number)
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=draw))
    with saying(f"The steering method {method.name!r} cannot be fitted"):
        return fit(model, [_samples(0, 9)], [_samples(1, 7) + 1], sites="1", method=method.name, steps=3)
