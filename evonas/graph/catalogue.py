"""Known layers as genomes, under the names people use. The trailing affine of every lowered layer is not part of them.

FRN-TLU has its threshold before the affine here, which is equal for positive weights. BN and GN followed by an
activation use v1 and v0 as the normalization's own affine, so that the activation follows it. The trainable numbers of
DyT and Derf, one for the whole layer and initially 0.5 and 0, are here one per feature, as v1 / 2 and v0.

Names that begin with ``evonas-`` are layers that searches of this project found: the letter and number say whether they
use batch statistics (b) or not (s), and count.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evonas.errors import InputError, listed
from evonas.graph.genome import Genome
from evonas.graph.primitive import INITIAL_NODES

_ONE_WORD = re.compile(r"[\w./~-]*")  # as a name or a path is written


@dataclass(frozen=True, slots=True)
class KnownLayer:
    """What is known of a layer of the catalogue.

    Attributes:
        text: its text form.
        source: where it was published, or which search found it.
        evidence: of a layer found here: what has been measured, and what has not been shown. Empty for published ones.
        layout: of a layer without moments: the axes of the inputs it was published for.
    """

    text: str
    source: str
    evidence: str = ""
    layout: str | None = None


def _normalized(moment: str, output: str) -> str:
    return (
        f"a = mean[{moment}](x); b = neg(a); c = add(x, b); d = std[{moment}](x); "
        f"e = div(c, d); f = mul(e, v1); g = add(f, v0); {output}"
    )


_BN = "Ioffe & Szegedy 2015, arXiv 1502.03167"
_GN = "Wu & He 2018, arXiv 1803.08494"
_EVONORM = "Liu et al. 2020, arXiv 2004.02967"
_CHECK = (
    "Independent check on three networks of other kinds, CIFAR-10 at 16x16, official test images, 500 steps, 7 seeds"
)
_OPEN = "Not shown: larger images and networks, longer trainings, how often a search finds such a layer."

KNOWN: Mapping[str, KnownLayer] = MappingProxyType(
    {
        "bn-relu": KnownLayer(_normalized("bhw", "max(g, zero)"), _BN),
        "bn-relu6": KnownLayer(_normalized("bhw", "h = max(g, zero); min(h, 6)"), _BN),
        "bn-silu": KnownLayer(_normalized("bhw", "h = sigmoid(g); mul(g, h)"), _BN),
        "gn-relu": KnownLayer(_normalized("ghw", "max(g, zero)"), _GN),
        "frn-tlu": KnownLayer("a = rms[hw](x); b = div(x, a); max(b, v0)", "Singh & Krishnan 2020, arXiv 1911.09737"),
        "evonorm-b0": KnownLayer(
            "a = std[bhw](x); b = mul(x, v1); c = std[hw](x); d = add(b, c); e = max(a, d); div(x, e)", _EVONORM
        ),
        "evonorm-b1": KnownLayer(
            "a = std[bhw](x); b = rms[hw](x); c = mul(x, b); d = add(c, b); e = max(a, d); div(x, e)", _EVONORM
        ),
        "evonorm-b2": KnownLayer(
            "a = std[bhw](x); b = rms[hw](x); c = neg(x); d = add(b, c); e = max(a, d); div(x, e)", _EVONORM
        ),
        "evonorm-s0": KnownLayer("a = mul(x, v1); b = sigmoid(a); c = mul(x, b); d = std[ghw](x); div(c, d)", _EVONORM),
        "evonorm-s1": KnownLayer("a = sigmoid(x); b = mul(x, a); c = std[ghw](x); div(b, c)", _EVONORM),
        "evonorm-s2": KnownLayer("a = sigmoid(x); b = mul(x, a); c = rms[ghw](x); div(b, c)", _EVONORM),
        "layernorm": KnownLayer(
            "a = mean[d](x); b = neg(a); c = add(x, b); d = std[d](x); div(c, d)", "Ba et al. 2016, arXiv 1607.06450"
        ),
        "rmsnorm": KnownLayer("a = rms[d](x); div(x, a)", "Zhang & Sennrich 2019, arXiv 1910.07467"),
        "dyt": KnownLayer(
            "a = mul(v1, 0.5); b = mul(x, a); tanh(b)", "Zhu et al. 2025, arXiv 2503.10622", layout="btd"
        ),
        "derf": KnownLayer(
            "a = mul(v1, 0.5); b = mul(x, a); c = add(b, v0); erf(c)",
            "Chen et al. 2025, arXiv 2512.10938",
            layout="btd",
        ),
        "evonas-s1": KnownLayer(
            "a = add(x, v1); b = sigmoid(a); c = mul(x, b); d = std[ghw](x); div(c, d)",
            "found in an hour of search_spaces/cifar_s.toml; seed 1, 25,000 images of CIFAR-10 at 16x16: run "
            "cifar-s-warm, candidate 104, fourth by its mean score, first of eight when reranked",
            "Mean accuracy on three networks that the search had not seen, 5 seeds, 95 % intervals: 1.11 points above "
            f"EvoNorm-S0 [+0.84, +1.38], 1.97 below BN-ReLU. {_CHECK}: 0.77 above EvoNorm-S0 [+0.40, +1.15], nearly "
            "all from one of the three (+0.06, +0.10, +2.15); means are 0.473 against 0.465 for EvoNorm-S0, 0.421 for "
            f"GN-ReLU and 0.508 for BN-ReLU. {_OPEN}",
        ),
        "evonas-b1": KnownLayer(
            "a = mean[bhw](x); b = neg(a); c = add(x, b); d = std[bhw](x); e = div(c, d); f = div(e, v1); "
            "g = add(f, d); max(g, zero)",
            "found in an hour of search_spaces/cifar_b.toml; seed 1, 25,000 images of CIFAR-10 at 16x16: run "
            "cifar-b, candidate 128, fourth by its mean score, first of eight when reranked",
            "Mean accuracy on three networks that the search had not seen, 5 seeds, 95 % intervals: 2.44 points above "
            f"BN-ReLU [+1.69, +3.19], 3.13 above EvoNorm-B0 [+2.57, +3.70]. {_CHECK}: 1.06 below BN-ReLU [-1.51, "
            "-0.61], 0.90 above EvoNorm-B0 [+0.62, +1.17]; means are 0.498 against 0.508 for BN-ReLU and 0.489 for "
            f"EvoNorm-B0. So it is not better than BN-ReLU in every network. {_OPEN}",
        ),
    }
)


class UnknownLayerError(InputError, KeyError):
    """A name that is not in the catalogue."""

    __str__ = Exception.__str__  # that of KeyError puts quotes around the message


class Catalogue(Mapping[str, Genome]):
    """Known layers by name, in a fixed order."""

    def __init__(self, known: Mapping[str, KnownLayer]) -> None:
        self._genomes = {name: Genome.from_text(layer.text) for name, layer in known.items()}

    def __getitem__(self, name: str) -> Genome:
        """The layer of a name.

        Raises:
            UnknownLayerError: there is none; it is also a ``KeyError``.
        """
        if name not in self:
            raise unknown_layer(str(name), "catalogue", self)
        return self._genomes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._genomes

    def __iter__(self) -> Iterator[str]:
        return iter(self._genomes)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._genomes)

    def __len__(self) -> int:
        return len(self._genomes)

    def __repr__(self) -> str:
        return f"Catalogue({', '.join(self)})"


def unknown_layer(name: str, where: str, accepted: Mapping[str, Genome]) -> UnknownLayerError:
    """The error that says that no layer has the name, with one that is written nearly so."""
    remedy = _nearest(name, accepted)
    return UnknownLayerError(where, f"unknown layer {name!r}", accepted=listed(accepted), remedy=remedy)


def _nearest(name: str, names: Mapping[str, Genome]) -> str:
    letters = {re.sub(r"\W|_", "", known.lower()): known for known in names}  # EvoNormS0 and evonorm_s0 are close too
    close = difflib.get_close_matches(re.sub(r"\W|_", "", name.lower()), letters, n=1, cutoff=0.7)
    return f"did you mean {letters[close[0]]!r}?" if close else ""


CATALOGUE = Catalogue(KNOWN)

_PUBLISHED_FOR = {CATALOGUE[name].key: known.layout for name, known in KNOWN.items() if known.layout}


def known_layout(genome: Genome) -> str | None:
    """The layout of a layer's inputs: that of its moments, or without any that a catalogue layer was published for.

    None where neither says: the layer may be one of images or one of tokens.
    """
    return genome.layouts[0] if genome.layouts else _PUBLISHED_FOR.get(genome.key)


def genome_of(layer: Genome | str) -> Genome:
    """The genome that a function was given, which may also be named or written.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(layer, Genome):
        return layer
    if not isinstance(layer, str):
        accepted = "a Genome, a catalogue name, a formula or a text form"
        raise InputError("layer", f"is a {type(layer).__name__}", accepted=accepted)
    return parse_layer(layer, "layer")


