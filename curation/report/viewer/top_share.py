"""A threshold that is a share: the best so many of the samples that come to a stage.

`ClipSelect.top_fraction` says which share stays; where the line lies depends on who comes. As
curation.relational.clip_select decides: of n scores the one at place int(n * share), counted from
0 and from the top, is the threshold, and every sample with that very score stays.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Ranks:
    """The scores that come to a stage."""

    ascending: npt.NDArray[Any]
    """Without NaN."""

    def cut(self, share: float) -> float:
        """The lowest score that stays; minus infinity where nothing has a score."""
        count = len(self.ascending)
        if not count:
            return -math.inf
        place = min(int(count * share), count - 1)
        return float(self.ascending[count - 1 - place])

    def share(self, score: float) -> float:
        """The share with the fewest digits whose cut is the lowest score that is no less.

        Above the highest score it is the share that keeps those with the highest; 1 where nothing
        has a score.
        """
        count = len(self.ascending)
        if not count:
            return 1.0
        below = min(int(np.searchsorted(self.ascending, score)), count - 1)
        cut = self.ascending[below]
        first = count - int(np.searchsorted(self.ascending, cut, side="right"))
        last = count - int(np.searchsorted(self.ascending, cut))  # places from `first`, without it
        for digits in range(1, 18):
            unit = Decimal(1).scaleb(-digits)
            tried = float((Decimal(first) / count).quantize(unit, ROUND_CEILING))
            for share in (tried, float(Decimal(str(tried)) + unit)):
                if 0 < share <= 1 and first <= min(int(count * share), count - 1) < last:
                    return share
        return min(1.0, (first + 0.5) / count)
