"""Twins with the same content, image, or image and caption: the best one stays."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from curation.core.step import RelationalStep, Session
from curation.relational.keep_best import keep_best_schema, priority

_KEYS = {
    "uid": ("uid",),
    "image": ("media_sha256",),
    "image_caption": ("media_sha256", "caption_hash"),
}


@dataclass(frozen=True, kw_only=True)
class ExactDedup(RelationalStep):
    """Keeps one sample of each group with an equal key; the ledger names it in `kept_by`.

    `value` is the size of the group. A sample without the key (no media) is not compared.
    """

    by: Literal["uid", "image", "image_caption"] = "uid"
    """What makes twins: all content; the image's bytes; the image's bytes and the normalised
    caption."""

    keep_best: tuple[str, ...] = ("area",)
    """Measures, from high to low, that choose the one to keep; then uid, shard, row."""

    def __post_init__(self) -> None:
        if self.by not in _KEYS:
            raise ValueError(f"by must be one of {', '.join(_KEYS)}, got {self.by!r}")

    @property
    def requires(self) -> pa.Schema:
        keys = [(name, pa.string()) for name in _KEYS[self.by] if name != "uid"]
        return pa.schema(keys + keep_best_schema(self.keep_best))

    def decide(self, session: Session) -> None:
        keys = _KEYS[self.by]
        same = " AND ".join(f"s.{key} IS NOT DISTINCT FROM g.{key}" for key in keys)
        if len(keys) == 1:  # a plain equality is a hash join on every engine
            same = f"s.{keys[0]} = g.{keys[0]}"
        listed = ", ".join(keys)
        session.create(
            "shared_keys",
            f"SELECT {listed}, count(*) AS members FROM survivors "
            f"WHERE {keys[0]} IS NOT NULL GROUP BY {listed} HAVING count(*) > 1",
        )
        best = f"PARTITION BY {', '.join(f's.{key}' for key in keys)}"
        best += f" ORDER BY {priority(self.keep_best, 's')}"
        session.create(
            "twins",
            f"""
            SELECT s.shard, s.row, g.members,
                   row_number() OVER ({best}) AS place,
                   first_value(s.uid) OVER ({best}) AS kept_by,
                   first_value(s.shard) OVER ({best}) AS kept_by_shard,
                   first_value(s.row) OVER ({best}) AS kept_by_row
            FROM survivors AS s JOIN shared_keys AS g ON {same}
            """,
        )
        session.create(
            "verdicts",
            f"""
            SELECT shard, row, 'same_{self.by}' AS reason, CAST(members AS DOUBLE) AS value,
                   CAST(1 AS DOUBLE) AS threshold, CAST(NULL AS VARCHAR) AS detail,
                   kept_by, kept_by_shard, kept_by_row
            FROM twins WHERE place > 1
            """,
        )
        session.drop("shared_keys", "twins")
