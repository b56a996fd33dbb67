"""Labels of `docs/facts`, and how flagged claims count against them."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.operators.text.facts_claims import claims
from curation.operators.text.facts_evidence import Evidence
from tests.operators.rows import REAL

FOLDER = Path(__file__).parents[3] / "docs" / "facts"
SETS = ("development", "first", "second", "third", "fourth")


@dataclass(frozen=True)
class Tally:
    """What a set holds, and what was flagged of it."""

    captions: int
    claims: int
    """Labelled: the original does not support them."""
    right: int
    """Flagged claims that overlap a labelled one."""
    wrong: int
    """Flagged claims that overlap none."""
    found: int
    """Labelled claims that a flagged one overlaps."""

    @property
    def precision(self):
        return self.right / (self.right + self.wrong)

    @property
    def recall(self):
        return self.found / self.claims

    @property
    def bounds(self):
        """Lower ends of the 95% Wilson intervals of precision and recall."""
        return (
            wilson(self.right, self.right + self.wrong),
            wilson(self.found, self.claims),
        )


def wilson(hits, of, z=1.96):
    """Lower end of the interval (Wilson 1927) of a share of `hits` among `of`."""
    share, square = hits / of, z * z / of
    spread = z * math.sqrt(share * (1 - share) / of + square / of / 4)
    return (share + square / 2 - spread) / (1 + square)


def labels(name):
    """Rows of a set: number of the row, hash of its texts, unsupported claims."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def texts():
    """Original and fused caption of every row; skips the test where the real data is absent."""
    path = REAL / "captions" / "capsfusion_10k.json"
    if not path.is_file():
        pytest.skip(f"real data is absent: {path}")
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [(row["laion_2b"], row["capsfuion_official"]) for row in rows]


def digest(original, fused):
    return hashlib.sha256(f"{original}\0{fused}".encode()).hexdigest()[:16]


def order(rows):
    """Rows in the order that sets were cut from; the first twenty had been looked at before."""
    return sorted(
        range(20, rows), key=lambda row: hashlib.sha256(f"caption_facts:{row}".encode()).digest()
    )


def tally(name, rows):
    """Runs the checker over a set's captions."""
    labelled, right, wrong, found = labels(name), 0, 0, 0
    for label in labelled:
        original, fused = rows[label["row"]]
        spans = [
            (start := fused.index(told["claim"]), start + len(told["claim"]))
            for told in label["unsupported"]
        ]
        flagged = [
            (claim.start, claim.end)
            for claim in claims(fused, Evidence([original]))
            if not claim.supported
        ]
        hits = [any(_meet(flag, span) for span in spans) for flag in flagged]
        right, wrong = right + sum(hits), wrong + len(hits) - sum(hits)
        found += sum(any(_meet(flag, span) for flag in flagged) for span in spans)
    told = sum(len(label["unsupported"]) for label in labelled)
    return Tally(len(labelled), told, right, wrong, found)


def _meet(one, other):
    return one[0] < other[1] and other[0] < one[1]
