"""Scenes, their pictures and their captions."""

import re

import numpy as np
import pytest

from curation.demo.backdrop import PLACES, is_flat, paint_backdrop
from curation.demo.caption import caption
from curation.demo.compose import compose
from curation.demo.nouns import names_in
from curation.demo.paint import paint
from curation.demo.palette import COLOURS
from curation.demo.scene import Scene
from curation.demo.things import THINGS

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")

SCENERY = {"table": ["table"], "forest": ["tree"], "mountains": ["mountain"], "space": ["star"]}
"""Things that the words for a place name."""


def scene(n: int) -> Scene:
    return compose(np.random.default_rng([7, n]))


def told(n: int) -> str:
    return caption(scene(n), np.random.default_rng([8, n]))


def test_equal_draws_give_equal_scenes_pictures_and_captions():
    for n in range(10):
        assert scene(n) == scene(n)
        assert paint(scene(n)).tobytes() == paint(scene(n)).tobytes()
        assert told(n) == told(n)
    assert scene(0) != scene(1)


def test_everything_lies_inside_the_picture():
    for n in range(600):
        one = scene(n)
        assert min(one.width, one.height) >= 220
        assert max(one.width, one.height) <= 900
        boxes = [placed.box for placed in one.placed]
        for left, top, width, height in [*boxes, *([one.board.box] if one.board else [])]:
            assert left >= 0
            assert top >= 0
            assert left + width <= one.width + 1, one
            assert top + height <= one.height + 1, one
            assert min(width, height) >= 8


def test_things_do_not_hide_each_other():
    for n in range(600):
        one = scene(n)
        boxes = [placed.box for placed in one.placed]
        for at, (left, top, width, height) in enumerate(boxes):
            for other in boxes[at + 1 :]:
                across = min(left + width, other[0] + other[2]) - max(left, other[0])
                down = min(top + height, other[1] + other[3]) - max(top, other[1])
                shared = max(0, across) * max(0, down)
                smaller = min(width * height, other[2] * other[3])
                assert one.relation == "on" or shared <= 0.02 * smaller, one


def test_groups_are_shown_as_often_as_they_count():
    for n in range(600):
        one = scene(n)
        shown = [placed.group for placed in one.placed]
        assert [shown.count(at) for at in range(len(one.groups))] == [g.count for g in one.groups]


def test_a_caption_names_nothing_that_is_not_there():
    for n in range(1500):
        one, text = scene(n), told(n)
        body = text.split(" | ")[0]
        if one.board is not None:
            body = re.sub('".*"', "", body)
        body = re.sub(
            r"(plates?|box(es)?) of|greeting card|wall art print|sticker|for children's books",
            "",
            body,
        )
        groups = {group.thing: group for group in one.groups}
        named = {thing for thing in THINGS if names_in(body, thing)}
        assert named <= {*groups, *SCENERY.get(one.place, ())}, (text, one)
        for colour in COLOURS:
            if re.search(rf"\b{colour}\b", body):
                shown = {g.colour for g in one.groups} | set(one.place_colours) | {
                    one.board.colour if one.board else "",
                    {"bricks": "red", "meadow": "green"}.get(one.place, ""),
                } | ({"orange"} if "orange" in groups else set())  # fmt: skip
                assert colour in shown, (text, one)
        for number in NUMBERS:
            if re.search(rf"\b{number}\b", body, re.IGNORECASE):
                assert NUMBERS.index(number) + 2 in {g.count for g in one.groups}, (text, one)


def test_most_captions_name_a_thing_and_all_have_three_words():
    named = 0
    for n in range(1000):
        text = told(n)
        assert len(text.split()) >= 3
        assert "{" not in text
        assert "  " not in text
        named += any(names_in(text, group.thing) for group in scene(n).groups)
    assert named >= 970  # the others tell the words of a sign


def test_words_in_the_picture_are_quoted_as_they_stand():
    boards = [n for n in range(600) if scene(n).board is not None]
    assert len(boards) > 20
    quoted = [re.search('"(.*)"', told(n)) for n in boards]
    for n, match in zip(boards, quoted, strict=True):
        board = scene(n).board
        assert board is not None
        if match is not None:
            assert match[1] == board.words.replace("\n", " ")
    assert sum(match is not None for match in quoted) > 0.8 * len(boards)


def test_left_and_above_are_where_they_are_said_to_be():
    seen = {"left": 0, "above": 0, "on": 0}
    for n in range(600):
        one = scene(n)
        if one.relation not in seen:
            continue
        seen[one.relation] += 1
        middles = {
            group: np.mean([(b[0] + b[2] / 2, b[1] + b[3] / 2) for b in boxes], axis=0)
            for group in (0, 1)
            if (boxes := [p.box for p in one.placed if p.group == group])
        }
        axis = 0 if one.relation == "left" else 1
        assert middles[0][axis] < middles[1][axis], one
    assert min(seen.values()) > 20


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_places_are_painted_over_and_differ_by_seed(kind):
    colours = ("blue", "yellow")
    low, _ = PLACES[kind].horizon
    one, two = (np.asarray(paint_backdrop(kind, (300, 240), low, colours, s)) for s in (1, 2))
    assert one.shape == (240, 300, 3)
    assert np.abs(one.astype(int) - two).mean() > 2
    assert not (one == 0).all(axis=2).mean() > 0.02  # nothing left unpainted
    assert is_flat(kind) == (low == 0)
