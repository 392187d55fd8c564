"""Draw the pictures of docs/gallery.md, and write that page.

    python scripts/draw_gallery.py             # the page, and its pictures of catalogue layers
    python scripts/draw_gallery.py --kept      # also its pictures of kept results, as scripts/redraw_kept.py draws them
    python scripts/draw_gallery.py --check     # exit status 1 if the page would change

Each picture has a sentence, and the command that makes one like it. Those of kept results stay beside their numbers.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from evonas.graph.catalogue import CATALOGUE
from evonas.report.pictures import draw_genome, draw_response, stacked

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE, FOLDER = DOCS / "gallery.md", DOCS / "gallery"
HEAD = """# Gallery

`python scripts/draw_gallery.py --kept` draws these pictures again. Those of runs are of results that are
[kept](../runs/README.md) with their numbers, and each run's README says what they mean.
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page.

    Attributes:
        title: a heading.
        source: a layer of the catalogue, or the path of a picture below runs/kept without its ending.
        sentence: what it shows.
        command: what makes one like it.
    """

    title: str
    source: str
    sentence: str
    command: str

    @property
    def file(self) -> Path:
        """Where it is."""
        known = FOLDER if self.source in CATALOGUE else ROOT / "runs" / "kept"
        return known / f"{self.source}.png"


LAYERS = (
    Picture(
        "A published layer",
        "evonorm-s0",
        "EvoNorm-S0 as a graph with its formula, and what it makes of one element for three feature maps.",
        "evonas show evonorm-s0 --png s0.png",
    ),
    Picture(
        "A layer that was found",
        "evonas-s1",
        "A layer that a search of this project found by starting at EvoNorm-S0; it needs no batch statistics.",
        "evonas show evonas-s1 --png s1.png",
    ),
    Picture(
        "A layer with batch statistics",
        "evonas-b1",
        "Another one, a ReLU after batch normalization that is shifted by the channel's own deviation.",
        "evonas show evonas-b1 --png b1.png",
    ),
)
KEPT = (
    Picture(
        "Progress of a search",
        "first-cifar10/progress",
        "The mean score of every candidate of a search, the best so far as a line, and the baselines as levels.",
        "evonas search cifar_s --run runs/mine && evonas top runs/mine",
    ),
    Picture(
        "A Pareto front",
        "first-cifar10/front",
        "Scores of all layers on two networks; those on the front are beaten by no other layer on both.",
        "evonas search cifar_s --run runs/mine && evonas top runs/mine",
    ),
    Picture(
        "The best layers, trained again",
        "cifar-s/rerank",
        "The best layers of a search under fresh seeds, as differences to each baseline with 95 % intervals.",
        "evonas rerank runs/mine --seeds 3",
    ),
    Picture(
        "Layers on networks and data",
        "matrix/heatmap",
        "Eight layers on five networks and two data sets: scores, and as colour the difference to BN-ReLU.",
        "evonas evaluate evonorm-s0 bn-silu --settings matrix --seeds 3 --test",
    ),
    Picture(
        "Differences with intervals",
        "matrix/differences",
        "The same layers, averaged over all networks and data, compared with three baselines seed by seed.",
        "evonas evaluate evonorm-s0 bn-silu --settings matrix --seeds 3 --test",
    ),
    Picture(
        "Small batches",
        "batch-sizes/batch_sizes",
        "How scores depend on the batch size when the number of images seen stays the same.",
        "evonas evaluate evonorm-s0 gn-relu --batch-sizes 2,8,32,128",
    ),
    Picture(
        "Stability of transformers",
        "stability-layers/losses",
        "The final loss of a small transformer over its learning rate, for the norms and layers of a study.",
        "evonas stability stability_layers",
    ),
    Picture(
        "Convergence of hypernetworks",
        "mip/rescaling/curves",
        "Losses of hypernetworks over training: four ways of predicting the parameters of another network.",
        "evonas hypernet mip_rescaling",
    ),
    Picture(
        "Activation sparsity",
        "sparsity-smollm2/perplexity",
        "What a language model loses in perplexity when inputs of its linear layers are dropped, for several methods.",
        "evonas sparsify MODEL.gguf --method all",
    ),
    Picture(
        "Activation steering",
        "steering-digits/trade",
        "How far steering removes or adds a concept in generated digits, over what that costs.",
        "evonas steer steer_digits",
    ),
)


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    parts += [
        "## A search as it runs\n\n"
        "![The best layer, the scores and the Pareto front of a search, candidate by candidate](evolution.gif)\n\n"
        "The best layer, the scores and the Pareto front of a search of 216 candidates.\n\n"
        "<!-- needs: a minute -->\n"
        "```sh\npython scripts/animate_search.py runs/kept/cifar-s-warm docs/evolution.gif\n```\n"
    ]
    for picture in (*LAYERS, *KEPT):
        link = picture.file.relative_to(DOCS) if picture in LAYERS else Path("..") / picture.file.relative_to(ROOT)
        runs = "" if picture in LAYERS else "<!-- needs: trainings of hours, or data -->\n"
        parts.append(
            f"## {picture.title}\n\n![{picture.sentence}]({link})\n\n{picture.sentence}\n\n"
            f"{runs}```sh\n{picture.command}\n```\n"
        )
    return "\n".join(parts)


def draw_layer(picture: Picture) -> None:
    """Draw a layer of the catalogue as ``evonas show --png`` does."""
    genome = CATALOGUE[picture.source]
    graph = draw_genome(genome, title=picture.source, subtitle=genome.key)
    picture.file.parent.mkdir(exist_ok=True)
    stacked((graph, draw_response(genome, title="Response to one element")), picture.file)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", action="store_true", help="draw the pictures of kept results too")
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    if arguments.check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    for picture in LAYERS:
        draw_layer(picture)
    if arguments.kept:
        from redraw_kept import redraw  # which brings torch and the studies along

        for picture in KEPT:
            redraw(picture.file.parent, picture.file.stem)
    return 0


if __name__ == "__main__":
    sys.exit(main())
