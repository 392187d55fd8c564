"""The hinge losses of the two networks.

Source: Lim & Ye 2017, arXiv:1705.02894; Brock et al. 2019, arXiv:1809.11096.
"""

from torch import Tensor
from torch.nn import functional


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """mean(max(1 - real, 0)) + mean(max(1 + fake, 0)) of the logits of real and of generated images."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """-mean(fake) of the logits of generated images."""
    return -fake.mean()
