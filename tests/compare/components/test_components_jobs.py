"""The measurements of a study of components. Oracles: the parts that they are made of, called by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evonas.compare.components.jobs import Masked, Predicted, Steered, do_job
from evonas.compare.components.material import loss, material_of
from evonas.compare.components.networks import NETWORKS, Subject, Trained, WithLogits, trained_network
from evonas.compare.components.settings import ConceptConfig, HypernetConfig, MasksConfig, NetworkConfig
from evonas.config import DataConfig, LayerConfig, TaskConfig, TextConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.studies.sparsity.sparsify import sparsify

CONCEPT = ConceptConfig(samples=8, steps=4, strengths=(1.0,))
KINDS = {
    "images": (
        TaskConfig(architecture="preact_resnet", width=0.125, depth=(1,), unstrided=1),
        TrainingConfig(batch_size=16, steps=40, learning_rate=0.1),
        "evonorm-s0",
    ),
    "text": (
        TaskConfig(transformer="16x1", context=32),
        TrainingConfig(optimizer="adamw", batch_size=4, steps=3, learning_rate=0.01),
        "rmsnorm",
    ),
}


@pytest.fixture(params=KINDS)
def trained(request: pytest.FixtureRequest) -> Trained:
    task, training, layer = KINDS[request.param]
    subject = Subject(
        network=NetworkConfig(task=task, training=training),
        data=DataConfig(train=256, validation=200),
        text=TextConfig(),
        lowering=LayerConfig(groups=4),
        genome=CATALOGUE[layer].to_text(),
        device="cpu",
    )
    return Trained(subject=subject, seed=1)


def test_a_training_is_kept_and_trained_again_to_the_same_where_it_is_lost(trained: Trained, tmp_path: Path) -> None:
    found = do_job(tmp_path, trained, {})
    (file,) = (tmp_path / NETWORKS).iterdir()
    material = material_of(trained.subject, ConceptConfig(), 1)
    kept = trained_network(trained, tmp_path)
    assert loss(kept, material) == pytest.approx(found["after"], abs=1e-12)
    assert found["after"] != found["before"]
    before = load_file(file)
    file.unlink()
    again = trained_network(trained, tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in before.items())
    assert do_job(tmp_path, trained.model_copy(update={"factor": 2.0}), {})["after"] != found["after"]
    assert len(list((tmp_path / NETWORKS).iterdir())) == 1


@pytest.mark.parametrize("component", ["teal", "wina", "wina, fisher split"])
def test_a_mask_is_that_of_sparsify_on_all_but_the_output_layer(
    trained: Trained, tmp_path: Path, component: str
) -> None:
    job = Masked(
        subject=trained.subject,
        trained=trained,
        component=component,  # type: ignore[arg-type]
        masks=MasksConfig(sparsity=0.6, calibration=8),
        concept=CONCEPT,
        seed=1,
    )
    found = do_job(tmp_path, job, {})
    network = WithLogits(trained_network(trained, tmp_path)).eval()
    material = material_of(trained.subject, CONCEPT, 1)
    assert found["plain"] == loss(network, material)
    if component.endswith("split"):
        assert found["with"] != found["plain"]
        return
    head = {"images": "network.classifier", "text": "network.head"}
    names = [name for name, _ in network.named_modules() if name in head.values() or name.endswith((".fc", ".head"))]
    sparsify(network, method=component, sparsity=0.6, allocation="uniform", exclude=tuple(names[-1:]))
    assert found["with"] == pytest.approx(loss(network, material), abs=1e-12)


def test_steering_starts_at_the_untouched_network_and_leaves_it_as_it_was(trained: Trained, tmp_path: Path) -> None:
    job = Steered(subject=trained.subject, trained=trained, concept=CONCEPT, seed=1)
    first, again = do_job(tmp_path, job, {}), do_job(tmp_path, job, {})
    assert first == again
    (_, score, cost), (strength, moved, _) = first["curve"]
    assert strength == 1.0
    assert 0 < score < 1
    assert cost > 0
    assert moved != score
    assert first["sites"] >= 3


def test_hypernetworks_learn_and_mip_starts_where_the_network_does(trained: Trained, tmp_path: Path) -> None:
    settings = HypernetConfig(steps=6, check_every=3, batch_size=8, learning_rates=(1e-3,), hidden=(4,))
    curves = {}
    for form in ("default", "mip"):
        job = Predicted(
            subject=trained.subject, hypernetwork=settings, parametrization=form, learning_rate=1e-3, seed=1
        )
        curves[form] = do_job(tmp_path, job, {})["curve"]
        assert [step for step, _ in curves[form]] == [0, 3, 6]
        assert do_job(tmp_path, job, {})["curve"] == curves[form]
    assert curves["mip"][-1][1] < curves["mip"][0][1]
