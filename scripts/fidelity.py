"""How well cheap measurements of a layer foretell its quality: rank correlation with the ground truth, and regret.

python scripts/fidelity.py measure search_spaces/cifar_s.toml --truth runs/kept/truth --out runs/kept/truth/proxies
python scripts/fidelity.py report --truth runs/kept/truth --out runs/kept/truth/proxies

``measure`` trains every layer of TRUTH/layers.json on every network of a search file, at each of ``--rates``, without
gates and rungs, and notes the likelihood of the labels at many steps and the validation accuracy at the end. What is
recorded already is not trained again. ``seconds`` are those of the processor, of one thread.

``report`` takes each combination of networks, rates and steps as a proxy: the mean over networks of a score relative to
BN-ReLU's, at the best of the rates. It holds the proxies against the truth of ``scripts/truth.py``: the mean over its
networks and seeds of the test accuracy at each layer's best rate, a diverged training counting as chance.

    rank correlation: Spearman's, over all layers, and over the batch-independent ones alone
    regret: accuracy of the best layer minus that of the best among the proxy's first three, in points
    cost: core-seconds for one layer

Since the best of many proxies is lucky, the report also chooses on one half of the layers and judges on the other. The
measures of the propagation protocol, which trains nothing, are held against the truth as well.
"""

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, log
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from matplotlib import pyplot as plt
from scipy.stats import spearmanr
from truth_record import Record

from evonas.config import LayerConfig, SearchConfig
from evonas.errors import first_line
from evonas.graph.genome import Genome
from evonas.report.table import Table
from evonas.search.propagation import propagate
from evonas.search.start import load_with_extensions
from evonas.search.training import Training
from evonas.tasks.from_config import tasks_from_config
from evonas.tasks.task import Task
from evonas.training.allocator import keep_memory
from evonas.training.fit import StopReason

Row = dict[str, Any]

MARKS = (25, 50, 75, 100, 150, 200, 300, 400, 600)
CHANCE = 0.1
REFERENCE = "catalogue bn-relu"
HALVES = 200  # random halves of the layers, for the shrinkage of a chosen proxy


def measure(settings: SearchConfig, layers: Sequence[Row], rates: Sequence[float], steps: int, record: Path) -> None:
    """Train what is not recorded yet."""
    record.parent.mkdir(parents=True, exist_ok=True)
    known = {(r["network"], r["layer"], r["rate"], r["steps"]) for r in read(record)}
    for task in tasks_from_config(settings, torch.device("cpu")):
        for layer in layers:
            for rate in rates:
                if (task.name, layer["key"], rate, steps) in known:
                    continue
                training = settings.training.at_rate(rate).model_copy(update={"steps": steps})
                row = {"network": task.name, "layer": layer["key"], "rate": rate, "steps": steps}
                row |= train(task, Genome.from_text(layer["text"]), settings.model_copy(update={"training": training}))
                with record.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row["network"], rate, row["validation"], row["seconds"], layer["formula"], flush=True)


def train(task: Task, genome: Genome, settings: SearchConfig) -> Row:
    """One training, with the likelihood at every mark that it reaches, and the accuracy at the end if it does."""
    started = time.process_time()
    steps = settings.training.steps
    training = Training(task, genome, settings.training, settings.layer, settings.seed)
    validation = None
    try:
        for mark in (*(mark for mark in MARKS if mark < steps), steps):
            training.advance(mark - len(training.losses))
            if training.stop is StopReason.DIVERGED:
                break
            training.at_rung(None)
        else:
            validation = training.score()
    except RuntimeError as error:
        print(first_line(error), flush=True)
    rungs = {str(mark): round(value, 6) for mark, value in training.rungs.items()}
    return {"validation": validation, "likelihoods": rungs, "seconds": round(time.process_time() - started, 2)}


