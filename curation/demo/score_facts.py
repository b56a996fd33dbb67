"""How many of the facts that captions state are true of their scenes, and how many are told."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from curation.demo.captions_facts import KINDS, Fact, stated, told, truths
from curation.demo.scene import Scene


@dataclass(kw_only=True)
class FactTally:
    """Facts of all captions of one sort, by what they are about."""

    said: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    """Of those said, the true ones."""
    there: Counter[str] = field(default_factory=Counter)
    """Facts of the full captions."""
    found: Counter[str] = field(default_factory=Counter)
    """Of those there, the ones said."""

    def add(self, facts: frozenset[Fact], scene: Scene) -> None:
        full = stated(told(scene))
        self.said.update(_kinds(facts))
        self.right.update(_kinds(facts & truths(scene)))
        self.there.update(_kinds(full))
        self.found.update(_kinds(full & facts))

    def shares(self) -> dict[str, dict[str, float]]:
        """Precision and recall of each kind, and of all."""
        return {
            kind: {
                "precision": share(self.right[kind], self.said[kind]),
                "recall": share(self.found[kind], self.there[kind]),
            }
            for kind in ("object", "attribute", "relation", "place", "all")
        }


def _kinds(facts: Iterable[Fact]) -> list[str]:
    kinds = [KINDS[fact[0]] for fact in facts]
    return [*kinds, *["all"] * len(kinds)]


def share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else float("nan")
