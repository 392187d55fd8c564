"""From a configuration to the search it describes, before the first candidate."""

from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.extensions import load_extensions
from evonas.graph.catalogue import CATALOGUE, from_catalogue, parse_layer
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search.engine import Search
from evonas.search.guide.surrogate import Surrogate
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Evaluation
from evonas.search.probing import Probes
from evonas.search.protocols import Screens
from evonas.search.racing.race import Race
from evonas.search.rungs import Ladder
from evonas.tasks.architectures import require_blocks


def require_searchable(config: SearchConfig) -> None:
    """Make sure that a search can be made of a configuration: what its own models cannot know.

    Raises:
        InputError: an unknown extension, primitive, index set, objective, screen or baseline, an initial layer that is
            none of the space, test images to score on, or a package that is not installed.
    """
    load_extensions(config.extensions)
    for task in (*config.tasks, *(task for each in config.racing.conditions for task in each.tasks)):
        require_blocks(task.architecture)
    for name in config.baselines:
        from_catalogue(name, "baselines")
    for name in config.objectives.names:
        OBJECTIVES.find(name, "objectives.own")
    if config.data.score_on == "test":
        remedy = "evonas rerank --test scores the layers it found on test images"
        raise InputError("data.score_on", "'test'", accepted="'validation': a search sees no test image", remedy=remedy)
    make_search(config)


def make_search(config: SearchConfig, reference: Evaluation | None = None, probes: Probes | None = None) -> Search:
    """The search of a configuration, before its first candidate.

    Args:
        config: all of it.
        reference: the evaluation of the baseline whose curve the rungs go by, and which a race measures in each round.
        probes: the probe of the configuration, where it is to look ahead.

    Raises:
        InputError: an unknown extension, primitive, index set or screen, or an initial layer that is none of the space.
    """
    load_extensions(config.extensions)
    space = SearchSpace.from_config(config.space)
    screens = Screens(config.protocols, config.layer)
    ladder = Ladder(config.rungs, reference)
    initial = [_initial(text, space) for text in config.evolution.initial]
    known = {CATALOGUE[name].key: CATALOGUE[name] for name in config.baselines if name in CATALOGUE}
    race = Race(config.racing, reference.mean if reference else None) if config.racing.every else None
    return Search(
        space,
        config.evolution,
        config.seed,
        screens,
        probes or screens.probe,
        ladder=ladder,
        initial=initial,
        race=race,
        reference=None if reference is None else known.get(reference.key),
        guide=make_guide(config),
        look_ahead=probes,
    )


def make_guide(config: SearchConfig) -> Surrogate | None:
    """What chooses among proposals by the results so far, if a configuration wants it."""
    if config.evolution.guide == "none":
        return None
    return Surrogate(config.seed, config.layer.eps, config.evolution.refit)


def _initial(text: str, space: SearchSpace) -> Genome:
    genome = parse_layer(text, "evolution.initial")
    try:
        return space.padded(genome)
    except InputError as error:
        raise error.at(f"evolution.initial {text!r}") from None