def from_catalogue(name: str, where: str) -> Genome:
    """The catalogue's layer of the name that stands at ``where``.

    Raises:
        InputError: there is none.
    """
    if name not in CATALOGUE:
        raise unknown_layer(name, where, CATALOGUE)
    return CATALOGUE[name]


def parse_layer(text: str, where: str, *, others: str = "") -> Genome:
    """The layer that a catalogue name, a formula, a text form or JSON means, which stands at ``where``.

    Statements, as of ``a = sigmoid(x); mul(x, a)``, are a text form; any other expression is a formula.

    Args:
        text: what was written.
        where: is put into errors.
        others: what else may stand there, for errors.

    Raises:
        InputError: it is none of these.
    """
    text = text.strip()
    if text in CATALOGUE:
        return CATALOGUE[text]
    if not is_expression(text):
        accepted = f"a formula or text form such as 'x * sigmoid(x)', {others}or a catalogue name: "
        raise InputError(where, repr(text), accepted=accepted + listed(CATALOGUE), remedy=_nearest(text, CATALOGUE))
    statements = re.split(r"\bwhere\b", text)[0]
    try:
        if text.lstrip().startswith("{"):
            return Genome.from_json(text)
        return Genome.from_text(text) if set("=;") & set(statements) else Genome.from_formula(text)
    except InputError as error:
        raise error.at(where) from None


def is_expression(text: str) -> bool:
    """Whether a text is written as a layer is, not as a name or a path."""
    words = [word for word in re.split(r"[-/.]", text.strip()) if word]
    known = bool(words) and all(word in INITIAL_NODES or word.isdecimal() for word in words)
    return known or _ONE_WORD.fullmatch(text.strip()) is None
