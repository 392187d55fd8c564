"""The best layers of a run, as what people take away: modules, pictures and a listing."""

import json
from pathlib import Path

from evonas.files import write_text
from evonas.report.pictures import draw_genome, to_png
from evonas.runs.folder import RunFolder
from evonas.search.named import export_layer, named_entry
from evonas.search.ranking import baselines, ranking


def save_best(run: RunFolder, count: int = 3) -> list[Path]:
    """Export the best layers of a run into its ``best`` folder: a module and a picture each, and ``ranking.json``.

    Returns:
        The module files, best first.
    """
    run.best_folder.mkdir(exist_ok=True)
    best = ranking(run, count)
    modules = []
    for entry in best:
        stem = run.best_folder / f"rank{entry.rank}_{entry.genome.key[:8]}"
        modules.append(export_layer(named_entry(run, entry), stem.with_suffix(".py")))
        scores = entry.scores_text
        to_png(
            draw_genome(entry.genome, title=f"{run.path.name} {entry.name}", subtitle=scores),
            stem.with_suffix(".png"),
        )
    listing = json.dumps([e.as_json() for e in (*best, *baselines(run))], indent=2) + "\n"
    write_text(run.best_folder / "ranking.json", listing)
    for stale in set(run.best_folder.glob("rank[0-9]*_*")) - {
        m.with_suffix(s) for m in modules for s in (".py", ".png")
    }:
        stale.unlink()  # of an earlier, shorter session of the same run
    return modules
