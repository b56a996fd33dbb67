"""The index: one row a sample, beside each shard."""

import pyarrow as pa

from schemas._field import documented

SAMPLE = (
    documented("shard", pa.int32(), "Number of the shard that holds the sample.", nullable=False),
    documented("row", pa.int32(), "Position of the sample in its shard, from 0.", nullable=False),
    documented(
        "uid",
        pa.string(),
        "Content name: 32 hex characters of SHA-256 over the media hashes and the text. Equal "
        "content has equal uid wherever it comes from.",
        nullable=False,
    ),
)
"""The three columns that every table of the corpus starts with. `(shard, row)` is the sample."""

MEMBER = pa.struct(
    [
        documented("ext", pa.string(), "Extension of the tar member, without the key and its dot."),
        documented("offset", pa.int64(), "Byte offset of the member's data in the shard."),
        documented("size", pa.int64(), "Bytes of the member's data."),
        documented(
            "sha256", pa.string(), "SHA-256 of a media member, 64 hex characters; null for text."
        ),
    ]
)

INDEX = pa.schema(
    [
        *SAMPLE,
        documented("key", pa.string(), "WebDataset key in the tar; has no dots.", nullable=False),
        documented("members", pa.list_(MEMBER), "Members in tar order; media come first."),
        documented("text", pa.string(), "Caption as it came; null where there is none."),
        documented("width", pa.int32(), "Pixels of the first image, after EXIF orientation."),
        documented("height", pa.int32(), "Pixels of the first image, after EXIF orientation."),
        documented("license", pa.string(), "Licence as the source states it."),
        documented("source_url", pa.string(), "Where the media came from, as the source states."),
        documented("domain", pa.string(), "Host of source_url, lower case, without port."),
        documented(
            "source",
            pa.string(),
            "Every other column of the source and the sample's place in it, as one JSON object.",
        ),
        documented(
            "error",
            pa.string(),
            "Why the sample could not be ingested (one of curation.core.errors.ERROR_CODES).",
        ),
        documented(
            "blocked", pa.string(), "Blocklist that stopped the sample at ingest; no bytes stored."
        ),
    ]
)

SHARDS = pa.schema(
    [
        documented("shard", pa.int32(), "Number of the shard.", nullable=False),
        documented("path", pa.string(), "Tar file, relative to the corpus.", nullable=False),
        documented("samples", pa.int64(), "Rows in the shard's index.", nullable=False),
        documented("bytes", pa.int64(), "Size of the tar file.", nullable=False),
        documented("sha256", pa.string(), "SHA-256 of the tar file.", nullable=False),
        documented("index_sha256", pa.string(), "SHA-256 of the index file.", nullable=False),
        documented("errors", pa.int64(), "Rows that ingest could not read.", nullable=False),
        documented("blocked", pa.int64(), "Rows that a blocklist stopped.", nullable=False),
    ]
)
"""The shard table: what the manifest references instead of listing shards itself."""
