"""What TensorBoard shows of a race: how much the best layers fall, and scores against what is believed."""

from evonas.graph.genome import Genome
from evonas.report.board import Board
from evonas.search.outcome import Evaluation, Remeasurement
from evonas.search.racing.race import Race
from evonas.search.racing.shrinkage import Found, shrinkage


class RaceBoard:
    """The part of a search's board that a race writes; it writes nothing before the first measurement.

    Args:
        board: of the search.
        reference: score of the baseline that the race refers to.
    """

    def __init__(self, board: Board, reference: float | None) -> None:
        self._board, self._race = board, Race(reference=reference)
        self._layers: dict[int, tuple[str, float]] = {}  # family and score when found
        self._raced = False

    def found(self, candidate: int, genome: Genome, score: float) -> None:
        """A candidate was scored."""
        self._layers[candidate] = genome.family, score
        self._race.found(candidate, genome.family, score)

    def measured(self, measurement: Remeasurement, evaluation: Evaluation) -> None:
        """A layer was measured again."""
        self._raced = True
        self._race.ask(measurement.round, measurement.candidate)
        self._race.tell(measurement.round, measurement.candidate, evaluation.mean)

    def write_scalars(self, step: int) -> None:
        """How much the best layers fell, in units of their scores, and the best posterior mean."""
        beliefs = self._race.beliefs()
        if fall := shrinkage([Found(*self._layers[index], beliefs[index]) for index in self._race.order()]):
            best = beliefs[self._race.order()[0]].mean
            self._board.scalars({"racing/shrinkage": fall.found - fall.after, "racing/best_posterior_mean": best}, step)

    def write_picture(self, step: int) -> None:
        """Scores when found against posterior means."""
        from evonas.report.pictures import Believed, draw_shrinkage

        if self._raced:
            beliefs = self._race.beliefs().items()
            layers = [Believed(self._layers[index][1], b.mean, b.sd, b.measurements - 1) for index, b in beliefs]
            self._board.figure("racing/found_against_posterior", draw_shrinkage(layers), step)
