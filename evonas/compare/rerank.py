"""Train the best layers of a search again, at full budget and under seeds of their own, and keep the best of them.

The scores of a search are those of one seed and short trainings, and its best layers are partly its luckiest. Source of
the step: Liu et al. 2020.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evonas.compare.comparison import Comparison, Contender, Standing, compare
from evonas.compare.report import comparison_report, draw_comparison, interval_text
from evonas.compare.trials import by_task, fresh_seeds, run_cells
from evonas.config import LayerConfig, SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, from_catalogue
from evonas.report.pictures import draw_genome, to_png
from evonas.report.save import Report, write_report
from evonas.report.statistics import smallest_gain
from evonas.runs.folder import RunFolder
from evonas.runs.progress import JobProgress
from evonas.runs.store import Store
from evonas.search.named import NamedLayer, export_layer
from evonas.search.protocols import fingerprint
from evonas.search.ranking import Entry, baselines, ranking, relatives
from evonas.tasks.from_config import task_names


@dataclass(frozen=True, slots=True)
class Reranking:
    """What a reranking found.

    Attributes:
        settings: the configuration the trials ran with.
        comparison: the run's layers, named by their ranks in the search, and the baselines.
        candidates: the candidates' indices by those names.
    """

    settings: SearchConfig
    comparison: Comparison
    candidates: dict[str, int | None]

    @property
    def kept(self) -> tuple[Standing, ...]:
        """The best layers that no trial failed, at most ``rerank.keep``."""
        sound = [s for s in self.comparison.standings if s.rank and not s.failures]
        return tuple(sound[: self.settings.rerank.keep])

    def as_json(self) -> dict[str, Any]:
        """Settings, all scores and differences, and which layers are kept."""
        kept = {standing.contender.name for standing in self.kept}
        found = self.comparison.as_json()
        for layer in found["layers"]:
            name = layer["name"]
            layer |= {"candidate": self.candidates.get(name), "kept": name in kept}
        sections = {"data", "training", "layer", "tasks", "rerank"}
        return {"settings": self.settings.model_dump(mode="json", include=sections), **found}


def rerank_settings(config: SearchConfig) -> SearchConfig:
    """The configuration of the trials: ``[rerank]`` in place of the search's tasks and steps.

    Raises:
        InputError: an unknown baseline, or two tasks of one name.
    """
    for name in config.rerank.baselines:
        from_catalogue(name, "rerank.baselines")
    known = _baselines(config)
    if config.rerank.margin_over not in {None, *known}:
        raise InputError("rerank.margin_over", f"no baseline {config.rerank.margin_over!r}", accepted=", ".join(known))
    rerank, rates = config.rerank, config.rerank.learning_rates
    changes = {"steps": rerank.steps or config.training.steps} | ({"learning_rates": rates} if rates else {})
    training = config.training.model_copy(update=changes)
    tasks = config.rerank.tasks or config.tasks
    task_names(tasks)
    return config.model_copy(update={"training": training, "tasks": tasks})


def distinct(entries: Sequence[Entry], layer: LayerConfig) -> list[Entry]:
    """The first of all entries that compute the same; a search without the equivalence protocol has such."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(fingerprint(entry.genome, layer), entry)
    return list(found.values())


def rerank(
    run: RunFolder,
    config: SearchConfig,
    store: Store,
    on_progress: Callable[[JobProgress], None],
    *,
    keep_changed: bool = False,
) -> Reranking:
    """Train the best distinct layers of a run and the baselines; trials that are recorded are not trained again.

    Raises:
        InputError: the run has no scored layer, or the settings cannot be used.
        RunInterruptedError: by Ctrl-C or SIGTERM.
    """
    settings, margin_over = rerank_settings(config), config.rerank.margin_over
    best = distinct(_candidates(run, margin_over), config.layer)[: config.rerank.top]
    if not best:
        raise InputError(str(run.path), "no layer has scores yet", remedy=f"evonas search --run {run.path} --resume")
    contenders = [Contender(entry.name, entry.genome) for entry in best]
    contenders += [Contender(name, CATALOGUE[name], baseline=True) for name in _baselines(config)]
    seeds = fresh_seeds(config, config.rerank.seeds)
    layers = [contender.genome for contender in contenders]
    cells = run_cells(by_task(settings), layers, seeds, store, on_progress, keep_changed=keep_changed)
    comparison = compare(contenders, task_names(settings.tasks), seeds, cells.trials, margin_over)
    return Reranking(settings, comparison, {entry.name: entry.candidate for entry in best})


