"""The cells of a study of components. Oracle: made-up outcomes, whose effects are worked out by hand."""

import pytest

from evonas.compare.components.grid import cell
from evonas.compare.components.jobs import Job, Masked, Predicted, Steered
from evonas.compare.components.networks import Subject, Trained
from evonas.compare.components.settings import COMPONENTS, ComponentsConfig, HypernetConfig, NetworkConfig, RatesConfig
from evonas.config import DataConfig, LayerConfig, TaskConfig, TextConfig
from evonas.runs.store import Outcome

TRANSFORMER = NetworkConfig(task=TaskConfig(transformer="16x1"))
IMAGES = NetworkConfig(task=TaskConfig(architecture="all_cnn"))
PRETRAINED = NetworkConfig(pretrained="owner/model")


def subject(network: NetworkConfig) -> Subject:
    return Subject(network=network, data=DataConfig(), text=TextConfig(), lowering=LayerConfig(), device="cpu")


def study(**parts: object) -> ComponentsConfig:
    return ComponentsConfig(name="made-up", networks=(TRANSFORMER, IMAGES, PRETRAINED), **parts)  # type: ignore[arg-type]


def test_a_cell_without_sense_says_why_and_has_no_jobs() -> None:
    reasons = {
        (name, network.label): cell(study(), name, subject(network)).reason
        for name in COMPONENTS
        for network in (TRANSFORMER, IMAGES, PRETRAINED)
    }
    assert {place: reason for place, reason in reasons.items() if reason} == {
        ("qk-layernorm", "all_cnn"): "it has no attention",
        ("qk-layernorm", "model"): "it would have to be trained from scratch",
        ("z-loss", "model"): "it would have to be trained from scratch",
        ("mip", "model"): "it would have to be trained from scratch",
    }
    assert cell(study(), "mip", subject(PRETRAINED)).jobs is None


@pytest.mark.parametrize(("name", "switch"), [("qk-layernorm", "qk_layernorm"), ("z-loss", "z_loss")])
def test_sensitivity_is_the_mean_loss_over_the_rates_clipped_at_the_first_minus_the_best(
    name: str, switch: str
) -> None:
    found = cell(study(rates=RatesConfig(factors=(0.5, 1.0, 8.0)), seeds=(4,)), name, subject(TRANSFORMER))  # type: ignore[arg-type]
    assert found.jobs is not None
    assert found.read is not None
    jobs = [job for job in found.jobs[4] if isinstance(job, Trained)]
    assert len(set(jobs)) == 6
    plain = {0.5: 2.0, 1.0: 1.0, 8.0: None}  # diverged: counts as 3, the loss before
    changed = {0.5: 2.0, 1.0: 0.5, 8.0: 1.0}

    def after(job: Trained) -> float | None:
        on = job.qk_layernorm if name == "qk-layernorm" else bool(job.z_loss)
        return (changed if on else plain)[job.factor]

    outcomes: dict[Job, Outcome] = {job: Outcome({"before": 3.0, "after": after(job)}, "") for job in jobs}
    effect = found.read(4, outcomes)
    assert effect is not None
    assert effect.without == pytest.approx((2 + 1 + 3) / 3 - 1)
    assert effect.with_it == pytest.approx((2 + 0.5 + 1) / 3 - 0.5)
    assert effect.effect == pytest.approx(effect.with_it - effect.without)
    assert len({getattr(job, switch) for job in jobs}) == 2


def test_a_mask_costs_what_the_loss_rises_by_and_steering_is_read_at_the_stated_rise() -> None:
    masked, steered = (cell(study(seeds=(1,)), name, subject(IMAGES)) for name in ("wina", "lineas"))
    assert masked.jobs is not None
    assert steered.jobs is not None
    assert masked.read is not None
    assert steered.read is not None
    (mask,), (steer,) = masked.jobs[1], steered.jobs[1]
    assert isinstance(mask, Masked)
    assert isinstance(steer, Steered)
    assert mask.trained == steer.trained == Trained(subject=subject(IMAGES), seed=1)
    effect = masked.read(1, {mask: Outcome({"plain": 0.25, "with": 0.3}, "")})
    assert effect is not None
    assert effect.effect == pytest.approx(0.05)
    curve = [[0.0, 0.8, 1.0], [0.5, 0.4, 1.05], [1.0, 0.2, 1.15]]  # at 1.1, half way between the last two
    moved = steered.read(1, {steer: Outcome({"curve": curve}, "")})
    assert moved is not None
    assert (moved.without, moved.with_it) == (0.8, pytest.approx(0.3))
    assert moved.effect == pytest.approx(0.3 / 0.8 - 1)


def test_mip_is_compared_at_the_steps_to_the_last_loss_of_the_default_each_at_its_best_rate() -> None:
    settings = HypernetConfig(learning_rates=(0.1, 0.2))
    found = cell(study(seeds=(1, 2), hypernetwork=settings), "mip", subject(IMAGES))
    curves = {
        ("default", 0.1): [[0, 3.0], [10, 2.0], [20, 1.0]],
        ("default", 0.2): [[0, 3.0], [10, None]],
        ("mip", 0.1): [[0, 3.0], [10, 2.5], [20, 2.0]],
        ("mip", 0.2): [[0, 3.0], [5, 1.0], [20, 0.5]],
    }
    assert found.jobs is not None
    assert found.read is not None
    jobs = [job for own in found.jobs.values() for job in own if isinstance(job, Predicted)]
    outcomes: dict[Job, Outcome] = {
        job: Outcome({"curve": curves[job.parametrization, job.learning_rate]}, "") for job in jobs
    }
    effect = found.read(2, outcomes)
    assert effect is not None
    assert (effect.without, effect.with_it, effect.effect) == (20, 5, 4)


def test_a_failed_job_leaves_its_seed_without_an_effect() -> None:
    found = cell(study(seeds=(1,)), "teal", subject(IMAGES))
    assert found.jobs is not None
    assert found.read is not None
    assert found.read(1, {found.jobs[1][0]: Outcome(None, "no memory")}) is None