def read(record: Path) -> list[Row]:
    """The whole lines of a file."""
    text = record.read_text() if record.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A way to measure layers.

    Attributes:
        name: its networks, rates, and steps: those of the whole training and, after a colon, where it was left.
        networks: how many networks it trains on.
        scores: by layer.
        seconds: for one layer, the mean over layers.
    """

    name: str
    networks: int
    scores: Mapping[str, float]
    seconds: float


def proxies(rows: Sequence[Row], reference: str, keys: Sequence[str]) -> Iterable[Proxy]:
    """Every combination of networks, rates and steps that was measured of all layers."""
    table: dict[tuple[int, str, float], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        table[row["steps"], row["network"], row["rate"]][row["layer"]] = row
    whole = {at: found for at, found in table.items() if set(keys) <= set(found)}
    for steps in sorted({at[0] for at in whole}):
        networks = sorted({network for s, network, _ in whole if s == steps})
        for chosen in subsets(networks):
            common = [{rate for s, network, rate in whole if (s, network) == (steps, each)} for each in chosen]
            for rates in subsets(sorted(set.intersection(*common))):
                cells = {network: [whole[steps, network, rate] for rate in rates] for network in chosen}
                for mark in (*(m for m in MARKS if m < steps), steps, 0):
                    yield proxy(cells, rates, steps, mark, reference, keys)


def proxy(
    cells: Mapping[str, Sequence[Mapping[str, Row]]],
    rates: Sequence[float],
    steps: int,
    mark: int,
    reference: str,
    keys: Sequence[str],
) -> Proxy:
    """The mean over networks of the score relative to the reference's, at the best of the rates.

    Args:
        cells: by network, the measured layers at each rate.
        rates: of the cells.
        steps: of the whole training.
        mark: step whose likelihood counts; 0 for the validation accuracy at the end.
        reference: the layer to which scores are relative.
        keys: the layers.
    """

    def score(network: str, key: str) -> float:
        found = [each[key] for each in cells[network]]
        if not mark:
            return max(row["validation"] or CHANCE for row in found)
        return max(row["likelihoods"].get(str(mark), 0.0) for row in found)

    scores = {
        key: fmean(score(network, key) / max(score(network, reference), 1e-9) for network in cells) for key in keys
    }
    share = mark / steps if mark else 1.0
    seconds = share * sum(fmean(each[key]["seconds"] for key in keys) for found in cells.values() for each in found)
    left = f":{mark}" if mark else ""
    name = f"{'+'.join(cells)} at {'/'.join(map(str, rates))}, {steps}{left}"
    return Proxy(name, len(cells), scores, seconds)


def subsets(names: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All but the empty one."""
    return [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]


def truth_of(rows: Sequence[Row], networks: Sequence[str]) -> dict[str, float]:
    """Mean over networks of the mean over seeds, of layers that have all networks."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        made = row["made_from"]
        if made["final"] and made["network"] in networks:
            found[made["layer"]][made["network"]].append(max(row["test"] or CHANCE, CHANCE))
    return {
        key: fmean(fmean(scores) for scores in each.values())
        for key, each in found.items()
        if len(each) == len(networks)
    }


def correlation(scores: Mapping[str, float], truth: Mapping[str, float], keys: Sequence[str]) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr([scores[key] for key in keys], [truth[key] for key in keys]).statistic)


def regret(scores: Mapping[str, float], truth: Mapping[str, float], keys: Sequence[str], top: int = 3) -> float:
    """Points between the best layer and the best of the proxy's first."""
    first = sorted(keys, key=lambda key: -scores[key])[:top]
    return 100 * (max(truth[key] for key in keys) - max(truth[key] for key in first))


def untrained(layers: Sequence[Row], how: LayerConfig, depth: int = 20) -> tuple[dict[str, dict[str, float]], float]:
    """The measures of the propagation protocol by layer, so that larger should be better; and seconds for one layer."""
    started = time.process_time()
    found = {layer["key"]: propagate(Genome.from_text(layer["text"]), how, depth=depth) for layer in layers}
    seconds = (time.process_time() - started) / len(layers)

    def near_one(value: float) -> float:
        return -abs(log(value)) if 0 < value < inf else -inf

    measures = {
        "activations that keep their size": {key: near_one(each.activation) for key, each in found.items()},
        "gradients that keep their size": {key: near_one(each.gradient) for key, each in found.items()},
        "size of the smallest weight gradient": {key: each.weight_gradient for key, each in found.items()},
        "different images stay different": {key: -each.different for key, each in found.items()},
        "near copies stay alike": {key: each.alike for key, each in found.items()},
    }
    whole = {name: {k: v if v == v else -inf for k, v in values.items()} for name, values in measures.items()}
    return whole, seconds


def front(found: Sequence[tuple[Proxy, float]]) -> list[tuple[Proxy, float]]:
    """Those whose quality no cheaper proxy reaches, cheapest first."""
    best, kept = -2.0, []
    for candidate, quality in sorted(found, key=lambda item: (item[0].seconds, -item[1])):
        if quality > best:
            best = quality
            kept.append((candidate, quality))
    return kept


def shrinkage(
    found: Sequence[Proxy], truth: Mapping[str, float], keys: Sequence[str], cost: float
) -> tuple[float, float]:
    """Rank correlation of the best proxy within a cost: on the half of the layers that chose it, and on the others."""
    rng, pairs = random.Random(0), []
    affordable = [each for each in found if each.seconds <= cost]
    for _ in range(HALVES):
        shuffled = rng.sample(list(keys), len(keys))
        half, other = shuffled[::2], shuffled[1::2]
        best = max(affordable, key=lambda each: correlation(each.scores, truth, half))
        pairs.append((correlation(best.scores, truth, half), correlation(best.scores, truth, other)))
    return fmean(own for own, _ in pairs), fmean(other for _, other in pairs)


