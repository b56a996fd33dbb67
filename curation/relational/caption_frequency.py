"""Boilerplate: one caption on many images says nothing about any of them."""

from dataclasses import dataclass

import pyarrow as pa

from curation.core.step import RelationalStep, Session


@dataclass(frozen=True, kw_only=True)
class CaptionFrequency(RelationalStep):
    """Drops every sample whose normalised caption stands on more than `max_images` images.

    `value` is the number of distinct images. Samples without a caption are not counted.
    """

    max_images: int = 10
    """Distinct images a caption may stand on."""

    def __post_init__(self) -> None:
        if self.max_images < 1:
            raise ValueError(f"max_images must be at least 1, got {self.max_images}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("caption_hash", pa.string()), ("media_sha256", pa.string())])

    def decide(self, session: Session) -> None:
        session.create(
            "repeated",
            "SELECT caption_hash FROM survivors WHERE caption_hash IS NOT NULL "
            f"GROUP BY caption_hash HAVING count(*) > {self.max_images}",
        )
        session.create(
            "boilerplate",
            f"""
            SELECT caption_hash, count(*) AS images FROM (
                SELECT DISTINCT s.caption_hash, s.media_sha256
                FROM survivors AS s JOIN repeated AS r ON r.caption_hash = s.caption_hash
            ) AS d GROUP BY caption_hash HAVING count(*) > {self.max_images}
            """,
        )
        session.create(
            "verdicts",
            f"""
            SELECT s.shard, s.row, 'caption_on_many_images' AS reason,
                   CAST(b.images AS DOUBLE) AS value,
                   CAST({self.max_images} AS DOUBLE) AS threshold,
                   CAST(NULL AS VARCHAR) AS detail, CAST(NULL AS VARCHAR) AS kept_by,
                   CAST(NULL AS INTEGER) AS kept_by_shard, CAST(NULL AS INTEGER) AS kept_by_row
            FROM survivors AS s JOIN boilerplate AS b ON b.caption_hash = s.caption_hash
            """,
        )
        session.drop("repeated", "boilerplate")
