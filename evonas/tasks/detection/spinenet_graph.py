"""SpineNet's blocks and what they are computed from, as data and as a networkx graph.

Source: Du et al. 2020, "SpineNet: Learning Scale-Permuted Backbone for Recognition and Localization", arXiv:1912.05027;
the table and the scalings are those of its released code, ``models/official/detection`` of tensorflow/tpu.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import networkx as nx


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the table.

    Attributes:
        level: its maps have 1 / 2^level of the image's height and width.
        kind: ``bottleneck`` gives four times as many channels as it is wide, ``residual`` as many.
        parents: the blocks that it is computed from.
        output: the name of the map that it gives the network; empty if it gives none.
    """

    level: int
    kind: Literal["bottleneck", "residual"]
    parents: tuple[int, int] | tuple[int] | tuple[()]
    output: str = ""

    @property
    def expansion(self) -> int:
        """Channels of its output over its width."""
        return 4 if self.kind == "bottleneck" else 1


# the first two are the end of the stem
BLOCKS = (
    Block(2, "bottleneck", ()),
    Block(2, "bottleneck", (0,)),
    Block(2, "bottleneck", (0, 1)),
    Block(4, "residual", (0, 1)),
    Block(3, "bottleneck", (2, 3)),
    Block(4, "bottleneck", (2, 4)),
    Block(6, "residual", (3, 5)),
    Block(4, "bottleneck", (3, 5)),
    Block(5, "residual", (6, 7)),
    Block(7, "residual", (6, 8)),
    Block(5, "bottleneck", (8, 9)),
    Block(5, "bottleneck", (8, 10)),
    Block(4, "bottleneck", (5, 10), "P4"),
    Block(3, "bottleneck", (4, 10), "P3"),
    Block(5, "bottleneck", (7, 12), "P5"),
    Block(7, "bottleneck", (5, 14), "P7"),
    Block(6, "bottleneck", (12, 14), "P6"),
)
STEM = 2
"""How many of the blocks belong to the stem: they follow each other without resampling."""
WIDTHS: Mapping[int, int] = MappingProxyType({2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256})
"""The width of a block by its level, before scaling."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a network of the family differs from the others.

    Attributes:
        width: multiplier of the widths, which are rounded down.
        repeats: how many blocks follow each other in the place of one.
        alpha: the width of a resampling over that of the block that is resampled.
        channels: of the maps that the network gives.
        head: channels of the heads of a Mask R-CNN.
        convolutions: of its box head, and of its mask head.
        anchor: side of its anchors in units of a map's stride.
        image_size: height and width of the images that the authors trained it on.
    """

    width: float
    repeats: int
    alpha: float
    channels: int
    head: int
    convolutions: int
    anchor: int
    image_size: int


SCALINGS: Mapping[str, Scaling] = MappingProxyType(
    {
        "spinenet49s": Scaling(0.65, 1, 0.5, 128, 128, 4, 3, 640),
        "spinenet49": Scaling(1.0, 1, 0.5, 256, 256, 4, 3, 640),
        "spinenet96": Scaling(1.0, 2, 0.5, 256, 256, 4, 3, 1024),
        "spinenet143": Scaling(1.0, 3, 1.0, 256, 256, 4, 3, 1280),
        "spinenet190": Scaling(1.3, 4, 1.0, 512, 384, 7, 5, 1536),
    }
)


def spinenet_graph() -> "nx.DiGraph[int]":
    """The blocks as nodes in the order of computation, an edge from each parent to its block.

    A node has its ``block`` and its ``width`` before scaling. An output block also takes every earlier block that
    nothing was computed from so far and that has the same size and channels. Such an edge has ``extra`` true, and needs
    no resampling.
    """
    graph: nx.DiGraph[int] = nx.DiGraph()
    for number, block in enumerate(BLOCKS):
        graph.add_node(number, block=block, width=WIDTHS[block.level])
        graph.add_edges_from(((parent, number) for parent in block.parents), extra=False)
        if block.output:
            unused = (earlier for earlier in range(number) if not graph.out_degree(earlier))
            graph.add_edges_from([(e, number) for e in unused if _same_maps(BLOCKS[e], block)], extra=True)
    return graph


def _same_maps(one: Block, other: Block) -> bool:
    return (one.level, one.expansion) == (other.level, other.expansion)
