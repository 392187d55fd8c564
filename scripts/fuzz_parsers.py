"""What is fuzzed: each parser of evonas, with malformed inputs for it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import fuzz_mutators as mutators
import fuzz_samples as samples
from fuzz_cases import (
    archive_cases,
    change_cases,
    constant,
    contents_of,
    joined,
    json_cases,
    npz_cases,
    row_cases,
    tensor_cases,
    toml_cases,
    written_cases,
)
from fuzz_mutators import Cases, by_bytes, by_structure, by_tokens, by_words, mixed, toml_of
from fuzz_reads import READS, Read, archive_sample, read_settings

from evonas.config import CertificateConfig, SearchConfig, section
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.studies.hypernet.settings import HypernetStudyConfig
from evonas.studies.sparsity.study import SparsityStudyConfig, check
from evonas.studies.stability.study import StabilityStudyConfig
from evonas.studies.steering.study import SteeringStudyConfig


@dataclass(frozen=True)
class Parser:
    """What is fuzzed.

    Attributes:
        cases: draws an input.
        read: reads it, in an empty folder of its own; an ``InputError`` refuses it, and anything else is a failure.
    """

    cases: Cases
    read: Read


def parsers() -> dict[str, Parser]:
    """All parsers by name."""
    tokens = [
        *samples.WORDS,
        *" =;(),[]\n",
        "a",
        "b",
        "a = ",
        "2",
        "-0.5",
        "1e400",
        "é",
        "where",
        "^",
        "**",
        "+",
        "-",
        "*",
        "/",
    ]
    layers = [Genome.from_text(text).to_json() for text in samples.TEXTS]
    names = [
        "run#1",
        "run#rerank1",
        "run#",
        "#",
        "1",
        "²",
        "٣",
        "9" * 40,
        "../",
        "/",
        ".json",
        *samples.CATALOGUE,
        *mutators.STRINGS,
    ]
    header, tensors = samples.intervention_files()
    results = samples.results_bytes()
    kept = {"evaluation": json.loads(json.dumps(asdict(samples.evaluation(CATALOGUE["gn-relu"], 0)))), "stopped": False}
    plain: Callable[[Any], object] = lambda _: None  # noqa: E731
    maps = mixed(
        joined(json_cases(header), constant(tensors), between=b"\n\n\n"),
        joined(constant(json.dumps(header).encode()), by_bytes([tensors]), between=b"\n\n\n"),
        joined(constant(json.dumps(header).encode()), tensor_cases(header), between=b"\n\n\n"),
    )
    layers_of_model, weights = samples.model_files()
    saved = mixed(
        joined(json_cases(layers_of_model), constant(weights), between=b"\n\n\n"),
        joined(constant(json.dumps(layers_of_model).encode()), by_bytes([weights]), between=b"\n\n\n"),
    )
    studies: dict[str, tuple[type[section.Section], str, Callable[[Any], object]]] = {
        "certificate": (CertificateConfig, "certificate.toml", plain),
        "stability": (StabilityStudyConfig, "stability_*.toml", plain),
        "hypernet": (HypernetStudyConfig, "mip_*.toml", plain),
        "sparsity": (SparsityStudyConfig, "sparsify_*.toml", check),
        "steering": (SteeringStudyConfig, "steer_*.toml", plain),
    }
    proposals = [{"layer": "x * sigmoid(x)", "from": "me", "note": "a"}, {"layer": "x / std[ghw](x)"}]
    report = {"layers": [{"baseline": False, "mean": {"mean": 0.5}, "formula": "x"}]}
    comparison = contents_of("studies", "matrix.toml")[0]
    return {
        "genome-text": Parser(
            written_cases(samples.TEXTS, tokens),
            READS["genome-text"],
        ),
        "formula": Parser(
            mixed(
                by_bytes([t.encode() for t in samples.FORMULAS]), by_words(samples.FORMULAS, tokens), by_tokens(tokens)
            ),
            READS["formula"],
        ),
        "genome-json": Parser(json_cases(*map(json.loads, layers)), READS["genome-json"]),
        "layer-name": Parser(by_tokens(names, 3), READS["layer-name"]),
        "search-file": Parser(toml_cases("search_spaces", "*.toml"), partial(read_settings, SearchConfig, plain)),
        "set": Parser(change_cases, READS["set"]),
        **{
            f"{name}-file": Parser(toml_cases("studies", files), partial(read_settings, kind, further))
            for name, (kind, files, further) in studies.items()
        },
        "npz": Parser(mixed(by_bytes(samples.images_bytes()), npz_cases()), READS["npz"]),
        "idx": Parser(by_bytes([samples.IDX]), READS["idx"]),
        "intervention": Parser(maps, READS["intervention"]),
        "saved-model": Parser(saved, READS["saved-model"]),
        "saved-sparsity": Parser(json_cases(samples.SPARSITY), READS["saved-sparsity"]),
        "cache": Parser(
            mixed(by_bytes([results]), row_cases(results, "results", "value", json_cases(kept))), READS["cache"]
        ),
        "results": Parser(
            mixed(by_bytes([results]), row_cases(results, "results", "value", json_cases(kept))), READS["results"]
        ),
        "trial": Parser(json_cases(samples.TRIAL), READS["trial"]),
        "overview": Parser(
            joined(
                mixed(constant(comparison), by_structure([section.parse_toml(comparison.decode(), "")], toml_of)),
                json_cases(report),
                mixed(constant(results), by_bytes([results])),
                between=b"\n\n\n",
            ),
            READS["overview"],
        ),
        "archive": Parser(by_bytes([archive_sample()]), READS["archive"]),
        "archive-values": Parser(archive_cases, READS["archive-values"]),
        "reranking": Parser(json_cases(samples.RERANKED), READS["reranking"]),
        "export": Parser(
            by_tokens([*mutators.STRINGS, "|", "a", "Layer", "evonorm-s0", "class", "import os"], 6), READS["export"]
        ),
        "proposals": Parser(
            mixed(json_cases(*proposals), joined(json_cases(*proposals), json_cases(*proposals), between=b"\n")),
            READS["proposals"],
        ),
        "inbox": Parser(json_cases(samples.PROPOSAL), READS["inbox"]),
        "coco": Parser(json_cases(samples.COCO), READS["coco"]),
        "sentences": Parser(
            mixed(
                joined(constant(b"csv"), by_bytes([samples.CSV]), between=b"\n"),
                joined(
                    constant(b"jsonl"),
                    mixed(by_bytes([samples.JSON_LINES]), json_cases({"text": "a", "rating": 1})),
                    between=b"\n",
                ),
                joined(constant(b"txt"), by_bytes([b"a line\nanother\n"]), between=b"\n"),
            ),
            READS["sentences"],
        ),
        "novels": Parser(by_bytes([samples.novels_bytes()]), READS["novels"]),
        "terminal": Parser(by_tokens([*mutators.STRINGS, "|", "a", "x * y", "0.5"], 8), READS["terminal"]),
    }
