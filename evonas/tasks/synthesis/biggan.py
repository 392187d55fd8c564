"""BigGAN: a generator and a discriminator of class-conditional images, and how a layer is put into it."""

from collections.abc import Sequence

from torch import Tensor, nn

from evonas.config import LayerConfig
from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.layer.conditional import ConditionalLayer
from evonas.layer.lower import NormActLayer, Recipe
from evonas.layer.plan import layout_of
from evonas.surgery.modules import replace_modules
from evonas.tasks.synthesis.conditional import ConditionalBatchNormReLU
from evonas.tasks.synthesis.discriminator import Discriminator
from evonas.tasks.synthesis.generator import Generator
from evonas.tasks.synthesis.stages import WIDTHS, discriminator_stages, generator_stages


class BigGan(nn.Module):
    """A generator and a discriminator of one image size.

    Attributes:
        generator: from latent vectors and labels to images in [-1, 1].
        discriminator: from images and labels to logits.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Logits [b] of the images that are generated from latents [b, latent] and labels [b]."""
        logits: Tensor = self.discriminator(self.generator(latents, labels), labels)
        return logits


def build_biggan(
    resolution: int, *, classes: int, channels: int, latent: int, shared: int, attention: Sequence[int]
) -> BigGan:
    """BigGAN with fresh weights, drawn from torch's global generator.

    It has conditional batch normalization and ReLU at two sites of each block of the generator, and batch normalization
    and ReLU in front of the generator's last convolution.

    Args:
        resolution: height and width of the images: 32, 64 or 128.
        classes: the number of classes.
        channels: the base width, of which all channels are multiples; published: 64 or 96.
        latent: the number of latent variables; with a shared embedding a multiple of the number of generator blocks
            plus 1, which is 4, 5 or 6.
        shared: the number of features of the class embedding that all sites share; 0 gives each site an embedding of
            its own, and then the latent vector goes into the first map only.
        attention: the sizes of the maps that self-attention follows, in both networks.

    Raises:
        InputError: a number that cannot be.
    """
    if resolution not in WIDTHS:
        raise InputError("resolution", str(resolution), accepted=", ".join(map(str, WIDTHS)))
    minima = {"classes": (classes, 1), "channels": (channels, 1), "latent": (latent, 1), "shared": (shared, 0)}
    for name, (number, least) in minima.items():
        if number < least:
            raise InputError(name, str(number), accepted=f"{least} or more")
    generator = generator_stages(resolution, channels, attention)
    discriminator = discriminator_stages(resolution, channels, attention)
    sizes = sorted({stage.size for stage in (*generator, *discriminator)})
    for size in attention:
        if size not in sizes:
            raise InputError("attention", str(size), accepted=", ".join(map(str, sizes)))
    if shared and latent % (len(generator) + 1):
        found = f"{latent} latent variables cannot be cut into {len(generator) + 1} equal parts"
        raise InputError("latent", found, accepted=f"a multiple of {len(generator) + 1}")
    return BigGan(
        Generator(generator, classes=classes, latent=latent, shared=shared),
        Discriminator(discriminator, classes=classes),
    )


def put_layer(model: nn.Module, genome: Genome, layer: LayerConfig) -> nn.Module:
    """A copy of a BigGAN with a layer at every site of its generator.

    Sites in blocks have the layer with the affine of the condition (``ConditionalLayer``), whose maps keep their
    weights. The last site has the layer as it is.

    Args:
        model: what ``build_biggan`` made; it is left untouched.
        genome: the layer.
        layer: how it is lowered.

    Raises:
        InputError: the model has no such sites, or the layer is not one of maps.
    """
    recipe = Recipe(genome, layout_of(genome, "bchw"), layer.groups, layer.eps, layer.momentum)
    return replace_modules(
        model,
        {
            "generator.blocks.*.*.layer": lambda old: ConditionalLayer(recipe, _features(old)),
            "generator.output": lambda old: NormActLayer(recipe, _features(old)),
        },
    )


def _features(site: nn.Module) -> int:
    """The channels of what stands at a site: a layer, or batch normalization and ReLU."""
    kinds = (NormActLayer, ConditionalLayer, ConditionalBatchNormReLU, nn.BatchNorm2d)
    return next(module.num_features for module in site.modules() if isinstance(module, kinds))
