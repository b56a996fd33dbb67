"""Abuse lists, opt-outs and takedowns: what a list names does not stay, whatever its quality."""

from dataclasses import dataclass

import pyarrow as pa

from curation.core.blocklist import ENTRIES, BlockFile, domain_suffixes
from curation.core.step import VERDICT_COLUMNS, RelationalStep, Session
from curation.relational.hamming import near_matches

_SUFFIXES = pa.schema([("domain", pa.string()), ("suffix", pa.string())])
_NONE = pa.schema([("shard", pa.int32()), ("row", pa.int32()), *VERDICT_COLUMNS])


@dataclass(frozen=True, kw_only=True)
class Blocklist(RelationalStep):
    """Drops what a list names by media SHA-256, pHash within the entry's bits, URL, domain, uid.

    The reason is the kind of entry, `detail` the list's name; `value` and `threshold` are the
    distance found and allowed, for pHashes.
    """

    lists: tuple[BlockFile, ...] = ()
    """Files of entries; see curation.core.blocklist for their form."""

    @property
    def requires(self) -> pa.Schema:
        return pa.schema(
            [
                ("media_sha256", pa.string()),
                ("source_url", pa.string()),
                ("domain", pa.string()),
                ("phash", pa.int64()),
            ]
        )

    def decide(self, session: Session) -> None:
        entries = pa.concat_tables([ENTRIES.empty_table(), *(f.entries() for f in self.lists)])
        if not entries.num_rows:
            session.load("verdicts", _NONE.empty_table())
            return
        session.load("entries", entries)
        session.apply(
            "suffixes",
            "SELECT DISTINCT domain FROM survivors WHERE domain IS NOT NULL "
            "ORDER BY domain ASC NULLS LAST",
            _suffixes,
            _SUFFIXES,
        )
        session.create(
            "wanted",
            "SELECT phash, max(distance) AS distance FROM entries "
            "WHERE kind = 'phash' GROUP BY phash",
        )
        session.create("hashes", "SELECT DISTINCT phash FROM survivors WHERE phash IS NOT NULL")
        widest = session.scalar("SELECT max(distance) FROM wanted")
        near_matches(session, "near", "hashes", "wanted", int(widest or 0))
        self._verdicts(session)
        session.drop("entries", "suffixes", "wanted", "hashes", "near", "hits")

    def _verdicts(self, session: Session) -> None:
        def equal(order: int, kind: str, column: str) -> str:
            return f"""
                SELECT s.shard, s.row, {order} AS place, e.list, 'blocked_{kind}' AS reason,
                       CAST(NULL AS DOUBLE) AS value, CAST(NULL AS DOUBLE) AS threshold
                FROM survivors AS s
                JOIN entries AS e ON e.kind = '{kind}' AND e.value = s.{column}
            """

        session.create(
            "hits",
            f"""
            {equal(0, "sha256", "media_sha256")}
            UNION ALL {equal(1, "uid", "uid")}
            UNION ALL {equal(2, "url", "source_url")}
            UNION ALL
            SELECT s.shard, s.row, 3 AS place, e.list, 'blocked_domain' AS reason,
                   CAST(NULL AS DOUBLE) AS value, CAST(NULL AS DOUBLE) AS threshold
            FROM survivors AS s JOIN suffixes AS x ON x.domain = s.domain
            JOIN entries AS e ON e.kind = 'domain' AND e.value = x.suffix
            UNION ALL
            SELECT s.shard, s.row, 4 AS place, e.list, 'blocked_phash' AS reason,
                   CAST(n.distance AS DOUBLE) AS value, CAST(e.distance AS DOUBLE) AS threshold
            FROM survivors AS s JOIN near AS n ON n.phash = s.phash
            JOIN entries AS e ON e.kind = 'phash' AND e.phash = n.wanted
            WHERE n.distance <= e.distance
            """,
        )
        session.create(
            "verdicts",
            """
            SELECT shard, row, reason, value, threshold, list AS detail,
                   CAST(NULL AS VARCHAR) AS kept_by, CAST(NULL AS INTEGER) AS kept_by_shard,
                   CAST(NULL AS INTEGER) AS kept_by_row
            FROM (
                SELECT shard, row, reason, value, threshold, list,
                       row_number() OVER (
                           PARTITION BY shard, row
                           ORDER BY place ASC NULLS LAST, value ASC NULLS LAST,
                                    list ASC NULLS LAST, threshold ASC NULLS LAST
                       ) AS nth
                FROM hits
            ) AS ranked WHERE nth = 1
            """,
        )


def _suffixes(domains: pa.Table) -> pa.Table:
    rows = [
        {"domain": domain, "suffix": suffix}
        for domain in domains["domain"].to_pylist()
        for suffix in domain_suffixes(domain)
    ]
    return pa.Table.from_pylist(rows, _SUFFIXES)
