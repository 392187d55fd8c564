"""The table of methods: how the maps of an intervention are estimated."""

from collections.abc import Callable
from dataclasses import dataclass

from evonas.errors import InputError
from evonas.registry import Registry
from evonas.studies.steering.estimators import classifier_shift, linear_transport, mean_shift
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.mixture import MixtureMap, mixture_transport

LINEAS, PROMPT = "lineas", "prompt"
SteeringMap = AffineMap | MixtureMap


@dataclass(frozen=True, slots=True)
class Method:
    """A steering method.

    Attributes:
        name: what ``fit`` and study files call it.
        estimate: from the pooled activations of a site, source [n, d] and target [m, d], to the map of that site; a
            pure function. None for LinEAS, which learns all maps together by descent, and for ``prompt``.
        meaning: in a few words, w and b of the map w z + b.
        source: where it was published.
        sequential: each site sees source activations that the maps before it have moved, unless
            ``fit(sequential=False)``; otherwise all are estimated on the untouched model.
        configured: ``estimate`` takes ``bounded`` and ``pool`` as well, settings of ``fit``.
        clustered: ``estimate`` takes ``clusters`` as well.
    """

    name: str
    estimate: Callable[..., SteeringMap] | None
    meaning: str
    source: str
    sequential: bool = False
    configured: bool = False
    clustered: bool = False


def _require_usable(method: Method) -> None:
    """Refuse a method that could not be fitted or saved."""
    where = f"steering method {method.name!r}"
    if not method.name.replace("-", "_").isidentifier() or method.name == "none":
        raise InputError(where, "is no name", accepted="letters, digits, _ and -, but not none")
    if not callable(method.estimate) or not method.meaning or not method.source:
        raise InputError(where, "lacks something", accepted="an estimate, a meaning and a source")


METHODS = Registry(
    "steering method",
    (
        Method(LINEAS, None, "least sum of 1-D squared Wasserstein distances", "Rodriguez et al. 2025"),
        Method(
            "linear-act",
            linear_transport,
            "best affine map between quantiles, site by site",
            "Rodriguez et al. 2024",
            sequential=True,
            configured=True,
        ),
        Method("mean-act", mean_shift, "1, difference of means", "Rodriguez et al. 2024", sequential=True),
        Method("caa", mean_shift, "1, difference of means", "Rimsky et al. 2023"),
        Method(
            "iti-c",
            classifier_shift,
            "1, one standard deviation along the normal of a logistic regression",
            "Li et al. 2023",
        ),
        Method(
            "chars",
            mixture_transport,
            "no w and b: shifts of clusters, mixed by how near a token lies to each, site by site",
            "Abdullaev et al. 2026",
            sequential=True,
            clustered=True,
        ),
        Method(PROMPT, None, "no map: an instruction before the text", "what everybody tries first"),
    ),
    _require_usable,
)


def register_method(method: Method) -> Method:
    """Add a steering method, for ``evonas.steering.fit`` and for study files.

    Raises:
        InputError: another method has the name, or the record lacks something.
    """
    return METHODS.register(method)
