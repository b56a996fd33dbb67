"""The index of an export: what a loader needs to plan packs without reading a pixel."""

import pyarrow as pa

from schemas._field import documented
from schemas.index import MEMBER

EXPORT_INDEX = pa.schema(
    [
        documented("shard", pa.int32(), "Number of the export shard.", nullable=False),
        documented("row", pa.int32(), "Position in the shard, from 0.", nullable=False),
        documented("uid", pa.string(), "Content name, as in the corpus.", nullable=False),
        documented("key", pa.string(), "WebDataset key: uid, or uid-n for kept duplicates."),
        documented("family", pa.string(), "Family of the sample."),
        documented("members", pa.list_(MEMBER), "Members in tar order: the JSON, then media."),
        documented("segments", pa.string(), "Segments of the sample's JSON, as JSON."),
        documented("license", pa.string(), "Licence as the source states it."),
        documented("domain", pa.string(), "Host that the media came from."),
        documented("language", pa.string(), "Detected language, where it was measured."),
        documented("source_shard", pa.int32(), "Shard of the curated corpus."),
        documented("source_row", pa.int32(), "Row of the curated corpus."),
    ]
)

EXPORT_SHARDS = pa.schema(
    [
        documented("shard", pa.int32(), "Number of the shard.", nullable=False),
        documented("path", pa.string(), "Tar file, relative to the export.", nullable=False),
        documented("samples", pa.int64(), "Samples in the shard.", nullable=False),
        documented("bytes", pa.int64(), "Size of the tar file.", nullable=False),
        documented("sha256", pa.string(), "SHA-256 of the tar file.", nullable=False),
        documented("index_sha256", pa.string(), "SHA-256 of the index file.", nullable=False),
    ]
)
