"""Pairs whose image and caption do not belong together, by the cosine of their CLIP embeddings.

LAION-400M drops what scores below 0.3 (Schuhmann et al., 2021), LAION-5B below 0.28; DataComp
(Gadre et al., 2023) keeps the top fraction of the pool.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.step import RelationalStep, Session

_BUCKETS = 65_536
"""Buckets a unit of score in the first pass."""

_BUCKET = f"CAST(floor(least(greatest(score, -2), 2) * {_BUCKETS}) AS INTEGER)"
"""A power of two times a float32 is exact: a lower score never has a higher bucket."""

_BINS = 128
"""Bins a unit of score in the histogram that is kept."""

_CUTOFFS = pa.schema(
    [
        ("rule", pa.string()),
        ("threshold", pa.float64()),
        ("scored", pa.int64()),
        ("below", pa.int64()),
        ("tied", pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ClipSelect(RelationalStep):
    """Keeps what scores at least `threshold`, and is in the top `top_fraction`; one may be null.

    The fraction is DataComp's: of n scored survivors the score at place int(n * fraction),
    counted from 0 and from the top, is the threshold, and every sample with that very score
    stays. It is exact: a histogram of counts, which add up over shards, finds the bucket of that
    place, a second one, of the values in this bucket, the score. A score is compared as stored
    (float32, widened), NaN is no score. Both rules look at all survivors; the first that fails is
    the reason.
    """

    threshold: float | None = None
    """Lowest cosine that stays, -1 to 1. It belongs to one model: no number fits two."""

    top_fraction: float | None = None
    """Share of the scored survivors that stays, above 0, at most 1."""

    missing: Literal["keep", "drop"] = "drop"
    """What becomes of a sample without a score."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be -1 to 1, got {self.threshold}")
        if self.top_fraction is not None and not 0 < self.top_fraction <= 1:
            raise ValueError(f"top_fraction must be above 0, at most 1, got {self.top_fraction}")
        if self.missing not in ("keep", "drop"):
            raise ValueError(f"missing must be keep or drop, got {self.missing!r}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("clip_score", pa.float32()), ("clip_skipped", pa.bool_())])

    def decide(self, session: Session) -> None:
        if self.threshold is None and self.top_fraction is None:
            raise UsageError(
                f"{self.name} has no rule; set {self.name}.threshold or {self.name}.top_fraction"
            )
        self._refuse_skipped(session)
        session.create(
            "scores",
            "SELECT shard, row, CASE WHEN isnan(clip_score) THEN NULL "
            "ELSE CAST(clip_score AS DOUBLE) END AS score FROM survivors",
        )
        session.create(
            "buckets",
            f"SELECT {_BUCKET} AS key, count(*) AS samples FROM scores "
            f"WHERE score IS NOT NULL GROUP BY {_BUCKET}",
        )
        scored = int(session.scalar("SELECT coalesce(sum(samples), 0) FROM buckets"))
        limits = {"clip_score": self.threshold} if self.threshold is not None else {}
        if self.top_fraction is not None and scored:
            place = min(int(scored * self.top_fraction), scored - 1)
            limits["not_in_top_fraction"] = _score_at(session, place)
        self._write_verdicts(session, limits)
        self._write_tables(session, limits, scored)
        session.drop("scores", "buckets")

    def notes(self, session: Session) -> dict[str, int]:
        query = "SELECT count(*) FROM survivors WHERE clip_score IS NULL OR isnan(clip_score)"
        said = {"without a CLIP score": int(session.scalar(query))}
        tied = session.scalar("SELECT max(tied) FROM cutoffs WHERE rule = 'not_in_top_fraction'")
        if tied is not None:
            said["kept at the lowest score of the top fraction"] = int(tied)
        return said

    def tables(self) -> dict[str, str]:
        """`cutoffs`: each rule's threshold, the scored samples below it and at it.

        `histogram`: samples by score, `lower` being the lower edge of a bin of 1/128.
        """
        return {
            "cutoffs": "SELECT rule, threshold, scored, below, tied FROM cutoffs "
            "ORDER BY rule ASC NULLS LAST",
            "histogram": f"SELECT CAST(bin AS DOUBLE) / {_BINS} AS lower, samples FROM bins "
            "ORDER BY bin ASC NULLS LAST",
        }

    def _refuse_skipped(self, session: Session) -> None:
        query = "SELECT count(*) FROM survivors WHERE clip_skipped AND clip_score IS NULL"
        skipped = int(session.scalar(query))
        if skipped:
            raise UsageError(
                f"{self.name}: {skipped:,} samples that reach it were not scored, as they lie "
                "below the floor of clip; loosen clip.floor and measure clip again, or tighten "
                "heuristics so that they are dropped before"
            )

    def _write_verdicts(self, session: Session, limits: dict[str, float]) -> None:
        whens = {reason: f"WHEN score < {_number(limit)}" for reason, limit in limits.items()}
        reasons = " ".join(f"{when} THEN '{reason}'" for reason, when in whens.items())
        values = " ".join(
            f"{when} THEN {_number(limits[reason])}" for reason, when in whens.items()
        )
        missing = "WHEN score IS NULL THEN 'no_clip_score' " if self.missing == "drop" else ""
        reason = f"CASE {missing}{reasons} END" if missing or reasons else "CAST(NULL AS VARCHAR)"
        limit = f"CASE {values} END" if values else "CAST(NULL AS DOUBLE)"
        session.create(
            "verdicts",
            f"""
            SELECT shard, row, reason, value, threshold, CAST(NULL AS VARCHAR) AS detail,
                   CAST(NULL AS VARCHAR) AS kept_by, CAST(NULL AS INTEGER) AS kept_by_shard,
                   CAST(NULL AS INTEGER) AS kept_by_row
            FROM (
                SELECT shard, row, {reason} AS reason, score AS value, {limit} AS threshold
                FROM scores
            ) AS said WHERE reason IS NOT NULL
            """,
        )

    def _write_tables(self, session: Session, limits: dict[str, float], scored: int) -> None:
        rows = []
        for rule, limit in limits.items():
            below, tied = (
                int(
                    session.scalar(
                        f"SELECT count(*) FROM scores WHERE score {sign} {_number(limit)}"
                    )
                )
                for sign in ("<", "=")
            )
            rows.append(
                {"rule": rule, "threshold": limit, "scored": scored, "below": below, "tied": tied}
            )
        session.load("cutoffs", pa.Table.from_pylist(rows, _CUTOFFS))
        bins = f"CAST(floor(CAST(key AS DOUBLE) / {_BUCKETS // _BINS}) AS INTEGER)"
        session.create(
            "bins",
            f"SELECT {bins} AS bin, CAST(sum(samples) AS BIGINT) AS samples FROM buckets "
            f"GROUP BY {bins}",
        )


def _score_at(session: Session, place: int) -> float:
    """The score at `place` from the top, counted from 0, of `scores` and its `buckets`."""
    bucket = _key_at(session, "buckets", place)
    above = session.scalar(f"SELECT coalesce(sum(samples), 0) FROM buckets WHERE key > {bucket}")
    session.create(
        "values_there",
        f"SELECT score AS key, count(*) AS samples FROM scores WHERE {_BUCKET} = {bucket} "
        "GROUP BY score",
    )
    score = _key_at(session, "values_there", place - int(above))
    session.drop("values_there")
    return float(score)


def _key_at(session: Session, histogram: str, place: int) -> float:
    """The key of `histogram(key, samples)` that the sample at `place` from the top has."""
    key: float = session.scalar(
        f"""
        SELECT max(key) FROM (
            SELECT key, sum(samples) OVER (
                ORDER BY key DESC NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS through
            FROM {histogram}
        ) AS counted WHERE through > {place}
        """
    )
    return key


def _number(value: float) -> str:
    """A double as SQL: a bare literal would be a decimal."""
    return f"CAST('{value!r}' AS DOUBLE)"
