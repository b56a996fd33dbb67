"""A training sample in tokens: which there are, and which of them the trainer learns to say."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from curation.core.errors import UsageError
from curation.models.glm4v.processor import Laid, Processor
from curation.models.glm4v.tokenizer import Tokenizer, demo_tokenizer
from curation.models.glm4v.vision_input import VisionSettings
from schemas.sample import Segment

SHOWN = 8_192
"""Pieces that are shown: a sequence of the first stage."""
COUNTED = 1 << 20
"""Tokens after which a sample is no longer counted."""
_BYTES = 4
"""Tokens that a character is made of at most, each a byte."""
_BROKEN = "\ufffd"

Piece = tuple[str, list[int], bool, int]
"""Text, ids, whether it is a special token, and how often it stands there in a row."""


class TokenView:
    """Lays samples out as `curate train` does with the same tokenizer."""

    def __init__(self, folder: str = "") -> None:
        """`folder` is of a checkpoint or tokenizer; empty: the small one that is shipped."""
        self._folder = folder

    @cached_property
    def _processor(self) -> Processor:
        if not self._folder:
            return Processor(demo_tokenizer())
        return Processor(Tokenizer(self._folder), _vision(Path(self._folder)))

    def told(self, segments: Sequence[Segment]) -> dict[str, Any]:
        """Segments in pieces, with the tokens that begin and end a sample.

        Raises UsageError where the tokenizer is not at hand or a segment cannot be laid out.
        """
        try:
            processor = self._processor
            special = processor.tokenizer.special
        except ImportError as error:
            raise UsageError(
                f"tokens need {error.name}, which is not installed (pip install 'curation[train]')"
            ) from error
        names = {number: name for name, number in special.items()}
        start = Laid([special["[gMASK]"], special["<sop>"]], False)
        end = Laid([processor.tokenizer.end_id], True)
        told = [_part("start", start, processor.tokenizer, names, SHOWN)]
        count, room = len(start.ids), SHOWN
        for number, segment in enumerate(segments):
            if count > COUNTED:
                break
            try:
                (laid,) = processor.lay_out([segment])
            except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
                raise UsageError(
                    f"segment {number} cannot be laid out, the trainer leaves the sample out: "
                    f"{error}"
                ) from error
            told.append(_part(segment["type"], laid, processor.tokenizer, names, room))
            count += len(laid.ids)
            room -= len(told[-1]["pieces"])
        else:
            told.append(_part("end", end, processor.tokenizer, names, 1))
        learnt = sum(part["tokens"] for part in told if part["learnt"])
        return {
            "tokenizer": self._folder,
            "vocabulary": processor.tokenizer.vocabulary,
            "tokens": sum(part["tokens"] for part in told),
            "learnt": learnt,
            "whole": told[-1]["type"] == "end",
            "parts": told,
        }


def _part(
    kind: str, laid: Laid, tokenizer: Tokenizer, names: dict[int, str], room: int
) -> dict[str, Any]:
    pieces: list[Piece] = []
    shown = 0
    for piece in _pieces(laid.ids, tokenizer, names):
        if len(pieces) >= room:
            break
        pieces.append(piece)
        shown += len(piece[1]) * piece[3]
    said: dict[str, Any] = {
        "type": kind,
        "learnt": laid.learnt,
        "tokens": len(laid.ids),
        "pieces": pieces,
        "more": len(laid.ids) - shown,
    }
    if laid.medium is not None:
        said["grid"] = list(laid.medium.grid)
    return said


def _pieces(ids: Sequence[int], tokenizer: Tokenizer, names: dict[int, str]) -> Iterator[Piece]:
    """Each token as text; those that make a character only together stand together."""
    at = 0
    while at < len(ids):
        if ids[at] in names:
            stop = at + 1
            while stop < len(ids) and ids[stop] == ids[at]:
                stop += 1
            yield names[ids[at]], [ids[at]], True, stop - at
            at = stop
            continue
        length = _character(ids[at : at + _BYTES], tokenizer)
        yield tokenizer.decode(ids[at : at + length]), list(ids[at : at + length]), False, 1
        at += length


def _character(ids: Sequence[int], tokenizer: Tokenizer) -> int:
    """How many of the first tokens make whole characters together; 1 where no number does."""
    for length in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:length])
        # The mark of a broken character may stand in the text itself: then it is spelt so again.
        if _BROKEN not in text or tokenizer.encode(text) == list(ids[:length]):
            return length
    return 1


def _vision(folder: Path) -> VisionSettings:
    """The pixel budget beside a checkpoint's tokenizer; that of GLM-4.1V where none is there."""
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return VisionSettings()
    try:
        size = json.loads(path.read_text(encoding="utf-8"))["size"]
        return VisionSettings(
            image_min_pixels=int(size["shortest_edge"]), image_max_pixels=int(size["longest_edge"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not that of a Glm4v model ({error!r})") from error
