"""Captions cut into marked pieces: marks stay where they belong, what is hostile is not shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.recaption_text import Mark, Piece, legible, located, pieces


def mark(text: str, words: str, kind: str = "held") -> Mark:
    start = text.index(words)
    return Mark(start=start, end=start + len(words), kind=kind, what="name")


def shown(found: list[Piece]) -> list[tuple[str, str]]:
    return [(piece.text, piece.kind) for piece in found]


def test_a_caption_is_cut_where_its_marks_begin_and_end():
    text = "In Oslo on 14 March 1987."
    marks = [mark(text, "14 March 1987", "rejected"), mark(text, "Oslo")]
    assert shown(pieces(text, 0, len(text), marks)) == [
        ("In ", ""), ("Oslo", "held"), (" on ", ""), ("14 March 1987", "rejected"), (".", ""),
    ]  # fmt: skip


def test_hidden_characters_move_no_mark():
    text = "\u202eIn\u202c \x00\u2066Oslo\u2069\t at\nnight"
    cut = pieces(legible(text), 0, len(text), [mark(text, "Oslo")])
    assert shown(cut) == [("In ", ""), ("Oslo", "held"), (" at night", "")]


def test_a_mark_that_overlaps_the_one_before_or_is_empty_is_left_out():
    text = "New York City"
    marks = [
        Mark(start=0, end=8, kind="held", what="name"),
        Mark(start=4, end=13, kind="lost", what="name"),
        Mark(start=9, end=9, kind="lost", what="name"),
    ]
    assert shown(pieces(text, 0, len(text), marks)) == [("New York", "held"), (" City", "")]


def test_a_mark_beyond_the_cut_is_cut_with_the_text():
    text = "From London to Paris"
    assert shown(pieces(text, 0, 8, [mark(text, "London"), mark(text, "Paris")])) == [
        ("From ", ""),
        ("Lon", "held"),
    ]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("mail ann.lee@example.com now", "mail •••.•••@•••••••.••• now"),
        ("call 020 7946 0958 now", "call ••• •••• •••• now"),
        ("on 14 March 1987", "on 14 March 1987"),
        ("a\u0301\u0302\u0303\u0304b", "a\u0301\u0302\0\0b"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
    ],
)
def test_personal_data_and_stacked_accents_are_not_shown(text, safe):
    assert legible(text) == safe


@given(st.text(max_size=80))
def test_what_is_legible_is_as_long_as_the_text(text):
    assert len(legible(text)) == len(text)


@given(
    st.text("ab 1\u202e\n", max_size=40),
    st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45)), max_size=6),
)
def test_pieces_hold_every_character_once_whatever_the_marks(text, spans):
    marks = [Mark(start=a, end=b, kind="held", what="name") for a, b in spans]
    plain = legible(text)
    joined = "".join(piece.text for piece in pieces(plain, 0, len(plain), marks))
    assert joined.replace(" ", "") == plain.replace("\0", "").replace(" ", "")


def test_facts_are_found_in_order_whatever_their_case_and_underscores():
    text = "oslo_fjord in Oslo, 1,200 m"
    assert located(text, ["Oslo Fjord", "Oslo", "1,200 m"]) == [(0, 10), (14, 18), (20, 27)]


def test_a_fact_that_is_spelt_otherwise_is_not_found_and_hides_no_later_one():
    text = "Tom &amp; Jerry in Paris (a+b)*"
    assert located(text, ["Tom & Jerry", "Paris", "(a+b)*", ""]) == [
        None, (19, 24), (25, 31), None,
    ]  # fmt: skip
