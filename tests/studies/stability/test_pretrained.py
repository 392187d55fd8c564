"""A user's language model trained for a few steps. Oracles: norms and losses worked out with torch from copies."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sparsity_models import make_gpt2, make_llama, make_mlp, save_llama

from evonas.errors import InputError
from evonas.studies.stability.block_probes import BlockProbes, blocks_of
from evonas.studies.stability.spectral import stable_rank
from evonas.surgery.calls import call, output_of
from evonas.tasks.language.loss import z_loss_cross_entropy

Call = Callable[..., tuple[int, str, str]]
SMALL = ("steps=6", "batch_size=2", "context=16", "validation=3", "probe_every=3", "optimizer.warmup=2")


@pytest.mark.parametrize("make", [make_llama, make_gpt2])
def test_readings_are_those_of_the_model_before_and_after_the_step(make: Callable[[], torch.nn.Module]) -> None:
    model = make().requires_grad_(True)
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    probes = BlockProbes(model, optimizer, every=1, steps=1, spectral=True)
    tokens = torch.randint(50, (2, 10), generator=torch.Generator().manual_seed(0))
    with probes.watching():
        loss = z_loss_cross_entropy(output_of(call(model, tokens[:, :-1])), tokens[:, 1:])
    loss.backward()
    optimizer.step()
    probes.after_step(0, loss.detach())
    ((step, values),) = probes.readings
    assert step == 0
    change = sum(
        (new - old).double().square().sum() for new, old in zip(model.parameters(), before.parameters(), strict=True)
    )
    size = sum(old.double().square().sum() for old in before.parameters())
    assert values["update_over_parameters"] == pytest.approx(float((change / size).sqrt().detach()), rel=1e-6)
    logits = output_of(call(before, tokens[:, :-1])).detach()
    assert values["log_z"] == pytest.approx(float(logits.logsumexp(-1).mean()), rel=1e-4)
    ranks = [float(stable_rank(p)) for p in blocks_of(model).parameters() if p.ndim == 2]
    assert values["least stable_rank"] == pytest.approx(min(ranks), rel=1e-6)
    assert 0 <= values["blocks.0.alignment"] <= 1
    assert values["blocks.1.jacobian"] > 0
    named = {name.rpartition(".")[2] for name in values}
    assert ("logit_bound" in named) == ("qk_spectral_entropy" in named) == (make is make_llama)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_no_attention_logit_is_above_the_bound() -> None:
    model = make_llama(attn_implementation="eager")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    probes = BlockProbes(model, optimizer, every=1, steps=1, spectral=False)
    tokens = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))
    seen: dict[int, float] = {}
    for number, block in enumerate(blocks_of(model)):
        attention = block.self_attn
        kept: dict[str, torch.Tensor] = {}
        for name in ("q_proj", "k_proj"):
            getattr(attention, name).register_forward_hook(
                lambda _m, _i, output, name=name, kept=kept: kept.__setitem__(name, output.detach())
            )
        seen[number] = 0.0
        block.register_forward_hook(
            lambda _m, _i, _o, number=number, kept=kept: seen.__setitem__(number, _largest(kept))
        )
    with probes.watching(), torch.no_grad():
        call(model, tokens)
    probes.after_step(0, torch.tensor(0.0))
    values = probes.readings[0][1]
    for number, largest in seen.items():
        assert 0 < largest <= values[f"blocks.{number}.logit_bound"] * (1 + 1e-5)


def _largest(kept: dict[str, torch.Tensor]) -> float:
    """Over all pairs of tokens, without the rotation: 4 heads of queries, 2 of keys, of size 8."""
    query, key = (kept[name].unflatten(-1, (-1, 8)).transpose(1, 2) for name in ("q_proj", "k_proj"))
    return float((query @ key.repeat_interleave(2, 1).mT).abs().max()) * 8**-0.5


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="has no list of blocks"):
        blocks_of(make_mlp())


def test_a_folder_is_trained_at_each_rate_and_nothing_of_it_changes(tmp_path: Path, evonas: Call) -> None:
    folder = save_llama(tmp_path / "llama")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    settings = [word for change in (*SMALL, "learning_rates=[0.0001, 1000.0]") for word in ("--set", change)]
    run = tmp_path / "run"
    status, out, told = evonas("stability", "--model", folder, "--seeds", 2, *settings, "--run", run, "--workers", 0)
    assert status == 0, told
    found = json.loads((run / "results.json").read_text())["trainings"]
    assert [(one["learning_rate"], one["seed"]) for one in found] == [
        (0.0001, 1),
        (0.0001, 2),
        (1000.0, 1),
        (1000.0, 2),
    ]
    assert len({one["initial_loss"] for one in found}) == 1
    small, large = found[0], found[-1]
    assert small["final_loss"] < small["initial_loss"]
    assert large["final_loss"] is None or large["final_loss"] > large["initial_loss"]
    assert [step for step, _ in small["readings"]] == [0, 3, 5]
    assert all(math.isfinite(value) for _, values in small["readings"] for value in values.values())
    assert found[0]["losses"] != found[1]["losses"]
    assert "2 of 2" in out
    assert {"losses.png", "probes.png"} <= {path.name for path in run.iterdir()}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    status, _, told = evonas("stability", "--model", folder, "--seeds", 2, *settings, "--run", run, "--resume")
    assert (status, "4 of 4 runs" in told) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--model: not given, and no study either"),
        (("qk_layernorm", "--model", "x"), "--model: given together with a study"),
        (("--model", "/no/such"), "/no/such: no such folder or file"),
        (("--model", "hf:a b"), "a b: "),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], said: str, tmp_path: Path, evonas: Call) -> None:
    status, _, told = evonas("stability", *words, "--run", tmp_path / "run")
    assert (status, len(told.splitlines())) == (2, 1)
    assert said in told
    assert not (tmp_path / "run").exists()


def test_a_warm_up_longer_than_the_training_is_refused(tmp_path: Path, evonas: Call) -> None:
    folder = save_llama(tmp_path / "llama")
    status, _, told = evonas("stability", "--model", folder, "--set", "steps=5", "--run", tmp_path / "run")
    assert (status, told.splitlines()[-1]) == (2, "evonas: optimizer.warmup: 20; accepted: less than 5 steps")
