"""Makes the layer that stands in place of a linear one, for a method and a sparsity."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from evonas.studies.sparsity.calibration import require_reached, threshold_at
from evonas.studies.sparsity.layer import LowRank, SparseLinear, low_rank_factors
from evonas.studies.sparsity.parts import tensors_of
from evonas.studies.sparsity.rotation import RotatedLayers
from evonas.studies.sparsity.scores import Magnitude, ScoreContext, ScoreMethod
from evonas.studies.sparsity.selection import Prefill, Selector
from evonas.studies.sparsity.sites import LinearSite
from evonas.training.topk import kept_count

RANK_SHARE = 0.25


class Builder:
    """Makes, from a layer and a sparsity, the sparse layer that takes its place.

    Plain magnitudes know nothing of the layer, so layers that keep as many of them share one selector. With a
    low-rank term, the share a = ``RANK_SHARE`` of the weights that may be read goes to it, and the kept columns get the
    rest: K = floor(n (1 - s) (1 - a)) inputs and rank floor(a (1 - s) n m / (n + m)). The split is a choice of this
    project; the paper searches it.

    Args:
        method: what scores the inputs.
        sites: the layers to come.
        turned: by name, layers in another basis.
        prefill: which positions stay dense.
        seed: for the method's random numbers.
        factors: of low-rank terms, by name, where they are known; others are computed.

    Attributes:
        scores: by layer, what scores its inputs, in the rotated basis where there is one.
        samples: by name, sorted scores, from which thresholds are read; None keeps the K best inputs of each token.
    """

    def __init__(
        self,
        method: ScoreMethod,
        sites: Sequence[LinearSite],
        turned: Mapping[str, RotatedLayers],
        prefill: Prefill,
        seed: int,
        factors: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.method, self.turned, self.prefill = method, turned, prefill
        self.scores = {site: self._score(site, seed) for site in sites}
        self.samples: Mapping[str, Tensor] | None = None
        self._selectors: dict[tuple[object, ...], Selector] = {}
        self._factors = dict(factors or {})

    def __call__(self, site: LinearSite, sparsity: float, *, sparse: bool = False) -> SparseLinear:
        """Make the sparse layer.

        Raises:
            InputError: a threshold is wanted, and the calibration never reached the layer.
        """
        turned = self.turned.get(site.name)
        return SparseLinear(
            site,
            self._selector(site, sparsity),
            weight=turned.matrix if turned is not None else None,
            rotation=turned.rotation if turned is not None else None,
            low_rank=self._low_rank(site, sparsity),
            sparse=sparse,
        )

    def threshold(self, site: LinearSite, sparsity: float) -> float | None:
        """The score up to which a layer drops inputs; None where it keeps the K best of each token.

        Raises:
            InputError: the calibration never reached the layer.
        """
        if self.samples is None:
            return None
        require_reached(site.name, self.samples)
        return threshold_at(self.samples[site.name], self._dropped(sparsity))

    def tensors(self, shares: Mapping[LinearSite, float]) -> tuple[dict[str, Tensor], dict[str, int]]:
        """What layers at these sparsities multiply with beside weights of the dense model; see ``parts.tensors_of``."""
        dropping = {site.name: (site, share) for site, share in shares.items() if share}
        low_rank = {name: term for name, given in dropping.items() if (term := self._low_rank(*given)) is not None}
        return tensors_of({name: layer for name, layer in self.turned.items() if name in dropping}, low_rank)

    def _low_rank(self, site: LinearSite, sparsity: float) -> LowRank | None:
        if not self.method.low_rank:
            return None
        rank = int(RANK_SHARE * (1 - sparsity) * site.inputs * site.outputs / (site.inputs + site.outputs))
        if site.name not in self._factors:
            self._factors[site.name] = low_rank_factors(site.matrix)
        return LowRank(self._factors[site.name], rank)

    def _dropped(self, sparsity: float) -> float:
        """The share of inputs that is dropped, which is more where a low-rank term has its part of what is read."""
        return 1 - (1 - sparsity) * (1 - RANK_SHARE if self.method.low_rank else 1)

    def sample_score(self, site: LinearSite, x: Tensor) -> Tensor:
        """Scores of a layer's input [..., n], as its selector will see them."""
        turned = self.turned.get(site.name)
        scores: Tensor = self.scores[site](x if turned is None else turned.rotation(x))
        return scores

    def _score(self, site: LinearSite, seed: int) -> nn.Module:
        turned = self.turned.get(site.name)
        if turned is None:
            matrix, basis = site.matrix, None
        else:
            matrix, basis = turned.matrix, turned.basis
        return self.method.score(ScoreContext(site.name, matrix, basis, bool(self.turned), seed))

    def _selector(self, site: LinearSite, sparsity: float) -> Selector:
        score, threshold = self.scores[site], self.threshold(site, sparsity)
        keep = kept_count(site.inputs, self._dropped(sparsity)) if threshold is None else None
        threshold = threshold or 0.0
        selector = Selector(score, keep=keep, threshold=threshold, prefill=self.prefill)
        if not isinstance(score, Magnitude) or score.scale is not None:
            return selector
        turned = self.turned.get(site.name)
        rule = (turned and turned.rotation, site.inputs, keep, threshold)
        return self._selectors.setdefault(rule, selector)
