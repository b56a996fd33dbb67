"""Which pairs are shown: the worst first, every reason, the same however shards are cut.

Of captions chosen as written those with something marked are preferred.
"""

import pyarrow as pa
import pytest

from curation.operators.text.caption_facts import LOOK
from curation.report.recaption_columns import Part
from curation.report.recaption_draw import ANY, LOST, PLAIN, TALKING, UNSUPPORTED, Draw
from schemas import NEW, ORIGINAL, REPAIRED

Rows = list[tuple[str, str | None]]


def chosen(choices: Rows, start: int = 0) -> Part:
    """One shard of new captions with what was chosen of each."""
    rows = range(start, start + len(choices))
    return Part(
        pa.table(
            {
                "shard": pa.array([0] * len(choices), pa.int32()),
                "row": pa.array(rows, pa.int32()),
                "text": ["an original"] * len(choices),
                "recaption": [f"caption {row}" for row in rows],
                "choice": pa.array([choice for choice, _ in choices], pa.string()),
                "reason": pa.array([reason for _, reason in choices], pa.string()),
            }
        ),
        0,
    )


def marked(count: int, *, facts: set[int], claims: set[int], start: int = 0) -> Part:
    """New captions as they were written; those of `facts` and `claims` have one each."""
    part = chosen([(NEW, None)] * count, start)
    for name, rows in (("facts_original", facts), ("facts", claims)):
        there = [["it"] if row in rows else [] for row in range(start, start + count)]
        part = Part(part.rows.append_column(name, pa.array(there, pa.list_(pa.string()))), 0)
    return part


def rows_of(*parts: Part, pairs: int, seed: int = 0) -> list[int]:
    return [row for _, row in drawn(*parts, pairs=pairs, seed=seed)]


def drawn(*parts: Part, pairs: int, seed: int = 0) -> list[tuple[tuple[str, str], int]]:
    draw = Draw(pairs=pairs, seed=seed)
    for part in parts:
        draw.add(part)
    return [(fate, row["row"]) for fate, row in draw.chosen()]


MIXED: Rows = [
    *[(NEW, None)] * 40,
    *[(ORIGINAL, "precision")] * 30,
    *[(ORIGINAL, "language")] * 2,
    *[(REPAIRED, "unsupported")] * 20,
]


def test_fallbacks_come_first_then_repaired_then_kept():
    found = drawn(chosen(MIXED), pairs=16)
    assert [kind for (kind, _), _ in found] == [*[ORIGINAL] * 6, *[REPAIRED] * 6, *[NEW] * 4]


def test_a_rare_reason_is_shown_beside_a_common_one():
    found = drawn(chosen(MIXED), pairs=16)
    reasons = [reason for (kind, reason), _ in found if kind == ORIGINAL]
    assert reasons == [*["precision"] * 4, *["language"] * 2]


def test_room_that_the_worst_do_not_need_goes_to_the_others():
    assert len(drawn(chosen([(ORIGINAL, "precision"), *[(NEW, None)] * 30]), pairs=20)) == 20
    assert len(drawn(chosen([(NEW, None)] * 5), pairs=20)) == 5


def test_the_draw_hangs_on_place_and_seed_alone():
    whole = drawn(chosen(MIXED), pairs=16)
    cut = [chosen(MIXED[:50]), chosen(MIXED[50:], start=50)]
    assert drawn(*cut, pairs=16) == whole
    assert drawn(*reversed(cut), pairs=16) == whole
    assert drawn(chosen(MIXED), pairs=16, seed=1) != whole


def test_no_more_rows_are_held_than_may_be_shown():
    draw = Draw(pairs=3)
    for nth in range(10):
        draw.add(chosen(MIXED, start=100 * nth))
    assert {fate: len(rows) for fate, rows in draw.drawn.items()} == {
        (NEW, ""): 3,
        (ORIGINAL, "precision"): 3,
        (ORIGINAL, "language"): 3,
        (REPAIRED, "unsupported"): 3,
    }
    assert draw.totals[ORIGINAL, "precision"] == 300


