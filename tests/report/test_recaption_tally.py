"""Distributions of captions: exact medians in bounded memory, one axis for before and after."""

import numpy as np
import pytest

from curation.report.recaption_chart import HEIGHT, WIDTH, before_after
from curation.report.recaption_tally import MOST, Distribution, Tally, told


def tally(values: list[float], steps: int = 1) -> Tally:
    made = Tally(steps)
    for part in np.array_split(np.array(values, np.float64), 3):
        made.add(part)
    return made


def chart(before: list[float], after: list[float], steps: int = 1):
    return before_after(
        Distribution(
            name="words",
            meaning="of a caption",
            before=tally(before, steps),
            after=tally(after, steps),
        )
    )


def test_figures_are_those_of_the_values_themselves():
    values = np.random.default_rng(0).integers(1, 400, 999).astype(np.float64)
    figures = told(tally(values.tolist()))
    assert figures["captions"] == 999
    assert figures["mean"] == pytest.approx(values.mean(), abs=1e-4)
    for name, share in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
        assert figures[name] == np.quantile(values, share, method="inverted_cdf")


def test_without_values_there_are_no_figures():
    assert told(tally([])) == {"captions": 0, "mean": None} | dict.fromkeys(
        ("p5", "p25", "median", "p75", "p95")
    )


def test_what_is_larger_than_the_last_step_counts_as_it():
    assert tally([3, MOST + 500]).quantile(1.0) == MOST


def test_densities_are_told_apart_in_steps():
    assert tally([1 / 3, 0.5, 0.5], steps=100).quantile(0.5) == 0.5
    assert tally([1 / 3, 1 / 3, 0.5], steps=100).quantile(0.5) == 0.33


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize(
    ("before", "after"),
    [([3, 4, 4, 9], [12, 20, 21]), ([1, 5, 2000], [90, 8000]), ([7], [7]), ([0, 0], [0])],
)
def test_bars_hold_every_caption_and_stay_on_the_chart(before, after, steps):
    made = chart([x / steps for x in before], [x / steps for x in after], steps)
    for row, values in zip(made.rows, (before, after), strict=True):
        held = [int(bar.title.rsplit(" ", 2)[1].replace(",", "")) for bar in row.bars]
        assert sum(held) == len(values)
        assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for bar in row.bars)
        assert all(row.top <= bar.y and bar.y + bar.height <= row.ground for bar in row.bars)
        assert 0 <= row.median <= WIDTH
    assert made.rows[1].ground < HEIGHT
    assert made.ticks


def test_both_rows_share_one_axis_and_say_their_medians():
    made = chart([4, 5, 5], [20, 20, 24])
    assert [row.label for row in made.rows] == ["original, median 5", "new, median 20"]
    assert made.rows[0].median < made.rows[1].median
    assert not made.log
    assert chart([4, 5, 5], [20, 20, 2400]).log
