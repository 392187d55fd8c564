"""Oracles: scipy's energy distance in one dimension, the split of the digits, and a training of a few steps."""

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance as scipy_energy_distance

from evonas.errors import InputError
from evonas.steering import fit
from evonas.studies.steering.generator import Generator, energy_distance, inputs, load_digits, train_generator

DIGITS = load_digits()


def test_digits_are_split_once_and_lie_between_0_and_1() -> None:
    test = load_digits(test=True)
    assert DIGITS.images.shape == (1437, 1, 8, 8)
    assert test.images.shape == (360, 1, 8, 8)
    assert (DIGITS.images.amin(), DIGITS.images.amax()) == (0, 1)
    assert torch.equal(DIGITS.labels.unique(), torch.arange(10))
    assert torch.equal(DIGITS.of(3), DIGITS.images[DIGITS.labels == 3])


def test_the_energy_distance_is_unbiased_scipys_squared() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(1, n, 1, generator=generator, dtype=torch.float64) + n / 10 for n in (7, 9))
    biased = scipy_energy_distance(x.flatten().numpy(), y.flatten().numpy()) ** 2
    # scipy counts each sample's distance to itself in the two means within a set
    within = [np.abs(np.subtract.outer(v, v)).sum() for v in (x.flatten().numpy(), y.flatten().numpy())]
    wanted = biased + within[0] / 49 - within[0] / 42 + within[1] / 81 - within[1] / 72
    assert energy_distance(x, y).item() == pytest.approx(wanted)


def test_a_batch_is_one_class_and_its_noise_depends_on_the_seed_alone() -> None:
    three, eight = inputs(3, 5, seed=1), inputs(8, 5, seed=1)
    assert three["labels"].tolist() == [3] * 5
    assert torch.equal(three["noise"], eight["noise"])
    assert not torch.equal(three["noise"], inputs(3, 5, seed=2)["noise"])


def test_a_few_steps_bring_images_nearer_and_are_repeatable() -> None:
    generator, trace = train_generator(DIGITS, steps=25, width=16, per_class=4)
    again, _ = train_generator(DIGITS, steps=25, width=16, per_class=4)
    assert trace.losses[-1] < 0.7 * trace.losses[0]
    image, other = (model(**inputs(3, 4, seed=0)) for model in (generator, again))
    assert torch.equal(image, other)
    assert image.shape == (4, 1, 8, 8)
    assert (image > 0).all()
    assert (image < 1).all()
    assert not generator.training


def test_its_norms_are_steered_dense_and_by_channel() -> None:
    model = Generator(width=16)
    found = fit(model, [inputs(3, 6, 0)], [inputs(8, 6, 1)], sites="**.norm*", steps=3, lr=0.01)
    assert [(site.name, site.features, site.axis) for site in found.sites] == [
        ("norm", 16, -1),
        ("blocks.0.norm", 16, 1),
        ("blocks.1.norm", 16, 1),
    ]
    plain = model(**inputs(3, 2, 5))
    with found.on(model):
        assert not torch.equal(model(**inputs(3, 2, 5)), plain)
    found.fold_into(model)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"^width: 12; accepted: a multiple of 8$"):
        train_generator(DIGITS, width=12)
    with pytest.raises(InputError, match=r"^per_class: 1; accepted: 2 or more$"):
        train_generator(DIGITS, per_class=1)
