"""Candidates and evaluations as a driver tells an archive of them."""

from evonas.graph.catalogue import CATALOGUE
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection

GENOME = CATALOGUE["evonorm-s0"]
OUT = (
    (Proposal(CATALOGUE["frn-tlu"], None, "random"), Rejection("structure", "no input")),
    (Proposal(CATALOGUE["evonorm-s1"], 3, "node 5"), Rejection("equivalence", "same", detail="candidate 0")),
)
SCORED = Evaluation(
    GENOME.key,
    1,
    300,
    2.5,
    {"resnet": 0.5, "mobile": 0.25},
    traces={"resnet": ((5, 2.25), (10, 1.5))},
    extras={"latency": 2.5, "stability_margin": 8.0},
)
REJECTED = Evaluation(GENOME.key, 1, 20, 0.5, rejection=Rejection("quality", "accuracy too low", "resnet", 0.125, 0.2))
RUNGS = {"resnet": ((5, 0.3), (10, 0.1 + 0.2)), "mobile": ((5, 0.25), (10, 1 / 3))}  # neither sorted by task nor short
STOPPED = Evaluation(GENOME.key, 1, 20, 1.0, rejection=Rejection("rungs", "behind at step 10"), rungs=RUNGS)


def candidate(index: int) -> Candidate:
    return Candidate(index, Proposal(GENOME, index - 1 if index else None, "node 7: x -> y"), f"print{index}", OUT)
