"""AdamW as the paper uses it: decay of two kinds, muParam learning rates, schedule, clipping of the global norm.

The optimizer is torch's. It multiplies a parameter with 1 - lr_t * weight_decay before the step of Adam, with
lr_t = s_t * lr of the parameter's group. So a group's ``weight_decay`` of lambda is coupled decay, and of lambda / lr,
with the *group's* lr, is independent decay: 1 - s_t * lambda, whatever the learning rate.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from evonas.errors import InputError
from evonas.studies.stability.measures import tensor_rms
from evonas.studies.stability.settings import OptimizerConfig
from evonas.surgery.modules import matching
from evonas.tasks.language.model import Transformer

LEAST_RMS = 1e-3  # of a tensor that scales its learning rate


def transformer_optimizer(model: Transformer, config: OptimizerConfig) -> AdamW:
    """AdamW on all parameters.

    Independent decay: theta <- theta - s_t (eta Delta + lambda theta). Coupled: theta <- theta - s_t eta (Delta +
    lambda theta). Delta is Adam's step for a learning rate of 1, s_t the schedule from 0 to 1.

    Under muParam the learning rate of linear layers, head included, is eta * base_width / width. With ``rms_scaled``
    that of each tensor is multiplied at each step with max(RMS(theta), 1e-3). Independent decay stays s_t lambda under
    muParam, by the formula above. Nanodo scales the whole update of a tensor, decay included, so that its linear layers
    decay by s_t lambda base_width / width. All parameters decay, gains of norms and the embedding too, but for those of
    ``undecayed``.

    Raises:
        InputError: a pattern of ``undecayed`` matches no parameter.

    Source: Wortsman et al. 2023 (independent decay after Loshchilov and Hutter 2019; the sign of lambda theta is that
    of a decay); RMS scaling: their E.14.
    """
    groups: dict[tuple[object, ...], dict[str, Any]] = {}
    undecayed = _undecayed(model, config)
    linear = set(model.linear_weights()) if model.config.mu_param != "off" else set()
    for name, parameter in model.named_parameters():
        rate = config.learning_rate * (model.config.base_width / model.config.width if name in linear else 1.0)
        decay = 0.0 if name in undecayed else config.decay_rate
        if config.decay == "independent":
            decay /= rate
        key = (rate, decay, name if config.rms_scaled else None)
        group = groups.setdefault(key, {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    betas = (config.beta1, config.beta2)
    optimizer = AdamW(list(groups.values()), lr=config.learning_rate, betas=betas, eps=config.epsilon)
    if config.rms_scaled:
        _scale_by_rms(optimizer, keep_decay=config.decay == "independent")
    return optimizer


def schedule_factor(config: OptimizerConfig, steps: int, step: int) -> float:
    """s_t for t = 0 .. steps - 1: (t + 1) / warmup, then a cosine from 1 that is final / peak at the last step.

    So no step is taken at a learning rate of 0. Schedules of optax, which the paper's code uses, begin at their initial
    value and reach the final one a step after the last.
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = min(1.0, (step + 1 - config.warmup) / (steps - config.warmup))
    last = config.final_learning_rate / config.learning_rate
    return last + (1 - last) * (1 + math.cos(math.pi * progress)) / 2


def make_schedule(optimizer: AdamW, config: OptimizerConfig, steps: int) -> LambdaLR:
    """Multiplies the learning rate of every group with s_t; stepped after each step."""
    return LambdaLR(optimizer, lambda step: schedule_factor(config, steps, step))


class GradientClip:
    """Before each step of an optimizer, scales all gradients by one number: their global norm is ``limit`` at most.

    Attributes:
        norms: the global norm before clipping, of every step so far.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, limit: float) -> None:
        self.limit = limit or math.inf  # which clips nothing
        self.norms: list[Tensor] = []
        optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.norms.append(nn.utils.clip_grad_norm_(parameters, self.limit))


def _undecayed(model: Transformer, config: OptimizerConfig) -> set[str]:
    names = [name for name, _ in model.named_parameters()]
    chosen: set[str] = set()
    for pattern in config.undecayed:
        found = matching(pattern, names)
        if not found:
            where, accepted = f"optimizer.undecayed: {pattern!r}", f"names such as {', '.join(names[:5])}"
            raise InputError(where, "matches no parameter", accepted=accepted)
        chosen.update(found)
    return chosen


def _scale_by_rms(optimizer: AdamW, *, keep_decay: bool) -> None:
    """During each step, multiply the learning rate of each group (of one tensor) with the tensor's RMS."""
    kept: list[tuple[float, float]] = []

    def before(*_: object) -> None:
        kept.extend((group["lr"], group["weight_decay"]) for group in optimizer.param_groups)
        for group in optimizer.param_groups:
            scale = max(float(tensor_rms(group["params"][0])), LEAST_RMS)
            group["lr"] *= scale
            if keep_decay:
                group["weight_decay"] /= scale

    def after(*_: object) -> None:
        for group, (rate, decay) in zip(optimizer.param_groups, kept, strict=True):
            group["lr"], group["weight_decay"] = rate, decay
        kept.clear()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
