"""Known layers as genomes, under the names people use. The trailing affine of every lowered layer is not part of them.

Sources: EvoNorm B0-B2, S0-S2: Liu et al. 2020 (arXiv 2004.02967). FRN-TLU: Singh & Krishnan 2020 (arXiv 1911.09737),
with the TLU threshold moved before the affine (equal for positive weights). BN and GN followed by an activation use
v1 and v0 as the normalization's own affine, so that the activation follows it.

For transformers: LayerNorm, RMSNorm; DyT: Zhu et al. 2025 (arXiv 2503.10622); Derf: Chen et al. 2025 (arXiv
2512.10938). Their trainable numbers, one for the whole layer and initially 0.5 and 0, are here one per feature, as v1
/ 2 and v0.
"""

from collections.abc import Mapping
from types import MappingProxyType

from evonas.errors import InputError
from evonas.graph.genome import Genome


def _normalized(moment: str, output: str) -> str:
    return (
        f"a = mean[{moment}](x); b = neg(a); c = add(x, b); d = std[{moment}](x); "
        f"e = div(c, d); f = mul(e, v1); g = add(f, v0); {output}"
    )


_TEXTS = {
    "bn-relu": _normalized("bhw", "max(g, zero)"),
    "bn-relu6": _normalized("bhw", "h = max(g, zero); min(h, 6)"),
    "bn-silu": _normalized("bhw", "h = sigmoid(g); mul(g, h)"),
    "gn-relu": _normalized("ghw", "max(g, zero)"),
    "frn-tlu": "a = rms[hw](x); b = div(x, a); max(b, v0)",
    "evonorm-b0": "a = std[bhw](x); b = mul(x, v1); c = std[hw](x); d = add(b, c); e = max(a, d); div(x, e)",
    "evonorm-b1": "a = std[bhw](x); b = rms[hw](x); c = mul(x, b); d = add(c, b); e = max(a, d); div(x, e)",
    "evonorm-b2": "a = std[bhw](x); b = rms[hw](x); c = neg(x); d = add(b, c); e = max(a, d); div(x, e)",
    "evonorm-s0": "a = mul(x, v1); b = sigmoid(a); c = mul(x, b); d = std[ghw](x); div(c, d)",
    "evonorm-s1": "a = sigmoid(x); b = mul(x, a); c = std[ghw](x); div(b, c)",
    "evonorm-s2": "a = sigmoid(x); b = mul(x, a); c = rms[ghw](x); div(b, c)",
    "layernorm": "a = mean[d](x); b = neg(a); c = add(x, b); d = std[d](x); div(c, d)",
    "rmsnorm": "a = rms[d](x); div(x, a)",
    "dyt": "a = mul(v1, 0.5); b = mul(x, a); tanh(b)",
    "derf": "a = mul(v1, 0.5); b = mul(x, a); c = add(b, v0); erf(c)",
}

CATALOGUE: Mapping[str, Genome] = MappingProxyType({name: Genome.from_text(text) for name, text in _TEXTS.items()})


def catalogued(name: str, where: str) -> Genome:
    """The catalogue's layer of the name that stands at ``where``.

    Raises:
        InputError: there is none.
    """
    if name not in CATALOGUE:
        raise InputError(where, f"unknown layer {name!r}", accepted=", ".join(CATALOGUE))
    return CATALOGUE[name]


def catalogued_or_text(text: str, where: str) -> Genome:
    """The layer that a catalogue name or a text form means, which stands at ``where``.

    Raises:
        InputError: it is neither.
    """
    if text in CATALOGUE:
        return CATALOGUE[text]
    if "(" not in text:
        accepted = f"a text form such as 'sigmoid(x)', or a catalogue name: {', '.join(CATALOGUE)}"
        raise InputError(where, repr(text), accepted=accepted)
    try:
        return Genome.from_text(text)
    except InputError as error:
        raise error.at(f"{where} {text!r}") from None
