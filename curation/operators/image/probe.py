"""What image headers say: no pixel is decoded."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.operator import IMAGE, BatchFn, Operator, append
from curation.io.image_header import ImageError, ImageHeader, read_header


@dataclass(frozen=True, kw_only=True)
class ImageProbe(Operator):
    """Format, size, mode, frames and orientation, from the header alone.

    Sides are after EXIF orientation. `aspect_ratio` is the longer side over the shorter, from 1.
    """

    name = "image_probe"
    libraries = ("pillow",)

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([IMAGE])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema(
            [
                ("format", pa.string()),
                ("image_width", pa.int32()),
                ("image_height", pa.int32()),
                ("min_side", pa.int32()),
                ("aspect_ratio", pa.float32()),
                ("area", pa.int64()),
                ("mode", pa.string()),
                ("frames", pa.int32()),
                ("orientation", pa.int32()),
                ("image_bytes", pa.int64()),
            ]
        )

    def open(self) -> BatchFn:
        return self._probe

    def _probe(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = self.provides.names
        columns: dict[str, list[Any]] = {name: [] for name in [*names, "error"]}
        for image in batch["image"]:
            data = image.as_buffer()
            values, error = (None, None) if data is None else _probe_one(data.to_pybytes())
            for name, value in zip(names, values or [None] * len(names), strict=True):
                columns[name].append(value)
            columns["error"].append(error)
        return append(batch, self.provides, columns)


def _probe_one(data: bytes) -> tuple[list[Any] | None, str | None]:
    try:
        return _row(read_header(data), len(data)), None
    except ImageError as fault:
        return None, fault.code


def _row(header: ImageHeader, size: int) -> list[Any]:
    short, long = sorted((header.width, header.height))
    return [
        header.format,
        header.width,
        header.height,
        short,
        long / short,
        header.pixels,
        header.mode,
        header.frames,
        header.orientation,
        size,
    ]
