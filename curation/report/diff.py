"""What changed between two corpora: recipe, counts, samples."""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from curation.core.corpus import StageLedger, index_path
from curation.core.engine import Engine, StepSession
from curation.core.errors import CorpusError
from curation.core.fingerprint import plain
from curation.io.corpus import Corpus


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON with their dotted names; list items by their `name` or `reason`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            label = item.get("name") or item.get("reason") or item.get("stage") or str(place)
            yield from flat(item, f"{name}.{label}")
    else:
        yield name, value


def changes(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    """Leaves that differ, as (name, before, after); null where one side has none."""
    left, right = dict(flat(plain(before))), dict(flat(plain(after)))
    names = [*left, *(name for name in right if name not in left)]
    return [(n, left.get(n), right.get(n)) for n in names if left.get(n) != right.get(n)]


def recipe_changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings of two manifests' recipes that differ, by the names that --set takes.

    A stage that only one of them decided is one line, and so is an operator that only one has.
    """
    left, right = _settings(plain(before)), _settings(plain(after))
    found: list[tuple[str, Any, Any]] = []
    for name in [*left, *(name for name in right if name not in left)]:
        if name in left and name in right:
            fields = changes(left[name], right[name])
            found += [(f"{name}.{field}", was, now) for field, was, now in fields]
        else:
            was, now = ("there" if name in side else "not there" for side in (left, right))
            found.append((name, was, now))
    return found


_MOST = 60
"""Characters of a value that is printed."""


def _settings(recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Fields of each operator and of each stage that was decided."""
    parts = dict(recipe.get("operators", {}))
    for stage in recipe.get("stages", []):
        name = stage["name"]
        parts[name] = {k: v for k, v in stage.items() if k not in ("name", "rules")}
        for rule in stage.get("rules", []):
            rest = {k: v for k, v in rule.items() if k not in ("reason", "threshold")}
            parts[name] |= {rule["reason"]: rule["threshold"], f"{rule['reason']} (rule)": rest}
    return parts


def change_text(name: str, was: Any, now: Any) -> str:
    """One change on one line, as `heuristics.min_side: 200 -> 256`, long values shortened."""
    if isinstance(was, list) and isinstance(now, list) and max(map(_length, (was, now))) > _MOST:
        lost = [item for item in was if item not in now]
        new = [item for item in now if item not in was]
        told = [f"{len(was):,} values -> {len(now):,} values"]
        told += [f"gone: {_short(lost)}"] * bool(lost) + [f"new: {_short(new)}"] * bool(new)
        return f"{name}: {'; '.join(told)}"
    texts = [_text(was), _text(now)]
    if min(map(len, texts)) > _MOST:  # what they begin with alike would be all that is seen
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
        same = sum(1 for _ in pairs)
        texts = [f"…{text[same - 20 :]}" if same > _MOST - 20 else text for text in texts]
    return f"{name}: {' -> '.join(map(_short, texts))}"


def _length(value: Any) -> int:
    return len(_text(value))


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _MOST else f"{text[:_MOST].rstrip()}… ({len(text):,} characters)"


def _text(value: Any) -> str:
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.10g}"
    return " ".join(str(value).split())


def moved(before: Corpus, after: Corpus, engine: Engine, show: int) -> dict[str, Any]:
    """How samples differ by uid: counts of each move between fates, and the first few of each.

    A fate is kept, or `dropped: stage reason`; a uid with several occurrences counts once for
    each. Raises CorpusError where one of them has not been decided.
    """
    with engine.session() as session:
        for name, corpus in (("a", before), ("b", after)):
            _fates(session, name, corpus)
        session.create(
            "moves",
            """
            SELECT coalesce(a.fate, 'absent') AS was, coalesce(b.fate, 'absent') AS now,
                   coalesce(a.uid, b.uid) AS uid
            FROM a FULL JOIN b ON a.uid = b.uid AND a.nth = b.nth
            """,
        )
        rows = [
            row
            for batch in session.stream(
                f"""
                SELECT was, now, count(*) AS samples, list_sort(min(uid, {int(show)})) AS uids
                FROM moves GROUP BY was, now ORDER BY was = now, samples DESC, was, now
                """
            )
            for row in batch.to_pylist()
        ]
    same = sum(row["samples"] for row in rows if row["was"] == row["now"])
    return {"same": same, "moves": [row for row in rows if row["was"] != row["now"]]}


def _fates(session: StepSession, name: str, corpus: Corpus) -> None:
    if not corpus.store.is_local:
        raise CorpusError(f"{corpus.store.url}: diff reads local corpora")
    root = Path(corpus.store.path(""))
    if corpus.manifest.ledger is None:
        session.read_files(f"{name}_rows", [str(root / index_path(s.shard)) for s in corpus.shards])
        fate = "'kept'"
    else:
        final = StageLedger("final", corpus.manifest.ledger)
        session.read_files(f"{name}_rows", [str(root / final.path(s.shard)) for s in corpus.shards])
        fate = (
            "CASE WHEN status = 'kept' THEN 'kept' ELSE "
            "concat_ws(' ', status || ':', stage, coalesce(reason, error)) END"
        )
    session.create(
        name,
        f"""
        SELECT uid, {fate} AS fate,
               row_number() OVER (
                   PARTITION BY uid ORDER BY {fate} <> 'kept', {fate}, shard, row
               ) AS nth
        FROM {name}_rows
        """,
    )
