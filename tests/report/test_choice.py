"""Which samples are shown: a fair draw that depends on their place alone."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation.core.draw import order_keys
from curation.report.choice import COLUMNS, Group, choose

FATES = (
    ("kept", None, None, None, None),
    ("dropped", "heuristics", "blur", None, None),
    ("dropped", "heuristics", "url", None, None),
    ("dropped", "blocklist", "blocked_sha256", "abuse", None),
    ("dropped", "blocklist", "blocked_sha256", "optout", None),
    ("quarantined", "ingest", None, None, "empty_file"),
)


def tables(fates: list[list[int]]) -> list[pa.Table]:
    """A ledger a shard, its rows of the fates that these numbers name."""
    made = []
    for shard, numbers in enumerate(fates):
        rows = [(shard, row, *FATES[number]) for row, number in enumerate(numbers)]
        columns = [[row[n] for row in rows] for n in range(len(COLUMNS))]
        types = [pa.int32(), pa.int32(), *[pa.string()] * 5]
        arrays = [pa.array(c, t) for c, t in zip(columns, types, strict=True)]
        made.append(pa.table(arrays, names=COLUMNS))
    return made


LEDGERS = st.lists(st.lists(st.integers(0, len(FATES) - 1), max_size=40), max_size=4)


@given(LEDGERS, st.integers(1, 6))
def test_draws_what_sorting_everything_by_hash_would(fates, size):
    choices = choose(tables(fates), lambda group: 0 if group.stage == "blocklist" else size)
    naive: dict[Group, list[tuple[int, int, int]]] = {}
    for shard, numbers in enumerate(fates):
        for row, number in enumerate(numbers):
            status, stage, reason, _, error = FATES[number]
            group = Group(status, stage or "", reason or error or "")
            (key,) = order_keys(0, "report-gallery", [shard], [row])
            naive.setdefault(group, []).append((int(key), shard, row))
    assert set(choices) == set(naive)
    for group, found in choices.items():
        assert found.total == len(naive[group])
        wanted = [] if group.stage == "blocklist" else sorted(naive[group])[:size]
        assert found.drawn == wanted


@given(LEDGERS)
def test_a_group_that_is_not_shown_counts_its_lists(fates):
    choices = choose(tables(fates), lambda _: 0)
    blocked = choices.get(Group("dropped", "blocklist", "blocked_sha256"))
    numbers = [number for shard in fates for number in shard]
    expected = {name: numbers.count(n) for name, n in (("abuse", 3), ("optout", 4)) if n in numbers}
    assert (dict(blocked.details) if blocked else {}) == expected
    assert all(not choice.drawn for choice in choices.values())


def test_a_changed_fate_elsewhere_changes_no_other_group():
    before = choose(tables([[0] * 50 + [1] * 50]), lambda _: 5)
    after = choose(tables([[0] * 50 + [2] * 50]), lambda _: 5)
    kept = Group("kept", "", "")
    assert before[kept].samples == after[kept].samples
