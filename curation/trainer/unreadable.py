"""Ends a training whose samples too often cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from curation.core.errors import RunError
from curation.trainer.distributed import World

_LEAST = 20
"""Below so many, a rate says nothing."""


@dataclass
class Unreadable:
    """Samples over all processes, so that every one of them stops at the same step."""

    most: float
    """Share of samples above which a run ends."""
    seen: int = 0
    failed: int = 0

    def judge(
        self, world: World, step: int, seen: int, failed: int, here: Sequence[object]
    ) -> None:
        """Counts a step's samples, sums over all processes; `here` are this one's failures.

        Raises RunError, on all processes, where too many could not be read.
        """
        self.seen += seen
        self.failed += failed
        if self.failed < _LEAST or self.failed <= self.most * self.seen:
            return
        last = next((each for each in world.gather(str(here[-1]) if here else "") if each), "")
        world.fail(
            RunError(
                f"step {step}: {self.failed:,} of {self.seen:,} samples could not be read, more "
                f"than the {self.most:.1%} allowed; one is {last}, all are in quarantine.jsonl; "
                "check the exports with `curate verify`, or allow more with "
                "--set most_unreadable=…"
            )
        )

    def state(self) -> list[int]:
        """What a checkpoint keeps."""
        return [self.seen, self.failed]

    def resume(self, state: list[int]) -> None:
        """Goes on from what a checkpoint kept."""
        self.seen, self.failed = state