def report(
    truth: Mapping[str, float],
    layers: Sequence[Row],
    found: Sequence[Proxy],
    how: LayerConfig,
    out: Path,
    old: Sequence[str],
) -> None:
    """Tables and the picture."""
    keys = [layer["key"] for layer in layers if layer["key"] in truth]
    own = [layer["key"] for layer in layers if layer["key"] in truth and not layer["batch_statistics"]]
    all_of = {each.name: correlation(each.scores, truth, keys) for each in found}
    kept = front([(each, all_of[each.name]) for each in found])
    named = [each for each in found if each.name in old]
    shown = [*(each for each, _ in kept), *(each for each in named if each.name not in {k.name for k, _ in kept})]
    table = Table.of(
        (
            {
                "proxy": each.name,
                "core-seconds": each.seconds,
                "rank correlation": all_of[each.name],
                "batch-independent alone": correlation(each.scores, truth, own),
                "regret of the first 3, points": regret(each.scores, truth, keys),
                "batch-independent regret": regret(each.scores, truth, own),
            }
            for each in shown
        ),
        {"core-seconds": "{:.1f}", "rank correlation": "{:.3f}", "batch-independent alone": "{:.3f}"}
        | {"regret of the first 3, points": "{:.2f}", "batch-independent regret": "{:.2f}"},
    )
    print(f"{len(keys)} layers, {len(own)} of them batch-independent, {len(found)} proxies")
    print(table.markdown())
    for cost in (1, 2, 4, 8, 16, 32, 64):
        if any(each.seconds <= cost for each in found):
            chosen, judged = shrinkage(found, truth, keys, cost)
            print(f"within {cost} core-seconds: {chosen:.3f} where it was chosen, {judged:.3f} on other layers")
    measures, seconds = untrained([layer for layer in layers if layer["key"] in truth], how)
    for name, scores in measures.items():
        both = (correlation(scores, truth, chosen_keys) for chosen_keys in (keys, own))
        print(f"without training, {seconds:.3f} core-seconds: {name}: {', '.join(f'{value:.2f}' for value in both)}")
    draw([(each, all_of[each.name]) for each in found], kept, named, out / "fidelity.png")


def draw(
    found: Sequence[tuple[Proxy, float]], kept: Sequence[tuple[Proxy, float]], named: Sequence[Proxy], path: Path
) -> None:
    """Rank correlation against cost, and the front."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for networks in sorted({each.networks for each, _ in found}):
        own = [(each.seconds, quality) for each, quality in found if each.networks == networks]
        axes.scatter(*zip(*own, strict=True), s=8, alpha=0.5, label=f"{networks} network{'s' * (networks > 1)}")
    axes.step(*zip(*((e.seconds, q) for e, q in kept), strict=True), where="post", color="black", label="front")
    for each in named:
        quality = next(q for e, q in found if e.name == each.name)
        axes.scatter([each.seconds], [quality], marker="*", s=200, zorder=3, label=each.name)
    axes.set(xscale="log", xlabel="core-seconds for one layer", ylabel="rank correlation with the truth")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, default=Path("runs/kept/truth"))
    parser.add_argument("--out", type=Path, default=Path("runs/kept/truth/proxies"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    measuring = verbs.add_parser("measure", help="train the layers of the truth on the networks of a search file")
    measuring.add_argument("file", type=Path)
    measuring.add_argument("--rates", type=float, nargs="+", help="default: that of the file")
    measuring.add_argument("--steps", type=int, help="default: those of the file")
    measuring.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    reporting = verbs.add_parser("report", help="tables and a picture of what was measured")
    reporting.add_argument("--network", dest="networks", action="append", help="of the truth; default: all of them")
    reporting.add_argument("--show", action="append", default=[], help="name of a proxy that is shown in any case")
    reporting.add_argument("--groups", type=int, default=4, help="of layers, for the measures without training")
    arguments = parser.parse_args()
    layers = json.loads((arguments.truth / "layers.json").read_text())
    if arguments.verb == "measure":
        keep_memory()
        torch.set_num_threads(1)
        settings = load_with_extensions(arguments.file, arguments.changes)
        rates = arguments.rates or settings.training.rates
        steps = arguments.steps or settings.training.steps
        measure(settings, layers, rates, steps, arguments.out / f"{arguments.file.stem}.jsonl")
        return
    trainings = Record(arguments.truth).rows()
    networks = arguments.networks or sorted({row["made_from"]["network"] for row in trainings})
    truth = truth_of(trainings, networks)
    layers = [layer for layer in layers if layer["key"] in truth]
    reference = next(layer["key"] for layer in layers if layer["origin"] == REFERENCE)
    rows = [row for record in sorted(arguments.out.glob("*.jsonl")) for row in read(record)]
    keys = [layer["key"] for layer in layers]
    how = LayerConfig(groups=arguments.groups)
    report(truth, layers, list(proxies(rows, reference, keys)), how, arguments.out, arguments.show)


if __name__ == "__main__":
    main()
