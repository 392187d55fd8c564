"""Models with layers of evonas in them, saved and loaded: weights as safetensors, layers as texts; no code."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from evonas.errors import InputError, first_line
from evonas.files import write_text, write_whole
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer, lower
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given
from evonas.surgery.modules import like

LAYERS, WEIGHTS, CONFIG = "layers.json", "model.safetensors", "config.json"
FORMAT = "evonas layers 1"


def save_model(model: nn.Module, folder: str | PathLike[str]) -> None:
    """Write ``layers.json`` and ``model.safetensors``; of a model of transformers ``config.json`` too.

    Args:
        model: with layers in the places of modules, as ``replace_norms`` puts them there.
        folder: made if it is not there.

    Raises:
        InputError: no layer of evonas is in the model.
    """
    from safetensors.torch import save_model as save_weights

    layers = {name: _described(part) for name, part in model.named_modules() if isinstance(part, NormActLayer)}
    if not layers:
        raise InputError(type(model).__name__, "no layer of evonas is in it", remedy="save it as it is usually saved")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / WEIGHTS, lambda unfinished: save_weights(model, str(unfinished)))
    if (as_json := getattr(getattr(model, "config", None), "to_json_string", None)) is not None:
        write_text(place / CONFIG, as_json())
    write_text(place / LAYERS, json.dumps({"format": FORMAT, "layers": layers}, indent=1) + "\n")


def load_model(model: nn.Module, folder: str | PathLike[str]) -> nn.Module:
    """Put the layers of a folder into a model, load its weights, and give the model.

    Args:
        model: made as the saved one was before layers came into it, with any weights:
            ``AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))``. It is changed.
        folder: of ``save_model``.

    Raises:
        InputError: a file is missing or damaged, or is of another model. The model may have been changed then.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_model as load_weights

    place = Path(folder)
    for name, recipe in _layers_of(place / LAYERS).items():
        try:
            old = model.get_submodule(name)
        except AttributeError:
            found = f"the model has no module {name}"
            raise InputError(str(place), found, accepted="a model of the kind that was saved") from None
        model.set_submodule(name, like(_lowered(recipe, place / LAYERS), old, name, model))
    try:
        load_weights(model, str(place / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        found = f"does not fit the model or cannot be read ({first_line(error)})"
        raise InputError(str(place / WEIGHTS), found) from None
    return model


def _described(layer: NormActLayer) -> dict[str, Any]:
    recipe = layer.recipe
    settings = {"layout": recipe.layout, "groups": recipe.groups, "eps": recipe.eps, "momentum": recipe.momentum}
    return {"layer": recipe.genome.to_text(), "features": layer.num_features, "act": layer.act, **settings}


def _layers_of(file: Path) -> dict[str, dict[str, Any]]:
    content = read_given(file, largest=LARGEST_RECORD)
    try:
        data = parse_json(content, str(file))
        found = data["layers"] if data["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict) or "" in found or not all(isinstance(recipe, dict) for recipe in found.values()):
        raise InputError(str(file), "is not what evonas.save_model writes")
    return found


def _lowered(recipe: dict[str, Any], file: Path) -> NormActLayer:
    try:
        genome = Genome.from_text(recipe["layer"])
        settings = {name: recipe[name] for name in ("layout", "groups", "eps", "momentum", "act")}
        return lower(genome, recipe["features"], **settings)
    except (ArithmeticError, AttributeError, KeyError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(str(file), f"holds a layer that cannot be made ({first_line(error)})") from None