def test_of_captions_as_written_four_of_five_have_something_marked():
    facts, claims = set(range(0, 200, 10)), set(range(5, 200, 20))
    unmarked = rows_of(marked(200, facts=set(), claims=set()), pairs=20)
    found = rows_of(marked(200, facts=facts, claims=claims), pairs=20)
    some = facts | claims
    assert all(row in some for nth, row in enumerate(found, 1) if nth % ANY)
    assert {found[nth] for nth in (4, 9, 14, 19)} <= set(unmarked)  # the smallest hashes of all
    assert len(set(found)) == 20
    assert set(found) & facts
    assert set(found) & claims


def test_where_few_have_something_marked_all_of_them_are_shown_first():
    few = {17, 80, 133}
    found = rows_of(marked(200, facts=few, claims=set()), pairs=12)
    assert set(found[:3]) == few
    plain = rows_of(marked(200, facts=set(), claims=set()), pairs=12)
    assert found[3:] == [row for row in plain if row not in few][:9]


def test_where_nothing_is_marked_the_smallest_hashes_are_shown():
    without = rows_of(chosen([(NEW, None)] * 200), pairs=12)
    assert rows_of(marked(200, facts=set(), claims=set()), pairs=12) == without
    assert rows_of(marked(200, facts=set(range(200)), claims=set()), pairs=12) == without


def test_what_is_preferred_hangs_on_place_and_seed_alone():
    some = {"facts": set(range(0, 200, 7)), "claims": {3, 4}}
    whole = rows_of(marked(200, **some), pairs=12)
    cut = [marked(90, **some), marked(110, **some, start=90)]
    assert rows_of(*cut, pairs=12) == whole
    assert rows_of(*reversed(cut), pairs=12) == whole
    assert rows_of(marked(200, **some), pairs=12, seed=1) != whole


def test_pairs_that_show_a_fault_are_drawn_as_they_come():
    part = marked(200, facts={1, 2, 3, 4, 5, 6}, claims=set())
    fallen = part.rows.set_column(4, "choice", pa.array([ORIGINAL] * 200))
    plain = chosen([(ORIGINAL, None)] * 200)
    assert rows_of(Part(fallen, 0), pairs=12) == rows_of(plain, pairs=12)


def test_what_is_held_stays_bounded_and_is_counted():
    draw = Draw(pairs=3)
    for start in range(0, 1000, 100):
        draw.add(marked(100, facts=set(range(0, 1000, 4)), claims=set(), start=start))
    assert len(draw.drawn[NEW, ""]) == len(draw.marked[NEW, ""]) == 3
    assert (draw.totals[NEW, ""], draw.with_marks[NEW, ""]) == (1000, 250)


def test_endless_captions_are_held_in_part_with_their_lengths():
    part = chosen([(NEW, None)])
    endless = pa.array(["word " * 10_000])
    draw = Draw(pairs=1)
    draw.add(Part(part.rows.set_column(2, "text", endless), 0))
    ((_, row),) = draw.chosen()
    assert (len(row["text"]), row["text_length"]) == (LOOK, 50_000)
    assert row["recaption"] == "caption 0"


def test_without_new_captions_or_room_nothing_is_drawn():
    part = chosen(MIXED)
    none = Part(part.rows.set_column(3, "recaption", pa.nulls(len(MIXED), pa.string())), 0)
    assert drawn(none, pairs=5) == []
    assert drawn(part, pairs=0) == []


@pytest.mark.parametrize(
    ("residue", "precision", "retention", "fate"),
    [
        (1, 0.2, 0.2, TALKING),
        (0, 0.2, 0.2, UNSUPPORTED),
        (0, None, 0.2, LOST),
        (0, 1.0, None, PLAIN),
        (None, None, None, PLAIN),
    ],
)
def test_where_nothing_was_chosen_the_facts_tell_the_fate(residue, precision, retention, fate):
    rows = pa.table(
        {
            "shard": pa.array([0], pa.int32()),
            "row": pa.array([0], pa.int32()),
            "recaption": ["a caption"],
            "facts": pa.nulls(1, pa.list_(pa.string())),
            "recaption_residue": pa.array([residue], pa.int32()),
            "facts_precision": pa.array([precision], pa.float32()),
            "facts_retention": pa.array([retention], pa.float32()),
        }
    )
    assert drawn(Part(rows, 0), pairs=5) == [((fate, ""), 0)]
