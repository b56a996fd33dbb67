"""What `curate ingest` reads, told apart by looking: tables, folders, tars, Parquet, corpora."""

from curation.io.sources.detect import open_source, parts
from curation.io.sources.record import Piece, Record, Source, SourceOptions, domain_of, safe_json

__all__ = [
    "Piece",
    "Record",
    "Source",
    "SourceOptions",
    "domain_of",
    "open_source",
    "parts",
    "safe_json",
]
