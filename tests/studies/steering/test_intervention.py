"""Oracles: the untouched model, maps applied by hand, and what was saved."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.steering import Intervention, fit
from evonas.tasks.language.model import Transformer, build_transformer
from evonas.tasks.language.settings import ModelConfig

CONFIG = ModelConfig(vocabulary=11, width=8, depth=2, head_size=4, context=12)


def tokens(seed: int, top: int = 11) -> Tensor:
    return torch.randint(top, (6, 9), generator=torch.Generator().manual_seed(seed))


def small(width: int = 8) -> Transformer:
    return build_transformer(CONFIG.model_copy(update={"width": width}), seed=0).eval()


def made(method: str = "linear-act", sites: str = "blocks.*.mlp_norm", bounded: bool = False) -> Intervention:
    return fit(small(), [tokens(0)], [tokens(1, 5)], sites=sites, method=method, bounded=bounded, steps=3)


def test_strength_0_is_the_untouched_model_bit_for_bit() -> None:
    model = small()
    plain = model(tokens(3))
    with made().on(model, strength=0) as same:
        assert same is model
        assert not any(module._forward_hooks for module in model.modules())
        assert torch.equal(model(tokens(3)), plain)


@pytest.mark.parametrize("strength", [0.4, 1.0, -2.0])
def test_inside_the_model_computes_with_interpolated_maps_and_outside_as_before(strength: float) -> None:
    model, intervention = small(), made(sites="norm")  # the last norm: only the head follows
    plain = model(tokens(3))
    seen = []
    handle = model.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(tokens(3))
    handle.remove()
    (affine,) = intervention.maps
    moved = strength * affine(seen[0]) + (1 - strength) * seen[0]
    with intervention.on(model, strength):
        torch.testing.assert_close(model(tokens(3)), model.head(moved))
    assert torch.equal(model(tokens(3)), plain)


def test_the_model_is_given_back_after_an_error() -> None:
    model, intervention = small(), made()
    with pytest.raises(RuntimeError, match="on purpose"), intervention.on(model):
        raise RuntimeError("on purpose")
    assert not any(module._forward_hooks for module in model.modules())


def test_at_is_a_new_full_strength() -> None:
    model, intervention = small(), made()
    with intervention.at(0.5).on(model, 0.5):
        half = model(tokens(3))
    with intervention.on(model, 0.25):
        torch.testing.assert_close(model(tokens(3)), half)


def test_the_inverse_within_gives_the_untouched_model_back() -> None:
    model, intervention = small(), made()
    plain = model(tokens(3))
    with intervention.on(model), intervention.inverse().on(model):
        torch.testing.assert_close(model(tokens(3)), plain, rtol=1e-4, atol=1e-5)
    with intervention.inverse().on(model):
        assert not torch.allclose(model(tokens(3)), plain, atol=1e-2)


def test_two_in_one_are_two_in_turn() -> None:
    model = small()
    one, two = made(), made("caa", "blocks.1.*norm")
    both = one.then(two)
    assert [site.name for site in both.sites] == ["blocks.0.mlp_norm", "blocks.1.mlp_norm", "blocks.1.attention_norm"]
    assert both.method == "linear-act, then caa"
    with both.on(model):
        found = model(tokens(3))
    with one.on(model), two.on(model):
        torch.testing.assert_close(model(tokens(3)), found)
    with two.then(one).on(model):
        assert not torch.allclose(model(tokens(3)), found)


def test_printing_shows_sites_support_and_the_residual_stream() -> None:
    intervention = made("lineas", sites="blocks.1.*_norm")
    thinned = Intervention(
        intervention.sites,
        tuple(type(a)(torch.where(torch.arange(8) < 3, a.weight, 1.0), torch.zeros(8)) for a in intervention.maps),
        "lineas",
        "Transformer",
    )
    assert {name: index.tolist() for name, index in thinned.support.items()} == {
        "blocks.1.attention_norm": [0, 1, 2],
        "blocks.1.mlp_norm": [0, 1, 2],
    }
    assert thinned.share == 6 / 16
    assert str(thinned).splitlines() == [
        "lineas for a Transformer: 6 of 16 neurons at 2 sites",
        "  blocks.1.attention_norm  LayerNorm, 3 of 8, feeds a branch",
        "  blocks.1.mlp_norm        LayerNorm, 3 of 8, feeds a branch",
    ]
    assert "blocks.0  Block, 8 of 8, writes the residual stream" in str(made(sites="blocks.*"))


@pytest.mark.parametrize(("method", "bounded"), [("lineas", False), ("linear-act", True), ("caa", False)])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, method: str, bounded: bool) -> None:
    intervention, model = made(method, bounded=bounded), small()
    intervention.save(tmp_path / "deep" / "folder")
    loaded = Intervention.load(tmp_path / "deep" / "folder")
    assert str(loaded) == str(intervention)
    assert (loaded.sites, loaded.losses) == (intervention.sites, intervention.losses)
    with intervention.on(model, 0.7):
        wanted = model(tokens(3))
    with loaded.on(model, 0.7):
        assert torch.equal(model(tokens(3)), wanted)
    assert sorted(p.name for p in (tmp_path / "deep" / "folder").iterdir()) == ["intervention.json", "maps.safetensors"]


class Convolutional(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Conv2d(5, 3, 2))


def images(seed: int, count: int = 9) -> Tensor:
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_bounded_maps_over_space_move_every_sample_they_were_fitted_on_and_keep_their_pool(
    tmp_path: Path, pool: str
) -> None:
    """Oracle: all pooled source samples lie inside of their own bounds, so that no pixel is left out."""
    torch.manual_seed(0)
    model = Convolutional().eval()
    options = {"sites": "0", "method": "linear-act", "pool": pool}
    bounded = fit(model, [images(0)], [images(1, 7) + 1], **options)
    whole = fit(model, [images(0)], [images(1, 7) + 1], **options, bounded=False)
    with whole.on(model, 0.6):
        wanted = model(images(0))
    with bounded.on(model, 0.6):
        torch.testing.assert_close(model(images(0)), wanted)
        elsewhere = model(3 * images(2))
    with whole.on(model, 0.6):
        assert not torch.allclose(model(3 * images(2)), elsewhere)
    bounded.save(tmp_path)
    loaded = Intervention.load(tmp_path)
    assert loaded.maps[0].pool == pool
    with loaded.on(model, 0.6):
        assert torch.equal(model(3 * images(2)), elsewhere)
    with pytest.raises(InputError, match="between bounds only"):
        loaded.fold_into(model)


def spoil(folder: Path, what: str) -> None:
    header, tensors = folder / "intervention.json", folder / "maps.safetensors"
    data, values = json.loads(header.read_text()), load_file(tensors)
    match what:
        case "no header":
            header.unlink()
        case "no tensors":
            tensors.unlink()
        case "no json":
            header.write_text("{")
        case "format":
            header.write_text(json.dumps(data | {"format": "evonas intervention 2"}))
        case "unknown key":
            data["sites"][1]["size"] = 3
            header.write_text(json.dumps(data))
        case "size":
            data["sites"][1]["features"] = 9
            header.write_text(json.dumps(data))
        case "cut short":
            tensors.write_bytes(tensors.read_bytes()[:-9])
        case "missing":
            del values["blocks.1.mlp_norm/bias"]
            save_file(values, tensors)
        case "float8":
            save_file(values | {"blocks.0.mlp_norm/bias": torch.zeros(8).to(torch.float8_e4m3fn)}, tensors)
        case "deep":
            header.write_text('{"pools": ' + "[" * 100_000)
        case "half a letter":
            header.write_text(json.dumps(data | {"method": "\ud800"}))
        case "more":
            save_file(values | {"other/weight": torch.zeros(3)}, tensors)
        case "nan":
            save_file(values | {"blocks.0.mlp_norm/bias": torch.full((8,), torch.nan)}, tensors)
        case "pool":
            header.write_text(json.dumps(data | {"pools": {"blocks.0.mlp_norm": "median"}}))
        case "none":
            header.write_text(json.dumps(data | {"sites": []}))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no header", "holds no intervention.json; give a folder that Intervention.save wrote"),
        ("no tensors", "holds no maps.safetensors"),
        ("no json", "intervention.json: is not JSON"),
        ("format", "intervention.json: format: 'evonas intervention 2'; accepted: 'evonas intervention 1'"),
        ("unknown key", r"sites.1.size: unknown key; accepted: name, features, axis, kind, writes_residual"),
        ("size", r"'blocks.1.mlp_norm/weight' is float32\[8\]; accepted: 9 finite"),
        ("cut short", "maps.safetensors: is not a safetensors file"),
        ("missing", "holds no 'blocks.1.mlp_norm/bias'"),
        ("float8", r"'blocks.0.mlp_norm/bias' is float8_e4m3fn\[8\]; accepted: 8 finite"),
        ("deep", "intervention.json: is not JSON"),
        ("half a letter", "intervention.json: method: holds a NUL or half a character"),
        ("more", "holds 'other/weight', which belongs to no site"),
        ("nan", r"'blocks.0.mlp_norm/bias' is float32\[8\]; accepted: 8 finite"),
        ("pool", "intervention.json: pools: 'median' at blocks.0.mlp_norm; accepted: mean, last, max, min"),
        ("none", "intervention.json: sites: "),
    ],
)
def test_broken_folders_are_refused_in_one_line(tmp_path: Path, what: str, message: str) -> None:
    made().save(tmp_path)
    spoil(tmp_path, what)
    with pytest.raises(InputError, match=message) as error:
        Intervention.load(tmp_path)
    assert len(str(error.value).splitlines()) == 1


def test_an_intervention_for_another_model_is_refused_in_one_line() -> None:
    intervention = made()
    with (
        pytest.raises(InputError, match=r"^blocks.0.mlp_norm: 12 neurons in this Transformer; accepted: 8; .*mer$"),
        intervention.on(small(width=12)),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"^blocks.0.mlp_norm: no such module in this Linear; .* a Transformer$"),
        intervention.on(nn.Linear(8, 8), strength=0),
    ):
        pass
    with pytest.raises(InputError, match="12 neurons in this Transformer"):
        intervention.fold_into(small(width=12))


def test_strengths_that_are_no_numbers_and_sites_that_do_not_fit_are_refused() -> None:
    with (
        pytest.raises(InputError, match=r"^strength: nan; accepted: a finite number"),
        made().on(small(), float("nan")),
    ):
        pass
    with pytest.raises(InputError, match=r"blocks.0.mlp_norm: map: .* between bounds only has no inverse"):
        made(bounded=True).inverse()
    wide = fit(small(12), [tokens(0)], [tokens(1)], sites="blocks.0.mlp_norm", method="caa")
    with pytest.raises(InputError, match=r"blocks.0.mlp_norm: 12 neurons along axis -1 in the second.*accepted: 8"):
        made().then(wide)
