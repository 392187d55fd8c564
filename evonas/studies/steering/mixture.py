r"""An input-dependent map: samples are mixtures of clusters, and each cluster moves to where its mass is sent."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.steering.maps import NOTICEABLE

SINKHORN_STEPS = 500
ENTROPY = 0.1  # weight of the entropy in the coupling of clusters, over their mean squared distance


@dataclass(frozen=True, slots=True, eq=False)
class MixtureMap:
    r"""$T(z) = z + \sum_i p_i(z) v_i$ with $p_i(z) \propto m_i \exp(-\lVert z - a_i \rVert^2 / 2 \sigma^2)$.

    Every position moves by itself, by the shifts of the clusters that it lies near. With one cluster it is a shift.

    Attributes:
        centres: a_i [k, d] of the clusters of the source.
        shifts: v_i [k, d].
        masses: m_i [k], the share of the samples that each cluster has.
        width: sigma [1].
    """

    centres: Tensor
    shifts: Tensor
    masses: Tensor
    width: Tensor

    def __call__(self, z: Tensor, axis: int = -1) -> Tensor:
        """Apply it along an axis of length d, in its own precision or better; the result has the dtype of ``z``."""
        kind = torch.promote_types(z.dtype, self.shifts.dtype)
        centres, shifts, masses, width = (part.to(z.device, kind) for part in self.parts.values())
        wide = z.to(kind).movedim(axis, -1)
        # the square of z is the same for all clusters
        nearness = (wide @ centres.T - centres.square().sum(1) / 2) / width.square() + masses.log()
        moved = wide + nearness.softmax(-1) @ shifts
        return moved.movedim(-1, axis).to(z.dtype)

    @property
    def parts(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return {"centres": self.centres, "shifts": self.shifts, "masses": self.masses, "width": self.width}

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing at all."""
        return not self.shifts.any()

    @property
    def is_bounded(self) -> bool:
        """Whether it leaves some values alone: it moves all."""
        return False

    @property
    def support(self) -> Tensor:
        """Which neurons are steered noticeably by some cluster. Shapes: [d], bool."""
        return (self.shifts.abs() > NOTICEABLE).any(0)

    def at(self, strength: float) -> "MixtureMap":
        r"""The map $\lambda T(z) + (1 - \lambda) z$."""
        return replace(self, shifts=strength * self.shifts)

    def inverse(self) -> "MixtureMap":
        """There is none in closed form.

        Raises:
            InputError: always.
        """
        raise InputError("map", "one that depends on its input has no inverse", remedy="fit from target to source")

    def to(self, device: torch.device) -> "MixtureMap":
        """The same map on a device."""
        return MixtureMap(**{name: part.to(device) for name, part in self.parts.items()})


def mixture_transport(source: Tensor, target: Tensor, *, clusters: int) -> MixtureMap:
    r"""Clusters of the source, each of which moves to the barycentre of the clusters of the target that it is sent to.

    K-means finds the centres a_i and b_j. Entropic optimal transport between them, at the cost
    $\lVert a_i - b_j \rVert^2$, says how much mass P_ij goes from one to the other, and
    $v_i = \sum_j P_{ij} b_j / m_i - a_i$. The width is the median distance between two centres of the source.

    Args:
        source: [n, d].
        target: [m, d].
        clusters: of each, or as many as there are distinct samples.

    Source: Abdullaev et al. 2026 (CHaRS), Definition 3.1, with isotropic clusters of one width. Chosen here: K-means
    starts ten times from fixed seeds, and the entropy has a tenth of the mean cost as its weight.
    """
    a, masses = _clusters(source.double(), clusters)
    b, wanted = _clusters(target.double(), clusters)
    coupling = sinkhorn(torch.cdist(a, b).square(), masses, wanted)
    shifts = coupling @ b / coupling.sum(1, keepdim=True) - a
    distances = torch.pdist(a) if len(a) > 1 else a.new_ones(1)
    parts = (a, shifts, masses, distances.median()[None])
    return MixtureMap(*(part.to(source.device, source.dtype) for part in parts))


def sinkhorn(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The coupling with these marginals that has the least cost less entropy. Shapes: cost [k, l] -> [k, l].

    Source: Cuturi 2013, here on logarithms.
    """
    scaled = -cost / (ENTROPY * cost.mean()).clamp(min=torch.finfo(cost.dtype).tiny)
    log_rows, log_columns = rows.log(), columns.log()
    left, right = torch.zeros_like(rows), torch.zeros_like(columns)
    for _ in range(SINKHORN_STEPS):
        left = log_rows - (scaled + right).logsumexp(1)
        right = log_columns - (scaled + left[:, None]).logsumexp(0)
    return (scaled + left[:, None] + right).exp()


def _clusters(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Centres [k, d] and shares of the samples [k]."""
    from sklearn.cluster import KMeans  # slow to import, and other methods do not need it

    plain = samples.cpu()
    count = min(count, len(plain.unique(dim=0)))
    found = KMeans(count, n_init=10, random_state=0).fit(plain.numpy())
    labels = torch.from_numpy(found.labels_).long()
    shares = torch.bincount(labels, minlength=count).double() / len(plain)
    return torch.from_numpy(found.cluster_centers_).double(), shares