def _baselines(config: SearchConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(config.rerank.baselines or config.baselines))


def _candidates(run: RunFolder, margin_over: str | None) -> Sequence[Entry]:
    """The run's scored layers, best first; by their margins if the search trained the baseline they are over.

    Where layers were measured again, their scores are moved to their posterior means.
    """
    ranked = ranking(run)
    entries: Sequence[Entry] = ranked
    if ranked.is_raced:  # relatives share what is believed of them
        entries = [group.best for group in relatives(entries)]
    known = {entry.name: entry.evaluation.objectives for entry in baselines(run)}
    if margin_over not in known:
        return entries
    return sorted(entries, key=lambda entry: -smallest_gain(_moved(entry), known[margin_over]))


def _moved(entry: Entry) -> dict[str, float]:
    """The scores of a layer, with what is believed as their mean."""
    by = (entry.score or 0.0) - (entry.evaluation.mean or 0.0)
    return {task: score + by for task, score in entry.evaluation.objectives.items()}


def reranking_report(run: RunFolder, found: Reranking) -> Report:
    """The comparison, with a picture that marks the kept layers."""
    kept = [standing.contender.name for standing in found.kept]
    title = f"{run.path.name}: reranking on {_where(found)}"
    words = f"The best layers of {run.path.name}, trained again,"
    picture = draw_comparison(found.comparison, highlighted=kept, title=words)
    return replace(comparison_report(title, found.comparison, found.as_json()), pictures={"rerank": picture})


def save_reranking(run: RunFolder, found: Reranking, report: Report) -> list[Path]:
    """Write ``rerank.json``, ``.md``, ``.csv`` and ``.png`` into ``best``, and the kept layers as modules and pictures.

    Returns:
        The modules, best first, and the picture.
    """
    folder, modules = run.best_folder, []
    for standing in found.kept:
        layer = _layer(run, found, standing)
        stem = folder / f"rerank{standing.rank}_{layer.genome.key[:8]}"
        modules.append(export_layer(layer, stem.with_suffix(".py")))
        title = f"{run.path.name} rerank {standing.rank} ({standing.contender.name} of the search)"
        to_png(draw_genome(layer.genome, title=title, subtitle=_scores(standing)), stem.with_suffix(".png"))
    files = write_report(folder, report, run.rerank_file.stem)
    current = {m.with_suffix(s) for m in modules for s in (".py", ".png")}
    for stale in set(folder.glob("rerank[0-9]*_*")) - current:
        stale.unlink()  # of an earlier reranking
    return [*modules, files[-1]]


def _where(found: Reranking) -> str:
    settings = found.settings
    return f"{settings.learned_from} ({settings.data.score_on}), {settings.training.steps} steps"


def _scores(standing: Standing) -> str:
    return ", ".join(f"{task} {each.mean:.4f}" for task, each in standing.tasks.items())


def _layer(run: RunFolder, found: Reranking, standing: Standing) -> NamedLayer:
    name = standing.contender.name
    differences = [f"minus {b} {interval_text(d.over_seeds)} points" for b, d in standing.differences.items()]
    provenance = (
        f"run {run.path.name}, candidate {found.candidates[name]}, {name} of the search, {standing.rank} of the "
        f"reranking; {_where(found)}, seeds {', '.join(map(str, found.comparison.seeds))}: {_scores(standing)}"
        + "".join(f"; {difference}" for difference in differences)
    )
    objectives = {task: each.mean for task, each in standing.tasks.items()}
    return NamedLayer(
        standing.contender.genome,
        provenance=provenance,
        objectives=objectives,
        lowering=found.settings.layer,
        layout=found.settings.space.layout,
    )
