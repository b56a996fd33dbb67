"""The one Parquet writer and reader of the corpus.

Every engine writes through `write_table`, so equal rows give equal bytes: one write, explicit row
groups, schema from `schemas/` or an operator, a footer that holds fingerprint and index hash.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from curation.core.errors import CorpusError
from curation.io.store import Store

ROW_GROUP = 65_536
_FAULTS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises on damaged Parquet."""


def encode_table(table: pa.Table, schema: pa.Schema, footer: Mapping[str, str]) -> bytes:
    """Parquet bytes of `table`, its columns in the order and types of `schema`."""
    table = table.select(schema.names).cast(schema).combine_chunks()
    table = table.replace_schema_metadata({k: footer[k] for k in sorted(footer)})
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=ROW_GROUP,
        compression="zstd",
        version="2.6",
        use_dictionary=True,
        write_statistics=True,
        write_page_checksum=True,
        store_schema=True,
    )
    return sink.getvalue()


def write_table(
    store: Store, name: str, table: pa.Table, schema: pa.Schema, footer: Mapping[str, str]
) -> str:
    """Commits one Parquet file and returns its SHA-256."""
    data = encode_table(table, schema, footer)
    store.write(name, data)
    return hashlib.sha256(data).hexdigest()


def read_table(store: Store, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of one file, in file order. Raises CorpusError for a damaged file."""
    with store.open(name) as file:
        try:
            return pq.ParquetFile(file, page_checksum_verification=True).read(
                columns=list(columns) if columns else None
            )
        except _FAULTS as error:
            raise CorpusError(f"{store.path(name)}: damaged Parquet file ({error})") from error


def read_footer(store: Store, name: str) -> dict[str, str] | None:
    """The footer's own entries, or null where the file is missing or not readable as Parquet."""
    if not store.exists(name):
        return None
    with store.open(name) as file:
        try:
            entries = (pq.read_schema(file).metadata or {}).items()
            return {k.decode(): v.decode() for k, v in entries if not k.startswith(b"ARROW:")}
        except _FAULTS:
            return None
