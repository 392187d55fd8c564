"""The networks of a study of images: trained once, and kept in its folder."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from evonas.config.section import Count, PositiveInt, Section
from evonas.errors import InputError, first_line
from evonas.files import write_whole
from evonas.runs.jobs import spec_text
from evonas.studies.steering.generator import Generator, load_digits, train_generator
from evonas.studies.steering.judge import DigitClassifier, train_classifier


class NetworksSpec(Section):
    """Everything that the generator and the classifier that judges depend on."""

    generator_steps: PositiveInt
    classifier_steps: PositiveInt
    width: PositiveInt
    trained: Count


def trained_networks(spec: NetworksSpec, folder: Path | None) -> tuple[Generator, DigitClassifier]:
    """The generator and the classifier: from the folder, or trained and written there; None keeps nothing.

    Both are small: trained on the CPU, whatever the device, they are the same everywhere.

    Raises:
        InputError: the file in the folder holds something else.
    """
    digest = hashlib.sha256(spec_text(spec).encode()).hexdigest()[:16]
    file = None if folder is None else folder / f"networks-{digest}.safetensors"
    if file is not None and file.is_file():
        generator, judge = Generator(spec.width), DigitClassifier()
        try:
            load_model(_both(generator, judge), file)
        except (SafetensorError, RuntimeError) as error:
            raise InputError(
                str(file), f"does not hold these networks ({first_line(error)})", remedy="delete it"
            ) from None
        return generator.eval(), judge.eval()
    digits = load_digits()
    with torch.enable_grad():  # whoever asks for them first may only want to measure
        generator, _ = train_generator(digits, steps=spec.generator_steps, seed=spec.trained, width=spec.width)
        judge, _ = train_classifier(digits, steps=spec.classifier_steps, seed=spec.trained)
    if file is not None:
        write_whole(file, lambda path: save_model(_both(generator, judge), str(path)))
    return generator, judge


def _both(generator: Generator, judge: DigitClassifier) -> nn.ModuleDict:
    return nn.ModuleDict({"generator": generator, "judge": judge})
