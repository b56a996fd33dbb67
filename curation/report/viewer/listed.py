"""Samples held against blocklists whose files are at hand, whatever became of them.

A stage looks only at what came to it. With the files every sample can be looked up: by the SHA-256
of its media, uid, URL and domain, and by pHash where one was measured.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.blocklist import BlockFile, domain_suffixes
from curation.core.corpus import Layer, index_path
from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.io.tables import read_table

CLEAR: Final = 0
UNKNOWN: Final = 1
"""A list names pHashes and the sample has none, or there are too many to compare."""
NAMED: Final = 2

States = npt.NDArray[np.uint8]

_PAIRS = 4_000_000_000
"""Comparisons of pHashes of a shard above which its samples stay unknown; some seconds."""
_AT_ONCE = 1 << 22
"""Comparisons that are made at once."""


def held_against(corpus: Corpus, lists: Iterable[BlockFile]) -> States:
    """CLEAR, UNKNOWN or NAMED of each sample by position; reads the index a shard at a time.

    Raises UsageError for a list that cannot be read.
    """
    entries = [row for one in lists for row in one.entries().to_pylist()]
    values = {
        kind: pa.array([row["value"] for row in entries if row["kind"] == kind], pa.string())
        for kind in ("sha256", "uid", "url", "domain")
    }
    hashes = _widest(entries)
    layer = _phashes(corpus)
    return np.concatenate(
        [np.zeros(0, np.uint8)]
        + [
            _shard(corpus, shard.shard, shard.samples, values, hashes, layer)
            for shard in corpus.shards
        ]
    )


def _widest(entries: list[dict[str, Any]]) -> dict[int, int]:
    """Bits allowed by pHash."""
    found: dict[int, int] = {}
    for row in entries:
        if row["kind"] == "phash":
            found[row["phash"]] = max(row["distance"], found.get(row["phash"], 0))
    return found


def _phashes(corpus: Corpus) -> Layer | None:
    for ref in corpus.manifest.layers:
        if "phash" in ref.columns:
            return Layer(ref.operator, ref.fingerprint)
    return None


def _shard(
    corpus: Corpus,
    number: int,
    samples: int,
    values: dict[str, pa.Array],
    hashes: dict[int, int],
    layer: Layer | None,
) -> States:
    path = index_path(number)
    index = read_table(corpus.store, path, ["uid", "source_url", "domain", "members"])
    if index.num_rows != samples:
        raise CorpusError(f"{corpus.store.path(path)}: {index.num_rows:,} rows, not {samples:,}")
    named = _among(index["uid"], values["uid"]) | _among(index["source_url"], values["url"])
    named |= _in_domains(index["domain"], values["domain"])
    named |= _with_media(index["members"].combine_chunks(), values["sha256"])
    found: States = np.where(named, NAMED, CLEAR).astype(np.uint8)
    if hashes:
        near, known = _near(corpus, number, samples, hashes, layer)
        found[near] = NAMED
        found[~known & (found == CLEAR)] = UNKNOWN
    return found


def _among(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.asarray(pc.is_in(column, value_set=values))
    return found


def _in_domains(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.bool_]:
    """With their subdomains."""
    listed = set(values.to_pylist())
    here = column.unique().to_pylist() if listed else []
    within = [name for name in here if name and listed.intersection(domain_suffixes(name))]
    return _among(column, pa.array(within, pa.string()))


def _with_media(members: pa.ListArray, values: pa.Array) -> npt.NDArray[np.bool_]:
    """Any of their media, not only the first."""
    rows = np.asarray(pc.list_parent_indices(members))
    hit = _among(pc.struct_field(pc.list_flatten(members), "sha256"), values)
    found = np.zeros(len(members), bool)
    found[rows[hit]] = True
    return found


def _near(
    corpus: Corpus, number: int, samples: int, hashes: dict[int, int], layer: Layer | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Samples within the bits of an entry, and those of which that is known."""
    nowhere = np.zeros(samples, bool)
    if layer is None or samples * len(hashes) > _PAIRS:
        return nowhere, nowhere
    column = read_table(corpus.store, layer.path(number), ["phash"])["phash"]
    known = np.asarray(column.is_valid())
    own = np.asarray(pc.fill_null(column, 0)).astype(np.int64)
    wanted = np.array(list(hashes), np.int64)
    bits = np.array(list(hashes.values()), np.uint8)
    near = nowhere.copy()
    step = max(1, _AT_ONCE // len(wanted))
    for start in range(0, samples, step):
        apart = np.bitwise_count(
            (own[start : start + step, None] ^ wanted[None, :]).view(np.uint64)
        )
        near[start : start + step] = (apart <= bits).any(axis=1)
    return near & known, known
