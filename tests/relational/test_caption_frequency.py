"""caption_frequency against a plain count of distinct images."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.relational.caption_frequency import CaptionFrequency
from tests.relational.sessions import dropped


def placed(pairs):
    return [
        {"shard": n // 4, "row": n % 4, "uid": f"{n:032x}", "caption_hash": caption,
         "media_sha256": image}
        for n, (caption, image) in enumerate(pairs)
    ]  # fmt: skip


def plainly(rows, limit):
    images = defaultdict(set)
    for row in rows:
        if row["caption_hash"] is not None:
            images[row["caption_hash"]].add(row["media_sha256"])
    return [
        dropped(row, "caption_on_many_images", value=len(images[row["caption_hash"]]),
                threshold=limit)
        for row in rows
        if row["caption_hash"] is not None and len(images[row["caption_hash"]]) > limit
    ]  # fmt: skip


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.none() | st.sampled_from("ab"), st.none() | st.sampled_from("uvwxyz")),
        max_size=20,
    ),
    st.integers(1, 4),
    st.randoms(),
)
def test_drops_captions_on_more_images_than_allowed(decide, pairs, limit, random):
    rows = placed(pairs)
    shuffled = random.sample(rows, len(rows))
    assert decide(CaptionFrequency(name="c", max_images=limit), shuffled) == plainly(rows, limit)


@pytest.mark.parametrize(("images", "drops"), [(10, 0), (11, 11)])
def test_the_limit_itself_is_allowed(decide, images, drops):
    rows = placed([("c", f"image {n}") for n in range(images)])
    assert len(decide(CaptionFrequency(name="c", max_images=10), rows)) == drops


def test_copies_of_one_image_count_once(decide):
    rows = placed([("c", "same")] * 30 + [("c", "other")] * 3)
    assert decide(CaptionFrequency(name="c", max_images=2), rows) == []
    assert len(decide(CaptionFrequency(name="c", max_images=1), rows)) == 33


def test_a_limit_without_meaning_is_refused():
    with pytest.raises(ValueError, match="max_images must be at least 1"):
        CaptionFrequency(name="c", max_images=0)
