"""select: every kind of rule, nulls and limits, against a plain loop."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.step import VERDICT_COLUMNS
from curation.relational.select import Rule, Select
from tests.relational.sessions import dropped


def rule(reason, column, kind, threshold, missing="keep"):
    return Rule(reason=reason, column=column, kind=kind, threshold=threshold, source="a test",
                missing=missing)  # fmt: skip


def table(rows, **types):
    size = len(rows)
    columns = {
        "shard": pa.array([0] * size, pa.int32()),
        "row": pa.array(range(size), pa.int32()),
        "uid": pa.array([f"{n:032x}" for n in range(size)], pa.string()),
    }
    for name, kind in types.items():
        columns[name] = pa.array([row.get(name) for row in rows], kind)
    return pa.table(columns)


def decided(rules, rows, **types):
    out = Select(name="s", rules=tuple(rules)).decide(table(rows, **types))
    assert out.schema == pa.schema(
        [("shard", pa.int32()), ("row", pa.int32()), *VERDICT_COLUMNS]
    )  # fmt: skip
    return out.to_pylist()


def at(number):
    return {"shard": 0, "row": number}


@pytest.mark.parametrize(
    ("kind", "threshold", "values", "fails"),
    [
        ("at_least", 5, [4.9, 5.0, 5.1, None], [4.9]),
        ("at_most", 5, [4.9, 5.0, 5.1, None], [5.1]),
        ("at_least", 0.0, [-0.0, 0.0, -1e-9], [-1e-9]),
        ("at_most", float("inf"), [1e300, None], []),
        ("at_least", float("-inf"), [-1e300, None], []),
    ],
)
def test_a_limit_itself_passes(kind, threshold, values, fails):
    rows = [{"m": value} for value in values]
    said = decided([rule("r", "m", kind, threshold)], rows, m=pa.float64())
    assert said == [
        dropped(at(values.index(v)), "r", value=v, threshold=float(threshold)) for v in fails
    ]


@pytest.mark.parametrize("limit", [0.1, 0.25, 0.3, 0.9])
def test_a_float32_measure_is_compared_as_stored(limit):
    """0.1 as float32 lies above 0.1: a limit of 0.1 at most drops it, and says what it was."""
    stored = float(np.float32(limit))
    said = decided([rule("r", "m", "at_most", limit)], [{"m": stored}], m=pa.float32())
    assert said == ([dropped(at(0), "r", value=stored, threshold=limit)] if stored > limit else [])


@pytest.mark.parametrize(
    ("kind", "words", "fails"),
    [
        ("one_of", ("en", "de"), {1: "fr"}),
        ("none_of", ("en", "de"), {0: "en"}),
        ("one_of", (), {}),
        ("none_of", (), {}),
    ],
)
def test_words(kind, words, fails):
    rows = [{"w": "en"}, {"w": "fr"}, {"w": None}]
    said = decided([rule("r", "w", kind, words)], rows, w=pa.string())
    assert said == [dropped(at(n), "r", detail=word) for n, word in fails.items()]


@pytest.mark.parametrize(
    ("kind", "threshold", "type_"),
    [
        ("at_least", 1.0, pa.float64()),
        ("at_most", 1.0, pa.int32()),
        ("one_of", ("en",), pa.string()),
        ("none_of", ("en",), pa.string()),
    ],
)
def test_a_missing_measure_stays_unless_the_rule_says_drop(kind, threshold, type_):
    rows = [{"m": None}]
    limit = threshold if isinstance(threshold, float) else None
    assert decided([rule("r", "m", kind, threshold)], rows, m=type_) == []
    assert decided([rule("r", "m", kind, threshold, missing="drop")], rows, m=type_) == [
        dropped(at(0), "r", threshold=limit, detail="not measured")
    ]


def test_the_first_rule_that_fails_is_the_reason():
    rules = [
        rule("small", "side", "at_least", 10),
        rule("wide", "ratio", "at_most", 2),
        rule("tongue", "language", "one_of", ("en",)),
        rule("tiny", "side", "at_least", 5),
    ]
    rows = [
        {"side": 3, "ratio": 9.0, "language": "fr"},
        {"side": 10, "ratio": 9.0, "language": "fr"},
        {"side": 10, "ratio": 1.0, "language": "fr"},
        {"side": 10, "ratio": 1.0, "language": "en"},
    ]
    said = decided(rules, rows, side=pa.int32(), ratio=pa.float32(), language=pa.string())
    assert said == [
        dropped(at(0), "small", value=3, threshold=10),
        dropped(at(1), "wide", value=9, threshold=2),
        dropped(at(2), "tongue", detail="fr"),
    ]


NUMBER = st.none() | st.integers(-3, 3) | st.sampled_from([0.5, -0.5])
RULES = st.lists(
    st.builds(
        dict,
        column=st.sampled_from(["a", "b"]),
        kind=st.sampled_from(["at_least", "at_most"]),
        threshold=st.integers(-3, 3) | st.just(0.5),
        missing=st.sampled_from(["keep", "drop"]),
    )
    | st.builds(
        dict,
        column=st.just("w"),
        kind=st.sampled_from(["one_of", "none_of"]),
        threshold=st.lists(st.sampled_from("xyz"), max_size=2, unique=True).map(tuple),
        missing=st.sampled_from(["keep", "drop"]),
    ),
    max_size=5,
)


def fails(given_rule, value):
    limit = given_rule["threshold"]
    if value is None:
        return given_rule["missing"] == "drop" and limit != ()
    return {
        "at_least": lambda: value < limit,
        "at_most": lambda: value > limit,
        "one_of": lambda: limit != () and value not in limit,
        "none_of": lambda: value in limit,
    }[given_rule["kind"]]()


@given(
    RULES,
    st.lists(
        st.fixed_dictionaries({"a": NUMBER, "b": NUMBER, "w": st.none() | st.sampled_from("xyz")})
    ),
)
def test_any_rules_against_a_plain_loop(rules, rows):
    expected = []
    for number, row in enumerate(rows):
        for place, one in enumerate(rules):
            value = row[one["column"]]
            if fails(one, value):
                numeric = one["column"] != "w"
                expected.append(
                    dropped(at(number), f"r{place}", value=value if numeric else None,
                            threshold=one["threshold"] if numeric else None,
                            detail="not measured" if value is None else None if numeric else value)
                )  # fmt: skip
                break
    made = [rule(f"r{place}", **one) for place, one in enumerate(rules)]
    assert decided(made, rows, a=pa.float64(), b=pa.float32(), w=pa.string()) == expected


def test_rows_in_several_chunks_keep_their_order():
    whole = table([{"m": n % 3} for n in range(30)], m=pa.int32())
    cut = pa.concat_tables([whole.slice(0, 7), whole.slice(7, 0), whole.slice(7)])
    step = Select(name="s", rules=(rule("r", "m", "at_least", 1),))
    assert step.decide(cut)["row"].to_pylist() == list(range(0, 30, 3))
    assert step.decide(cut).equals(step.decide(whole))
    assert step.decide(whole.slice(0, 0)).num_rows == 0


def test_one_threshold_changes_and_nothing_else():
    step = Select(
        name="s", rules=(rule("a", "m", "at_least", 1), rule("b", "m", "at_most", 9.0))
    )  # fmt: skip
    changed = step.with_threshold("b", 5.0)
    assert [r.threshold for r in changed.rules] == [1, 5.0]
    assert changed.rules[0] == step.rules[0]
    assert [r.threshold for r in step.rules] == [1, 9.0]
    with pytest.raises(KeyError, match="c"):
        step.with_threshold("c", 1.0)


@pytest.mark.parametrize(
    ("kind", "threshold", "told"),
    [
        ("at_least", ("en",), "takes a number"),
        ("at_most", float("nan"), "takes a number, got NaN"),
        ("one_of", 3.0, "takes a list of words"),
        ("none_of", "en", "takes a list of words"),
    ],
)
def test_a_threshold_of_the_wrong_kind_is_refused(kind, threshold, told):
    with pytest.raises(ValueError, match=told):
        rule("r", "m", kind, threshold)


def test_two_rules_cannot_share_a_reason():
    with pytest.raises(ValueError, match="two rules share a reason"):
        Select(name="s", rules=(rule("r", "a", "at_least", 1), rule("r", "b", "at_least", 1)))


def test_requires_each_column_once_in_its_kind():
    rules = (
        rule("a", "m", "at_least", 1),
        rule("b", "m", "at_most", 9),
        rule("c", "w", "one_of", ()),
    )
    assert Select(name="s", rules=rules).requires == pa.schema(
        [("m", pa.float64()), ("w", pa.string())]
    )
