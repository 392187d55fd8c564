"""The sections of a card: what each shows, which command makes its record, and for which layers it makes sense."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from evonas.interface.card import readers
from evonas.interface.card.readers import Reader
from evonas.search.named import NamedLayer

BASELINES = {"bchw": ("bn-relu", "evonorm-s0"), "btd": ("layernorm", "rmsnorm")}


@dataclass(frozen=True, slots=True)
class SectionKind:
    """A section.

    Attributes:
        name: in JSON.
        title: of the section.
        record: the kind of record that it is read from; sections that share one share its command.
        read: from a record and the key of a layer to what it says; None where it says nothing.
        layouts: of the layers for which it makes sense.
        senseless: why it makes none for others.
    """

    name: str
    title: str
    record: str
    read: Reader
    layouts: tuple[str, ...] = ("bchw", "btd")
    senseless: str = ""


_MAPS = ("bchw",)
_NO_MAPS = "the layer is for tokens, and these networks work on maps"
SECTIONS = (
    SectionKind("accuracy", "Accuracy", "accuracy", readers.accuracy),
    SectionKind("costs", "Time and memory", "accuracy", readers.costs),
    SectionKind("certificate", "Regime certificate", "certificate", readers.certificate),
    SectionKind("stability", "Learning rates and stability", "components", readers.stability),
    SectionKind("sparsity", "Activation sparsity", "components", readers.sparsity),
    SectionKind("steering", "Activation steering", "components", readers.steering),
    SectionKind("hypernetwork", "In a hypernetwork", "components", readers.hypernetwork),
    SectionKind("detection", "Instance segmentation", "detection", readers.accuracy, _MAPS, _NO_MAPS),
    SectionKind("synthesis", "Image synthesis", "synthesis", readers.accuracy, _MAPS, _NO_MAPS),
)


def commands(text: str, layer: NamedLayer, layout: str, settings: Sequence[str]) -> dict[str, list[str]]:
    """By kind of record, the arguments of ``evonas`` that make it, the cheapest first.

    Args:
        text: the layer as it was typed.
        layer: what it names.
        layout: what it is made for.
        settings: changes of settings, ``a.b=c``, that all of them get.
    """
    others = [name for name in BASELINES[layout] if name != layer.name]
    baselines = [word for name in others for word in ("--baseline", name)]
    layers = json.dumps([text, *others])
    images = layout == "bchw"
    found = {
        "components": ["components", "components", "--set", f"layers={layers}"],
        "accuracy": ["evaluate", text, "--settings", "card_images" if images else "card_tokens", *baselines],
        "certificate": ["certify", text, "--settings", "certificate" if images else "certificate_tokens"],
    }
    found["accuracy"] += ["--test"] if images else []
    found["certificate"] += ["--against", others[0]]
    if images:
        found["detection"] = ["evaluate", text, "--settings", "maskrcnn", *baselines[:2]]
        found["synthesis"] = ["evaluate", text, "--settings", "biggan", *baselines[:2]]
    changes = [word for change in settings for word in ("--set", change)]
    return {kind: [*words, *changes] for kind, words in found.items()}
