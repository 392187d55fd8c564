"""Networks of a study of images: oracle is the training itself, without a folder."""

from pathlib import Path

import pytest
import torch

from evonas.errors import InputError
from evonas.studies.steering import networks
from evonas.studies.steering.generator import inputs
from evonas.studies.steering.networks import NetworksSpec, trained_networks

SPEC = NetworksSpec(generator_steps=3, classifier_steps=2, width=8, trained=1)


def test_what_was_trained_once_is_read_again_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, judge = trained_networks(SPEC, None)
    with torch.no_grad():  # as whoever measures
        first = trained_networks(SPEC, tmp_path)
    monkeypatch.setattr(networks, "train_generator", None)  # nothing is trained any more
    again = trained_networks(SPEC, tmp_path)
    batch = inputs(3, 4, 0)
    for other_generator, other_judge in (first, again):
        images = other_generator(**batch)
        assert torch.equal(images, generator(**batch))
        assert torch.equal(other_judge(images), judge(images))
        assert not other_generator.training
        assert not other_judge.training
    assert len(list(tmp_path.iterdir())) == 1


def test_other_settings_have_a_file_of_their_own(tmp_path: Path) -> None:
    for seed in (1, 2):
        trained_networks(SPEC.model_copy(update={"trained": seed}), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    trained_networks(SPEC, tmp_path)
    (file,) = tmp_path.iterdir()
    for damaged in (b"nothing of the kind", file.read_bytes()[:-100]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="does not hold these networks") as error:
            trained_networks(SPEC, tmp_path)
        assert "\n" not in str(error.value)
