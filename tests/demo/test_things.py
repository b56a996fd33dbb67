"""The catalogue: every drawing can be painted, named, counted and coloured."""

import numpy as np
import pytest

from curation.demo.drawing import parse
from curation.demo.nouns import counted, names_in, plural
from curation.demo.palette import COLOURS
from curation.demo.sprite import sprite
from curation.demo.things import POPULARITY, THINGS, popularity


def test_there_are_at_least_200_names_and_each_has_its_own_drawing():
    assert len(THINGS) >= 200
    assert sorted(POPULARITY) == sorted(THINGS)
    assert len({thing.text for thing in THINGS.values()}) == len(THINGS)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_a_drawing_fills_its_sprite_and_shows_its_own_colour(name):
    drawing = THINGS[name].drawing
    wide, tall = (round(80 * side) for side in (min(1, drawing.aspect), min(1, 1 / drawing.aspect)))
    red, blue = (np.asarray(sprite(drawing, COLOURS[c], wide, tall), int) for c in ("red", "blue"))
    assert red.shape == (tall + 8, wide + 8, 4)  # a margin of 4
    seen = red[..., 3] > 128
    for axis, size in ((0, wide), (1, tall)):
        line = np.flatnonzero(seen.any(axis=axis))
        assert 1 <= line[0] <= 4 + size / 10
        assert 3 + size * 0.9 <= line[-1] <= size + 6
    own = (np.abs(red - blue)[..., :3].sum(axis=-1) > 100) & seen
    assert own.sum() / seen.sum() > 0.2
    large = np.asarray(sprite(drawing, COLOURS["red"], 4 * wide, 4 * tall))[..., 3]
    assert max(large[[0, -1]].max(), large[:, [0, -1]].max()) == 0  # outlines are not cut


def test_popularity_follows_zipf():
    shares = popularity(1.0)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[9] == pytest.approx(10)
    assert (np.diff(shares) < 0).all()


def test_names_have_distinct_plurals_that_are_recognised():
    assert len({plural(name) for name in THINGS}) == len(THINGS)
    for name in THINGS:
        for count in (1, 2, 9):
            phrase = counted(name, "big red", count)
            assert names_in(f"There is {phrase}.", name), phrase
    assert counted("scissors", "red", 1) == "a pair of red scissors"
    assert counted("scissors", "", 3) == "three pairs of scissors"
    assert counted("mouse", "gray", 2) == "two gray mice"
    assert counted("hourglass", "", 1) == "an hourglass"
    assert counted("apple", "red", 1) == "a red apple"
    assert counted("box", "", 4) == "four boxes"
    assert counted("cherry", "", 5) == "five cherries"


@pytest.mark.parametrize(
    "text", ["", "q m 1 2 3", "o m 50", "o? m 50 50 9", "p m 1 2 3", "b m 1 2 x 4"]
)
def test_a_line_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match="shape"):
        parse(text)
