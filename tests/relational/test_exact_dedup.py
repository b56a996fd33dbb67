"""exact_dedup against a plain grouping, by each key."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.relational.exact_dedup import ExactDedup
from tests.relational.sessions import best_first, dropped, kept_by

KEYS = {
    "uid": ["uid"],
    "image": ["media_sha256"],
    "image_caption": ["media_sha256", "caption_hash"],
}
few = st.sampled_from("abc")
rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "uid": few,
            "media_sha256": st.none() | few,
            "caption_hash": st.none() | few,
            "area": st.none() | st.sampled_from([1.0, 2.0, 2.5]),
            "min_side": st.none() | st.sampled_from([1.0, 7.0]),
        }
    ),
    max_size=24,
)


def placed(rows):
    """Rows as samples of shards of five."""
    return [{**row, "shard": n // 5, "row": n % 5} for n, row in enumerate(rows)]


def plainly(rows, by, measures):
    groups = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in KEYS[by])
        if key[0] is not None:
            groups[key].append(row)
    found = []
    for group in groups.values():
        best, *others = best_first(group, *measures)
        found += [
            dropped(row, f"same_{by}", value=len(group), threshold=1, **kept_by(best))
            for row in others
        ]
    return sorted(found, key=lambda v: (v["shard"], v["row"]))


@pytest.mark.parametrize("by", KEYS)
@settings(max_examples=30)
@given(rows_of, st.sampled_from([(), ("area",), ("min_side", "area")]), st.randoms())
def test_keeps_the_best_of_each_group(decide, by, rows, measures, random):
    rows = placed(rows)
    shuffled = random.sample(rows, len(rows))
    step = ExactDedup(name="exact", by=by, keep_best=measures)
    assert decide(step, shuffled) == plainly(rows, by, measures)


def test_the_larger_image_stays_wherever_it_came(decide):
    rows = placed(
        [
            {"uid": "a", "media_sha256": "m", "caption_hash": "c", "area": 10.0},
            {"uid": "b", "media_sha256": "m", "caption_hash": "c", "area": 30.0},
            {"uid": "c", "media_sha256": "m", "caption_hash": "c", "area": None},
            {"uid": "d", "media_sha256": "m", "caption_hash": None, "area": 99.0},
            {"uid": "e", "media_sha256": None, "caption_hash": "c", "area": 99.0},
        ]
    )
    said = decide(ExactDedup(name="exact", by="image_caption"), rows)
    assert said == [
        dropped(rows[n], "same_image_caption", value=3, threshold=1, **kept_by(rows[1]))
        for n in (0, 2)
    ]


def test_twins_without_a_caption_are_twins(decide):
    rows = placed([{"uid": u, "media_sha256": "m", "caption_hash": None} for u in "ab"])
    said = decide(ExactDedup(name="exact", by="image_caption"), rows)
    assert said == [dropped(rows[1], "same_image_caption", value=2, threshold=1,
                            **kept_by(rows[0]))]  # fmt: skip


def test_ties_go_to_uid_then_shard_then_row(decide):
    rows = [
        {"uid": "b", "shard": 0, "row": 0, "media_sha256": "m", "area": 1.0},
        {"uid": "a", "shard": 1, "row": 3, "media_sha256": "m", "area": 1.0},
        {"uid": "a", "shard": 1, "row": 2, "media_sha256": "m", "area": 1.0},
        {"uid": "a", "shard": 2, "row": 0, "media_sha256": "m", "area": 1.0},
    ]
    said = decide(ExactDedup(name="exact", by="image"), rows)
    assert {(v["kept_by"], v["kept_by_shard"], v["kept_by_row"]) for v in said} == {("a", 1, 2)}
    assert len(said) == 3


def test_a_key_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="by must be one of uid, image, image_caption"):
        ExactDedup(name="exact", by="taste")


def test_requires_only_what_it_reads():
    assert ExactDedup(name="e", by="uid", keep_best=()).requires.names == []
    assert ExactDedup(name="e", by="image").requires.names == ["media_sha256", "area"]
    assert ExactDedup(name="e", by="image_caption", keep_best=("blur",)).requires.names == [
        "media_sha256",
        "caption_hash",
        "blur",
    ]
