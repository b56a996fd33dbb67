"""Benchmarks: what a model will be judged by must not be among what it learns from."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from curation.core.step import RelationalStep, Session
from curation.relational.benchmark_features import FeatureFile
from curation.relational.hamming import MAX_DISTANCE, near_matches
from curation.relational.nearest import Entry, ImageIndex
from curation.relational.ngrams import GramIndex, compared_words

_ITEMS = pa.schema(
    [("benchmark", pa.int32()), ("item", pa.int32()), ("name", pa.string()), ("place", pa.string())]
)
"""Items by number; `name` is their benchmark's, `place` where they stand in it."""

_HASHES = pa.schema([("benchmark", pa.int32()), ("item", pa.int32()), ("phash", pa.int64())])

_FOUND = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("benchmark", pa.int32()),
        ("item", pa.int32()),
        ("value", pa.float64()),
    ]
)

_COUNTS = pa.schema([("note", pa.string()), ("items", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Decontaminate(RelationalStep):
    """Drops samples whose image or text stands in a benchmark; `detail` is the benchmark's name.

    `benchmark_phash`: pHashes within `distance` bits (`value`). `benchmark_ngram`: any n-gram of
    words in common (`value` counts those of the sample, `threshold` is 1), as GPT-3 (Brown et al.
    2020, appendix C) and the Language Model Evaluation Harness do, without case and punctuation;
    an ideograph is a word. `benchmark_clip`: cosine of CLIP image embeddings (`value`). A sample
    that matches in several ways is dropped by the first of these, and by the benchmark first in
    the alphabet; `matches` counts them all.
    """

    benchmarks: tuple[FeatureFile, ...] = ()
    """Prepared by curation.pipeline.benchmarks from the folders that a user names."""

    distance: int = 3
    """Bits of 64 in which the pHash of an image may differ from a benchmark's."""

    ngram: int = 13
    """Words in an n-gram: GPT-3 and the Evaluation Harness take 13."""

    shortest: int = 8
    """Words from which on a text that is too short for an n-gram is compared, as a whole: a sample
    of these words and no others is dropped. GPT-3 compares no fewer than 8."""

    clip_similarity: float | None = None
    """Cosine from which on an image is a benchmark's; null switches it off. It belongs to one
    model, so that there is no number before calibration."""

    def __post_init__(self) -> None:
        if not all(isinstance(file, FeatureFile) for file in self.benchmarks):
            raise ValueError("benchmarks are named with --benchmark NAME=FOLDER")
        names = [file.name for file in self.benchmarks]
        if len(set(names)) != len(names):
            raise ValueError(f"two benchmarks share a name: {', '.join(sorted(names))}")
        if not 0 <= self.distance <= MAX_DISTANCE:
            raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {self.distance}")
        for name in ("ngram", "shortest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.clip_similarity is not None and not -1 <= self.clip_similarity <= 1:
            raise ValueError(f"clip_similarity must be -1 to 1, got {self.clip_similarity}")

    @property
    def requires(self) -> pa.Schema:
        columns = [("text", pa.string()), ("phash", pa.int64())]
        if self.clip_similarity is not None:
            columns.append(("clip_image", pa.binary()))
        return pa.schema(columns)

    def decide(self, session: Session) -> None:
        # Numbered in the order of names: a benchmark's number breaks ties, its place does not.
        files = sorted(self.benchmarks, key=lambda file: file.name)
        features = [file.features() for file in files]
        self._load(session, [file.name for file in files], features)
        self._find_hashes(session, features)
        self._find_grams(session, features)
        self._find_neighbours(session, features)
        _write_hits(session, self._thresholds())
        session.drop("benchmark_items", "by_phash", "by_ngram", "by_clip")

    def notes(self, session: Session) -> dict[str, int]:
        """Of each benchmark: what it holds, what of it cannot be compared, samples that match."""
        query = "SELECT note, items FROM benchmark_counts ORDER BY note ASC NULLS LAST"
        said = {row["note"]: row["items"] for row in session.rows(query).to_pylist()}
        names = {file.name: 0 for file in self.benchmarks}
        query = (
            "SELECT benchmark, count(*) AS samples FROM ("
            "SELECT DISTINCT benchmark, shard, row FROM hits) AS d "
            "GROUP BY benchmark ORDER BY benchmark ASC NULLS LAST"
        )
        names |= {row["benchmark"]: row["samples"] for row in session.rows(query).to_pylist()}
        said |= {f"{name}: samples that match": count for name, count in names.items()}
        return dict(sorted(said.items()))

    def tables(self) -> dict[str, str]:
        """`matches`: of each benchmark's items those that samples match, and how many samples.

        A sample is counted at one item a reason: the nearest image, the text with most of its
        n-grams (an n-gram of several texts is the first one's).
        """
        return {
            "matches": "SELECT benchmark, item, reason, count(*) AS samples FROM hits "
            "GROUP BY benchmark, item, reason ORDER BY benchmark ASC NULLS LAST, "
            "item ASC NULLS LAST, reason ASC NULLS LAST"
        }

    def _load(self, session: Session, names: list[str], features: list[pa.Table]) -> None:
        items: list[dict[str, object]] = []
        counts: list[dict[str, object]] = []
        for number, (name, table) in enumerate(zip(names, features, strict=True)):
            places = table["item"].to_pylist()
            items += [
                {"benchmark": number, "item": item, "name": name, "place": place}
                for item, place in enumerate(places)
            ]
            counts += [
                {"note": f"{name}: {what}", "items": count}
                for what, count in self._counts(table).items()
            ]
        session.load("benchmark_items", pa.Table.from_pylist(items, _ITEMS))
        session.load("benchmark_counts", pa.Table.from_pylist(counts, _COUNTS))

    def _counts(self, table: pa.Table) -> dict[str, int]:
        """Images and texts of a benchmark, and what cannot be compared, where there is any."""
        images = table.filter(table["image"].is_valid())
        texts = table["text"].drop_null().to_pylist()
        least = min(self.shortest, self.ngram)
        silent = {
            "images without a pHash": images["phash"].null_count,
            "texts too short to compare": sum(len(compared_words(t)) < least for t in texts),
            "items that could not be read": len(table) - table["error"].null_count,
        }
        told = {what: count for what, count in silent.items() if count}
        return {"images": images.num_rows, "texts": len(texts), **told}

    def _thresholds(self) -> dict[str, float]:
        """What each kind of match is held against."""
        return {
            "phash": float(self.distance),
            "ngram": 1.0,
            "clip": self.clip_similarity if self.clip_similarity is not None else 0.0,
        }

    def _find_hashes(self, session: Session, features: list[pa.Table]) -> None:
        """Makes `by_phash`: each sample's nearest image of each benchmark, within the distance."""
        rows = [
            {"benchmark": benchmark, "item": item, "phash": phash}
            for benchmark, table in enumerate(features)
            for item, phash in enumerate(table["phash"].to_pylist())
            if phash is not None
        ]
        session.load("benchmark_hashes", pa.Table.from_pylist(rows, _HASHES))
        session.create(
            "wanted",
            f"SELECT DISTINCT phash, CAST({self.distance} AS INTEGER) AS distance "
            "FROM benchmark_hashes",
        )
        session.create("hashes", "SELECT DISTINCT phash FROM survivors WHERE phash IS NOT NULL")
        near_matches(session, "near", "hashes", "wanted", self.distance)
        session.create(
            "by_phash",
            """
            SELECT s.shard, s.row, b.benchmark, b.item, CAST(b.distance AS DOUBLE) AS value
            FROM survivors AS s JOIN (
                SELECT n.phash, h.benchmark, h.item, n.distance,
                       row_number() OVER (
                           PARTITION BY n.phash, h.benchmark
                           ORDER BY n.distance ASC NULLS LAST, h.item ASC NULLS LAST
                       ) AS nth
                FROM near AS n JOIN benchmark_hashes AS h ON h.phash = n.wanted
            ) AS b ON b.phash = s.phash
            WHERE b.nth = 1
            """,
        )
        session.drop("benchmark_hashes", "wanted", "hashes", "near")

    def _find_grams(self, session: Session, features: list[pa.Table]) -> None:
        """Makes `by_ngram`: of each benchmark the text that shares most with each sample."""
        entries = (
            (benchmark, item, text)
            for benchmark, table in enumerate(features)
            for item, text in enumerate(table["text"].to_pylist())
            if text is not None
        )
        index = GramIndex.of(entries, self.ngram, self.shortest)
        query = "SELECT shard, row, text FROM survivors WHERE text IS NOT NULL"
        _map(session, "by_ngram", query, _SharedGrams(index) if len(index.item) else None)

    def _find_neighbours(self, session: Session, features: list[pa.Table]) -> None:
        """Makes `by_clip`: each sample's nearest image of each benchmark, if it is near enough."""
        if self.clip_similarity is None:
            _map(session, "by_clip", "", None)
            return
        entries = [
            Entry(benchmark, item, vector)
            for benchmark, table in enumerate(features)
            for item, vector in enumerate(table["clip_image"].to_pylist())
            if vector is not None
        ]
        index = ImageIndex.of(entries, self.clip_similarity)
        query = "SELECT shard, row, clip_image FROM survivors WHERE clip_image IS NOT NULL"
        _map(session, "by_clip", query, _NearImages(index) if len(index.items) else None)


def _map(
    session: Session, table: str, query: str, function: Callable[[pa.Table], pa.Table] | None
) -> None:
    """Makes a table of what is found in the rows of a query; an empty one without a function."""
    if function is None:
        session.load(table, _FOUND.empty_table())
    else:
        session.map(table, query, function, _FOUND)


@dataclass(frozen=True)
class _SharedGrams:
    """A function for Session.map, small enough to send to a worker."""

    index: GramIndex

    def __call__(self, rows: pa.Table) -> pa.Table:
        found = self.index.matches(rows["text"].to_pylist())
        return _found(rows, [(m.text, m.benchmark, m.item, float(m.shared)) for m in found])


@dataclass(frozen=True)
class _NearImages:
    """A function for Session.map, small enough to send to a worker."""

    index: ImageIndex

    def __call__(self, rows: pa.Table) -> pa.Table:
        found = self.index.matches(rows["clip_image"].to_pylist())
        return _found(rows, [(n.row, n.benchmark, n.item, n.similarity) for n in found])


def _found(rows: pa.Table, matches: list[tuple[int, int, int, float]]) -> pa.Table:
    """Matches as (position in `rows`, benchmark, item, value), in the columns of _FOUND."""
    positions, *rest = zip(*matches, strict=True) if matches else ((), (), (), ())
    taken = rows.select(["shard", "row"]).take(pa.array(positions, pa.int64()))
    columns = [*taken.columns, *rest]
    arrays = [
        column.cast(f.type) if isinstance(column, pa.ChunkedArray) else pa.array(column, f.type)
        for column, f in zip(columns, _FOUND, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=_FOUND)


def _write_hits(session: Session, thresholds: dict[str, float]) -> None:
    """Makes `hits`, all matches by name, and `verdicts`, one for each sample with a match."""
    kinds = " UNION ALL ".join(
        f"SELECT shard, row, benchmark, item, value, {order} AS kind, 'benchmark_{name}' AS reason,"
        f" CAST('{threshold!r}' AS DOUBLE) AS threshold FROM by_{name}"
        for order, (name, threshold) in enumerate(thresholds.items())
    )
    session.create(
        "hits",
        f"""
        SELECT f.shard, f.row, f.kind, f.reason, f.value, f.threshold, i.name AS benchmark,
               i.place AS item
        FROM ({kinds}) AS f
        JOIN benchmark_items AS i ON i.benchmark = f.benchmark AND i.item = f.item
        """,
    )
    session.create(
        "verdicts",
        """
        SELECT shard, row, reason, value, threshold, benchmark AS detail,
               CAST(NULL AS VARCHAR) AS kept_by, CAST(NULL AS INTEGER) AS kept_by_shard,
               CAST(NULL AS INTEGER) AS kept_by_row
        FROM (
            SELECT shard, row, reason, value, threshold, benchmark,
                   row_number() OVER (
                       PARTITION BY shard, row
                       ORDER BY kind ASC NULLS LAST, benchmark ASC NULLS LAST
                   ) AS nth
            FROM hits
        ) AS ranked WHERE nth = 1
        """,
    )
