"""Next-token cross entropy with z-loss."""

from torch import Tensor
from torch.nn import functional


def z_loss_cross_entropy(logits: Tensor, targets: Tensor, z_loss: float = 0.0) -> Tensor:
    r"""Mean over positions of $\log Z - logit_{target} + z \log^2 Z$, $Z = \sum_v \exp(logit_v)$, in single precision.

    The last term keeps log Z near 0; without it the logits may drift, since the cross entropy does not see their
    common shift.

    Shapes: logits [b, t, v], targets [b, t] int64 -> a scalar.

    Args:
        logits: unnormalized.
        targets: the tokens that come next.
        z_loss: z, 1e-4 in the paper; 0 leaves the cross entropy.

    Source: Wortsman et al. 2023 after Chowdhery et al. 2022 (PaLM).
    """
    logits = logits.float()
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return loss + z_loss * logits.logsumexp(-1).square().mean() if z_loss else loss
