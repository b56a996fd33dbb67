"""Shares of corpora, what a plan tells of them, and where documents are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.errors import UsageError
from curation.trainer.mixture import (
    CorpusShare,
    EffectiveShare,
    folders_told,
    normalised,
    share_lines,
    shares_of,
    split,
)


def corpora(*shares: float | None) -> list[CorpusShare]:
    return [CorpusShare(url="x", share=share) for share in shares]


def test_shares_that_mean_nothing_are_refused():
    assert shares_of(corpora(None, None), [1, 3]) == [0.25, 0.75]
    assert shares_of(corpora(7.0, 3.0), [1, 1]) == [0.7, 0.3]
    for bad in ((1.0, None), (0.0, 1.0), (-1.0, 2.0), (float("nan"), 1.0)):
        with pytest.raises(UsageError, match="shares of corpora"):
            shares_of(corpora(*bad), [1, 1])


def test_one_mixture_is_the_same_however_it_is_spelt():
    spelt = [(0.7, 0.2, 0.1), (7.0, 2.0, 1.0), (70.0, 20.0, 10.0), (0.21, 0.06, 0.03)]
    assert len({tuple(normalised(corpora(*shares))) for shares in spelt}) == 1
    assert [corpus.share for corpus in normalised(corpora(1e-300, 2.0))] == [5e-301, 1.0]
    by_size = corpora(None, None)
    assert normalised(by_size) == by_size


def test_corpora_without_shares_share_by_size_what_replay_leaves():
    mixed = [*corpora(None, None), CorpusShare(url="y", share=0.4, replay=True)]
    assert normalised(mixed) == mixed
    assert shares_of(mixed, [100, 200, 5]) == pytest.approx([0.2, 0.4, 0.4])


def test_a_table_tells_corpora_of_one_name_apart_and_marks_replay():
    shares = [
        EffectiveShare(name="image-text", family="image-text", share=0.5, tokens=1, folder="web"),
        EffectiveShare(
            name="image-text-2", family="image-text", share=0.5, tokens=1, folder="a/export",
            replay=True, left_out={"malformed": 2},
        ),
    ]  # fmt: skip
    header, first, second, note = share_lines(shares)
    assert header.split()[6] == "folder"
    assert first.split()[::6] == ["image-text", "web"]
    assert second.endswith("  a/export (replay)") and second.startswith("image-text-2 ")
    assert note == "image-text-2 (a/export): 2 malformed"


def test_folders_are_told_by_as_many_parts_as_tell_them_apart():
    assert folders_told(["/d/web", "/d/books/"]) == ["web", "books"]
    assert folders_told(["/d/run1/export"]) == ["run1/export"]
    assert folders_told(["/a/x/export", "s3://b/x/export", "/c"]) == [
        "a/x/export",
        "b/x/export",
        "c",
    ]
    assert folders_told(["/web", "/d/web"]) == ["/web", "d/web"]


def test_a_share_next_to_nothing_is_not_told_as_nothing():
    shares = [
        EffectiveShare(name="a", family="ocr", share=1e-300),
        EffectiveShare(name="b", family="ocr", share=1.0, tokens=9),
    ]
    told = share_lines(shares)
    assert told[1].split()[1] == "1e-298%"
    assert "warning: a gets 0.0% of all tokens, not 1e-298%: the training is too short" in told[-1]


@pytest.mark.parametrize(
    ("tokens", "kinds", "expected"),
    [  # t: text to learn, q: text that is not learnt, m: an image or video; 64 tokens
        ([10, 10, 10], "ttt", [(0, 3)]),
        ([30, 30, 30], "ttt", [(0, 2), (2, 3)]),
        ([30, 20, 30], "tmt", [(0, 1), (1, 3)]),  # the image goes with what follows
        ([40, 40, 20], "mmt", [(0, 1), (1, 3)]),  # images in a row too, where they can
        ([40, 10, 40], "mmt", [(0, 1), (1, 3)]),
        ([20, 5, 20, 30], "tmqt", [(0, 1), (1, 4)]),
        ([20, 5, 20, 30, 30], "tmqtt", [(0, 1), (1, 4), (4, 5)]),
        ([40, 40, 40], "mmt", None),  # what is learnt of an image never goes without it
        ([40, 10, 20], "mqt", None),
        ([60, 30], "mt", None),
        ([62, 61], "tt", [(0, 1), (1, 2)]),
        ([62, 62], "tt", None),  # with its end the last is too long
        ([63], "m", None),
    ],
)
def test_splitting(tokens, kinds, expected):
    media, learnt = [kind == "m" for kind in kinds], [kind == "t" for kind in kinds]
    assert split(tokens, media, learnt, 64) == expected


@given(st.data())
def test_parts_keep_what_is_learnt_of_an_image_beside_it(data):
    kinds = data.draw(st.text("tqm", min_size=1, max_size=12))
    tokens = data.draw(st.lists(st.integers(1, 61), min_size=len(kinds), max_size=len(kinds)))
    parts = split(tokens, [kind == "m" for kind in kinds], [kind == "t" for kind in kinds], 64)
    if parts is None:
        return
    assert [first for first, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == len(kinds)
    for first, stop in parts:
        assert sum(tokens[first:stop]) + 2 + (stop == len(kinds)) <= 64
        before, begun = kinds[:first].rstrip("q"), kinds[first:].lstrip("q")
        assert not (before.endswith("m") and kinds[first] != "m" and begun.startswith("t"))
