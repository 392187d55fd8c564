"""``evonas generate``: what a language model says, dense and sparse, plain and steered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.app import DeviceOption
from evonas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from evonas.interface.generating import Speakers
    from evonas.tasks.language.generation import Said


def generate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|FOLDER",
            help="A model: an id of the hub, a folder, or a GGUF file. Or a folder of `evonas sparsify --save`.",
        ),
    ],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="How the text begins.")],
    steer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Show the text steered too, by maps that were saved there.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="Of the steering: 0 does nothing, 1 is as fitted. Default: 1.")
    ] = None,
    all_layers: Annotated[
        bool,
        typer.Option(
            "--everywhere", help="Of a sparse model: make all layers sparse, also those that are faster dense here."
        ),
    ] = False,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens at most.")] = 64,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token; 1 draws.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn; all models draw the same numbers.")] = 0,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the texts and speeds as JSON at the end.")] = False,
) -> None:
    """Continue a prompt with a language model, side by side dense and sparse, or plain and steered.

    Example: [bold]evonas generate sparse/ --prompt "The weather in London is"[/bold]

    Example: [bold]evonas generate HuggingFaceTB/SmolLM2-135M-Instruct --steer maps/ --strength 0.7 -p "You are"[/bold]

    The models take turns, token by token. Tokens per second are by the median time of a token after the prompt.

    The first time that a sparse model runs on a machine, it is measured which of its layers are faster sparse. The
    others stay dense, so that the text may be nearer to the dense model's than with --everywhere.
    """
    from evonas.cli import terminal
    from evonas.interface.generating import everywhere, speakers_of
    from evonas.tasks.language.generation import Sampling, prompt_ids, take_turns
    from evonas.training.device import find_device

    if strength is not None and steer is None:
        raise InputError("--strength", "given without --steer")
    sampling = Sampling(tokens, temperature, seed)
    with terminal.status("loading the model"):
        found = speakers_of(
            model,
            steer=steer,
            strength=1.0 if strength is None else strength,
            device=find_device(device or "cpu", "--device"),
            sparse_when=everywhere if all_layers else None,
        )
    ids = prompt_ids(found.language, prompt, tokens)
    _show(found, prompt, take_turns(found.speakers, ids, sampling), as_json=as_json)


def _show(found: "Speakers", prompt: str, turns: "Iterator[Mapping[str, Said]]", *, as_json: bool) -> None:
    """Print what is said: as it comes where it can be, and else at the end."""
    from contextlib import ExitStack

    from rich.live import Live

    from evonas.cli import terminal

    said: Mapping[str, Said] = {}
    out = terminal.console()
    alone = len(found.speakers) == 1 and not as_json
    with ExitStack() as stack:
        live = None
        if out.is_terminal and not (alone or as_json):
            live = stack.enter_context(Live(console=out, auto_refresh=False, vertical_overflow="visible"))
        printed = prompt if alone else ""
        if alone:
            _print_more("", prompt)
        for said in turns:
            if live is not None:
                live.update(_columns(found, prompt, said), refresh=True)
            elif alone:
                printed = _print_more(printed, prompt + _text(found, *said.values()))
    if as_json:
        _print_json(found, prompt, said)
    elif alone:
        print()
        for name, each in said.items():
            terminal.console(stderr=True).print(f"{name}: {_rate(each)}")
    elif live is None:
        _print_texts(found, prompt, said)


def _text(found: "Speakers", said: "Said") -> str:
    return str(found.language.tokenizer.decode(list(said.ids), skip_special_tokens=True))


def _print_more(printed: str, text: str) -> str:
    """Print what a text has more than before; half a letter waits for its other half."""
    from evonas.errors import shown

    whole = text.rstrip("\ufffd")
    print(shown(whole[len(printed) :]), end="", flush=True)
    return max(printed, whole, key=len)


def _rate(said: "Said", first: "Said | None" = None) -> str:
    rate = said.tokens_per_second
    words = "one token" if rate is None else f"{rate:.1f} tokens/s"
    beside = first.tokens_per_second if first is not None and first is not said else None
    return words if rate is None or beside is None else f"{words}, {rate / beside:.2f} times as fast"


def _columns(found: "Speakers", prompt: str, said: "Mapping[str, Said]") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    first = said[found.speakers[0].name]
    table = Table(expand=True)
    for name, each in said.items():
        table.add_column(Text(f"{name}\n{_rate(each, first)}"), ratio=1, overflow="fold")
    table.add_row(*(Text(prompt + _text(found, each)) for each in said.values()))
    return table


def _print_texts(found: "Speakers", prompt: str, said: "Mapping[str, Said]") -> None:
    from evonas.report.console import say

    first = said[found.speakers[0].name]
    for name, each in said.items():
        say(f"{name}: {_rate(each, first)}")
        for line in (prompt + _text(found, each)).splitlines():
            say(f"    {line}")


def _print_json(found: "Speakers", prompt: str, said: "Mapping[str, Said]") -> None:
    import json

    texts = [
        {
            "name": name,
            "text": _text(found, each),
            "tokens": list(each.ids),
            "tokens_per_second": each.tokens_per_second,
            "ended": each.ended,
        }
        for name, each in said.items()
    ]
    print(json.dumps({"model": found.language.name, "prompt": prompt, "texts": texts}, indent=2))
