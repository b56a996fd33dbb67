"""The lines of a funnel: each loss where it happened, the same samples in the end."""

from hypothesis import given
from hypothesis import strategies as st

from curation.core.funnel import BLOCKED, INGEST, MEASURE, funnel_lines
from schemas.manifest import StageSummary

CODES = st.sampled_from(["ingest: empty_file", "ingest: missing_file", "image_probe: corrupt_image",
                         "clip: not_finite"])  # fmt: skip
REASONS = st.sampled_from([BLOCKED, "min_side", "near_image"])
TAKEN = st.tuples(
    st.dictionaries(REASONS, st.integers(1, 50)), st.dictionaries(CODES, st.integers(1, 50))
)


def stages(taken: list[tuple[dict[str, int], dict[str, int]]], kept: int) -> list[StageSummary]:
    """Stages that take this much of what comes to them, so that `kept` are left."""
    entered = kept + sum(sum(part.values()) for both in taken for part in both)
    made = []
    for nth, (reasons, errors) in enumerate(taken):
        dropped, lost = sum(reasons.values()), sum(errors.values())
        made.append(
            StageSummary(
                stage=f"stage{nth}",
                fingerprint=f"{nth}",
                entered=entered,
                kept=entered - dropped - lost,
                dropped=dropped,
                quarantined=lost,
                reasons=reasons,
                errors=errors,
            )
        )
        entered = made[-1].kept
    return made


def test_what_ingest_and_operators_lost_comes_before_the_stages():
    first = ({"min_side": 4, BLOCKED: 2}, {"ingest: empty_file": 3, "image_probe: bomb": 1})
    second = ({"near_image": 5}, {"clip: not_finite": 7})
    lines = funnel_lines(stages([first, second], 10))
    assert [(x.stage, x.entered, x.kept, x.reasons, x.errors) for x in lines] == [
        (INGEST, 32, 27, {BLOCKED: 2}, {"empty_file": 3}),
        (MEASURE, 27, 19, {}, {"clip: not_finite": 7, "image_probe: bomb": 1}),
        ("stage0", 19, 15, {"min_side": 4}, {}),
        ("stage1", 15, 10, {"near_image": 5}, {}),
    ]


def test_where_nothing_was_lost_before_the_stages_they_are_told_as_they_are():
    made = stages([({"min_side": 4}, {}), ({}, {})], 6)
    assert funnel_lines(made) == made
    assert funnel_lines([]) == []


@given(st.lists(TAKEN, min_size=1, max_size=4), st.integers(0, 100))
def test_every_line_balances_and_leads_to_the_next(taken, kept):
    made = stages(taken, kept)
    lines = funnel_lines(made)
    entering = made[0].entered
    for line in lines:
        assert line.entered == entering
        assert line.entered == line.kept + line.dropped + line.quarantined
        assert line.dropped == sum(line.reasons.values())
        assert line.quarantined == sum(line.errors.values())
        entering = line.kept
    assert entering == kept
    for name in ("dropped", "quarantined"):
        assert sum(getattr(x, name) for x in lines) == sum(getattr(x, name) for x in made)
    assert [line.stage for line in lines[-len(made) :]] == [stage.stage for stage in made]
