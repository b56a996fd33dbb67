"""Questions as they stand in an address, answers as JSON; no more is understood than is listed."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.core.errors import CurationError, UsageError
from curation.report.viewer.blocks import MOST as BLOCKS
from curation.report.viewer.embedding_map import AXES
from curation.report.viewer.nearest import MAX_PICTURE
from curation.report.viewer.query import Filter
from curation.report.viewer.thumbnails import SIDES, NoPictureError
from curation.report.viewer.video_frames import MOST as FRAMES
from curation.report.viewer.view import View

PAGE = 240
"""Samples that one request can ask for."""
_SEARCH = 1_000
"""Characters of a search."""
_UIDS = 64

Comparison = Callable[[], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Routes over one corpus, or two that are compared."""

    views: dict[str, View]
    """By the name that addresses call them: `a`, and `b` where there are two."""
    compare: Comparison | None = None
    """What moved from `a` to `b`."""

    def routes(self) -> list[Route]:
        """Everything but pages and their files."""
        asked: dict[str, Callable[[View, QueryParams], Any]] = {
            "overview": lambda view, _: view.overview(),
            "choices": lambda view, _: view.choices(),
            "samples": lambda view, q: view.samples(
                _filter(q), _whole(q, "offset", 0, 1 << 40), _whole(q, "limit", 60, PAGE)
            ),
            "neighbours": lambda view, q: view.neighbours(_filter(q), _at(q)),
            "sample": lambda view, q: view.sample(_at(q)),
            "caption": lambda view, q: view.caption(_at(q)),
            "tokens": lambda view, q: view.tokens(_at(q)),
            "frames": lambda view, q: view.frames(_at(q), _whole(q, "nth", 0, BLOCKS)),
            "histogram": lambda view, q: view.histogram(q.get("measure", "")),
            "recount": lambda view, q: view.recount(
                q.get("moved", ""), _settings(q), _number(q["at"], 0.0) if q.get("at") else None
            ),
            "strip": lambda view, q: view.strip(q.get("moved", ""), _settings(q)),
            "concepts": lambda view, _: view.concepts(),
            "map": lambda view, q: view.map(q.get("by", AXES)),
            "twins": lambda view, _: view.duplicates.stages(),
            "groups": lambda view, q: view.duplicates.groups(
                q.get("stage", "")[:200], _whole(q, "offset", 0, 1 << 40), _whole(q, "limit", 8, 24)
            ),
            "uids": lambda view, q: view.of_uids(q.getlist("uid")[:_UIDS]),
            "places": lambda view, q: view.standing(map(_place, q.getlist("place")[:_UIDS])),
        }
        made = [
            Route(f"/api/{name}", self._json(answer), methods=["GET"])
            for name, answer in asked.items()
        ]
        made.append(Route("/api/views", self._views, methods=["GET"]))
        made.append(Route("/api/picture", self._picture, methods=["POST"]))
        made.append(Route("/api/compare", self._compared, methods=["GET"]))
        return [*made, Route("/image", self._image, methods=["GET"])]

    def close(self) -> None:
        """Ends what is still under way, so that nobody has to wait for it."""
        for view in self.views.values():
            view.close()

    def _json(self, answer: Callable[[View, QueryParams], Any]) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            try:
                return json_response(answer(self._view(request), request.query_params))
            except CurationError as error:
                return json_response({"error": str(error)}, status(error))

        return respond

    def _views(self, _: Request) -> Response:
        names = {of: view.name for of, view in self.views.items()}
        return json_response({"views": names, "compare": self.compare is not None})

    def _compared(self, _: Request) -> Response:
        if self.compare is None:
            return json_response({"error": "curate view A --against B compares two"}, 400)
        try:
            return json_response(self.compare())
        except CurationError as error:
            return json_response({"error": str(error)}, status(error))

    def _image(self, request: Request) -> Response:
        """Always a JPEG of our own making."""
        try:
            side = _whole(request.query_params, "side", SIDES[1], SIDES[-1])
            if side not in SIDES:
                raise UsageError(f"side is one of {', '.join(map(str, SIDES))}")
            nth = _whole(request.query_params, "nth", 0, BLOCKS)
            at, view = _at(request.query_params), self._view(request)
            if "frame" in request.query_params:
                data = view.frame(at, nth, _whole(request.query_params, "frame", 0, FRAMES))
            else:
                data = view.jpeg(at, side, nth)
        except NoPictureError as why:
            return json_response({"error": str(why)}, 404)
        except CurationError as error:
            return json_response({"error": str(error)}, status(error))
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private"})

    async def _picture(self, request: Request) -> Response:
        """Takes a picture to search by; what is kept of it is its embedding."""
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MAX_PICTURE:
                return json_response({"error": "the picture is too large"}, 400)
        try:
            view = self._view(request)
            return json_response(
                {"name": await run_in_threadpool(view.nearest.picture, bytes(data))}
            )
        except CurationError as error:
            return json_response({"error": str(error)}, status(error))

    def _view(self, request: Request) -> View:
        of = request.query_params.get("of", "a")
        if of not in self.views:
            raise UsageError("no such corpus is open")
        return self.views[of]


def status(error: CurationError) -> int:
    """400 for a question that means nothing, 500 for a corpus that is damaged."""
    return 400 if isinstance(error, UsageError) else 500


def json_response(value: Any, code: int = 200) -> Response:
    """ASCII JSON that every browser reads: numbers that are none become null."""
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False, default=str)
    return Response(text, status_code=code, media_type="application/json")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _filter(q: QueryParams) -> Filter:
    cluster = q.get("cluster", "")
    return Filter(
        family=q.get("family", ""),
        status=q.get("status", ""),
        stage=q.get("stage", ""),
        cause=q.get("cause", ""),
        text=q.get("text", "")[:_SEARCH],
        uid=q.get("uid", "")[:64],
        ranges=tuple(_range(text) for text in q.getlist("range")[:20]),
        language=q.get("language", ""),
        concept=q.get("concept", ""),
        cluster=_whole(q, "cluster", 0, 1 << 31) if cluster else None,
        near=q.get("near", "")[:_SEARCH],
        order=q.get("order", ""),
    )


def _range(text: str) -> tuple[str, float, float]:
    """`measure:lowest:highest`, where a side may be empty."""
    name, _, rest = text.partition(":")
    low, _, high = rest.partition(":")
    return name, _number(low, -math.inf), _number(high, math.inf)


def _settings(q: QueryParams) -> dict[str, float]:
    """`set=stage.reason:value`, as often as there are thresholds."""
    pairs = [text.rpartition(":") for text in q.getlist("set")[:200]]
    return {name: _number(value, math.nan) for name, _, value in pairs}


def _number(text: str, otherwise: float) -> float:
    try:
        value = float(text) if text else otherwise
    except ValueError as error:
        raise UsageError(f"not a number: {text[:60]!r}") from error
    if math.isnan(value):
        raise UsageError("a number is missing")
    return value


def _at(q: QueryParams) -> int:
    return _whole(q, "at", -1, 1 << 40)


def _place(text: str) -> tuple[int, int, str]:
    """`shard:row:uid`."""
    shard, _, rest = text.partition(":")
    row, _, uid = rest.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (shard, row)):
        raise UsageError(f"a place is shard:row:uid, got {text[:60]!r}")
    return int(shard), int(row), uid


def _whole(q: QueryParams, name: str, otherwise: int, most: int) -> int:
    text = q.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= most):
        raise UsageError(f"{name} is a whole number up to {most}")
    return int(text)
