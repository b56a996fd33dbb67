"""What changed between two corpora: recipe, counts, samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.core.corpus import StageLedger, index_path
from curation.core.errors import CorpusError
from curation.core.fingerprint import plain
from curation.engines.local import LocalEngine
from curation.engines.sql import DuckSession
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


def moved(before: Corpus, after: Corpus, engine: LocalEngine, show: int) -> dict[str, Any]:
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


def _fates(session: DuckSession, name: str, corpus: Corpus) -> None:
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
