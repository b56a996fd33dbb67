"""docs/facts: the lists are what they claim to be, and the tally follows from them."""

import itertools
import json
from dataclasses import asdict

import pytest

from curation.operators.text.facts_claims import CLAIM_KINDS
from tests.operators.text.facts_labels import (
    FOLDER,
    SETS,
    Tally,
    digest,
    labels,
    order,
    tally,
    texts,
    wilson,
)

WRITTEN = json.loads((FOLDER / "tally.json").read_text(encoding="utf-8"))


def written(name, when):
    return Tally(**WRITTEN[name][when])


def row(name, result):
    """A line of the table in docs/facts/README.md."""
    precision, recall = result.bounds
    return (
        f"| {name} | {result.captions} | {result.claims} | {result.right} | {result.wrong} "
        f"| {result.found} | {result.precision:.3f} ({precision:.3f}) "
        f"| {result.recall:.3f} ({recall:.3f}) |"
    )


def pooled(when):
    sums = [asdict(written(name, when)) for name in SETS[1:]]
    return Tally(**{field: sum(one[field] for one in sums) for field in sums[0]})


def test_wilson_is_the_published_interval():
    assert wilson(81, 263) == pytest.approx(0.2553, abs=1e-4)  # Newcombe 1998, table I
    assert wilson(15, 148) == pytest.approx(0.0624, abs=1e-4)


@pytest.mark.parametrize("name", SETS)
def test_lists_hold_each_caption_once_with_known_kinds(name):
    listed = labels(name)
    assert (
        len({label["row"] for label in listed}) == len(listed) == WRITTEN[name]["now"]["captions"]
    )
    told = [claim for label in listed for claim in label["unsupported"]]
    assert len(told) == WRITTEN[name]["now"]["claims"]
    assert {claim["kind"] for claim in told} <= set(CLAIM_KINDS)


def test_no_caption_is_in_two_lists():
    rows = [label["row"] for name in SETS for label in labels(name)]
    assert len(set(rows)) == len(rows)


def test_the_table_follows_from_the_tally():
    page = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    for name, when in itertools.product(SETS[1:], ("first_run", "now")):
        assert row(name, written(name, when)) in page
    assert row("all four", pooled("first_run")) in page


def test_the_last_set_meets_the_goal_as_first_run_and_as_the_checker_is_now():
    for when in ("first_run", "now"):
        assert min(written("fourth", when).bounds) >= 0.8
        assert written("fourth", when).claims >= 100


def test_lists_name_rows_in_the_order_of_their_hashes():
    rows = texts()
    listed = [label for name in SETS for label in labels(name)]
    assert [label["row"] for label in listed] == order(len(rows))[: len(listed)]
    assert [label["sha256"] for label in listed] == [
        digest(*rows[label["row"]]) for label in listed
    ]


@pytest.mark.parametrize("name", SETS)
def test_the_checker_still_does_what_the_tally_says(name):
    assert tally(name, texts()) == written(name, "now")
