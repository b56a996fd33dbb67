"""One sample in Python: picture, caption, measures, fate."""

import base64
import warnings
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from PIL import Image

from curation.core.corpus import Layer, index_path
from curation.core.errors import CorpusError
from curation.io.image_decode import whole_image
from curation.io.image_header import ImageError, read_header
from curation.io.media import read_member
from curation.report.pictures import MAX_MEMBER_BYTES
from curation.report.viewer.fates import SHOWN
from curation.report.viewer.thumbnails import NoPictureError, why_none
from curation.report.viewer.view import View
from curation.report.wording import display_safe

_SIDE = 240


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of a sample."""

    status: str
    """kept, dropped or quarantined; ingested while nothing is decided."""
    stage: str | None
    reason: str | None
    error: str | None
    value: float | None
    """What was measured, in the measure's own unit."""
    threshold: float | None
    detail: str | None
    kept_by: str | None
    """uid of the twin that stayed."""
    verdict: str
    """The drop in words, as `min_side 110 < 200`; empty where nothing was dropped."""

    def __str__(self) -> str:
        if self.stage is None:
            return self.status
        why = self.verdict or self.error or self.reason or ""
        return f"{self.status} by {self.stage}: {self.reason or why}" + (
            f" ({self.verdict})" if self.verdict and self.reason else ""
        )


class Sample:
    """A sample that may be listed; what it holds is read when it is asked for."""

    def __init__(self, view: View, position: int) -> None:
        self._view, self._position = view, position
        self.shard, self.row = view.fates.place(position)

    @cached_property
    def _told(self) -> dict[str, Any]:
        (row,) = self._view.reader.rows([self._position])
        return row

    @property
    def uid(self) -> str:
        return str(self._told["uid"])

    @cached_property
    def text(self) -> str | None:
        """The whole caption as it came; somebody else wrote it."""
        said = self._view.reader.fetch(index_path(self.shard), "text", self.row)["text"]
        return None if said is None else str(said)

    @property
    def image(self) -> Image.Image:
        """The first image at its full size, its first frame, turned as EXIF says.

        Raises CorpusError where there is none, where it cannot be decoded, or where it is
        withheld: dropped before every blocklist had been held against it.
        """
        data = self._bytes()
        try:
            header = read_header(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return whole_image(data, header, Image.MAX_IMAGE_PIXELS or header.pixels)
        except ImageError as fault:
            raise self._no_picture(fault.code.replace("_", " ")) from fault

    def _bytes(self) -> bytes:
        if self._view.fates.seen(self._position) != SHOWN:
            raise self._no_picture("dropped before the blocklists were held against it")
        if (why := why_none(self._told)) is not None:
            raise self._no_picture(why)
        (member, *_) = [member for member in self._told["members"] if member["sha256"]]
        if not 0 < member["size"] <= MAX_MEMBER_BYTES:
            raise self._no_picture("too large to show")
        data = read_member(self._view.corpus.store, self.shard, member)
        if len(data) < member["size"]:
            raise self._no_picture("the shard is shorter than its index says; run `curate verify`")
        return data

    def _no_picture(self, why: str) -> CorpusError:
        return CorpusError(f"{self.uid}: no picture ({why})")

    @cached_property
    def measures(self) -> dict[str, Any]:
        """Every number, word and list that was measured, by name; embeddings are in the table."""
        found: dict[str, Any] = {}
        for ref in self._view.corpus.manifest.layers:
            path = Layer(ref.operator, ref.fingerprint).path(self.shard)
            for name, value in self._view.reader.fetch(path, "*", self.row).items():
                if name in ref.columns and not isinstance(value, bytes):
                    found.setdefault(name, value)
        return found

    @cached_property
    def fate(self) -> Fate:
        """What became of it, and why."""
        ledger = self._told["ledger"]
        names = ("stage", "reason", "error", "value", "threshold", "detail", "kept_by")
        said = {name: ledger[name] for name in names}
        return Fate(status=ledger["status"], verdict=self._tile["verdict"], **said)

    @cached_property
    def _tile(self) -> dict[str, Any]:
        return self._view.tiles.tile(self._position, self._told)

    def __repr__(self) -> str:
        caption = display_safe(self._tile["caption"], 60)
        return (
            f"Sample {self.uid[:12]} (shard {self.shard}, row {self.row}): {self.fate}\n{caption}"
        )

    def _repr_html_(self) -> str:
        """A thumbnail, the start of the caption as the viewer shows it, and the fate."""
        try:
            data = base64.b64encode(self._view.jpeg(self._position, _SIDE)).decode()
            picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
        except NoPictureError as why:
            picture = f"<em>{escape(str(why))}</em>"
        caption = f"<bdi>{escape(self._tile['caption'])}</bdi>"
        return f"<div>{picture}<p>{caption}</p><p>{escape(str(self.fate))}</p></div>"
