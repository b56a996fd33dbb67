"""A field with its documentation beside it."""

import pyarrow as pa


def documented(name: str, kind: pa.DataType, doc: str, *, nullable: bool = True) -> pa.Field:
    """An Arrow field whose metadata carries `doc`, so that every file explains its own columns."""
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})
