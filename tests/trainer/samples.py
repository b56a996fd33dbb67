"""Exports of every family with small real media, in the layout that `curate export` writes."""

import hashlib
import io
import json
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.core.corpus import FORMAT_VERSION, MANIFEST
from curation.core.fingerprint import content_uid, digest
from curation.core.manifest import encode_manifest, schema_hash
from curation.families.image_text import encode, image_segment, text_segment
from curation.io.store import Store
from curation.io.tables import write_table
from curation.io.tar import TarWriter
from curation.pipeline.card import write_card
from curation.pipeline.energon import write_energon
from curation.version import __version__
from schemas import EXPORT_INDEX, EXPORT_SHARDS
from schemas.manifest import CorpusManifest, ExportManifest, TableRef, Totals
from schemas.sample import Segment

Media = list[tuple[str, bytes]]
Made = tuple[list[Segment], Media]

WORDS = ("river", "lantern", "copper", "meadow", "violin", "harbour", "tiger", "saddle", "orchid",
         "marble", "canyon", "kettle", "tower", "bridge", "window", "garden")  # fmt: skip
SIZES = ((112, 112), (140, 84), (90, 160), (224, 140), (61, 77), (168, 252), (28, 300), (336, 224))
VIDEO_FPS = 10


def box_segment(box: list[int], *, loss: bool) -> Segment:
    """A box in 0-999."""
    return {**text_segment("", loss=loss), "type": "box", "box": box}


def video_segment(member: str, width: int, height: int, timestamps: list[float]) -> Segment:
    """A video by its tar member, with the time of each sampled frame in seconds."""
    video = image_segment(member, width, height)
    return {**video, "type": "video", "timestamps": timestamps}


@lru_cache(maxsize=64)
def jpeg(number: int) -> tuple[bytes, int, int]:
    """A small picture, one of a few sizes: (file, width, height)."""
    width, height = SIZES[number % len(SIZES)]
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    sink = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=80)
    return sink.getvalue(), width, height


def shade(frame: int) -> int:
    """Grey level of a frame of a clip, by which a decoded one is known again."""
    return 20 + 10 * frame % 230


@lru_cache(maxsize=16)
def clip(frames: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """An mp4 of `VIDEO_FPS` frames a second, each of one grey level of its own."""
    import av

    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"crf": "10", "threads": "1"}
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), shade(number), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return sink.getvalue()


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(WORDS, count))


def image_text(seed: int, count: int) -> Iterator[Made]:
    """An image and its caption."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        data, width, height = jpeg(int(rng.integers(64)))
        text = f"{words(rng, int(rng.integers(2, 60)))} {n}"
        yield (
            [image_segment("0.jpg", width, height), text_segment(text, loss=True)],
            [("0.jpg", data)],
        )


def interleaved(seed: int, count: int) -> Iterator[Made]:
    """Paragraphs with images between them; some documents are long."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        segments: list[Segment] = [text_segment(f"Document {n}. ", loss=True)]
        media: Media = []
        for _ in range(int(rng.choice([1, 3, 12]))):
            data, width, height = jpeg(int(rng.integers(64)))
            name = f"{len(media)}.jpg"
            media.append((name, data))
            segments.append(image_segment(name, width, height))
            segments.append(text_segment(words(rng, int(rng.integers(5, 200))) + "\n", loss=True))
        yield segments, media


def ocr(seed: int, count: int) -> Iterator[Made]:
    """A page and what is written on it."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        data, width, height = jpeg(int(rng.integers(64)))
        lines = "\n".join(words(rng, 6) for _ in range(int(rng.integers(1, 40))))
        yield (
            [image_segment("0.jpg", width, height), text_segment(lines, loss=True)],
            [("0.jpg", data)],
        )


def grounding(seed: int, count: int) -> Iterator[Made]:
    """A caption whose phrases have boxes."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        data, width, height = jpeg(int(rng.integers(64)))
        segments = [image_segment("0.jpg", width, height), text_segment("Find: ", loss=False)]
        for _ in range(int(rng.integers(2, 5))):
            segments.append(text_segment(f"{words(rng, 2)} ", loss=True))
            low, high = sorted(rng.integers(0, 500, 2)), sorted(rng.integers(500, 1000, 2))
            segments.append(box_segment([*map(int, low), *map(int, high)], loss=True))
        yield segments, [("0.jpg", data)]


def gui(seed: int, count: int) -> Iterator[Made]:
    """A screen: where an element is, or what stands at a place."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        data, width, height = jpeg(int(rng.integers(64)))
        box = [int(side) for side in np.sort(rng.integers(0, 1000, 4))]
        name = text_segment(f"{words(rng, 2)} {n}", loss=bool(n % 2))
        place = box_segment(box, loss=not n % 2)
        screen = image_segment("0.jpg", width, height)
        ask = text_segment("What is at " if n % 2 else "Where is ", loss=False)
        yield [screen, ask, *((place, name) if n % 2 else (name, place))], [("0.jpg", data)]


def video(seed: int, count: int) -> Iterator[Made]:
    """A clip and what happens in it."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        frames = int(rng.choice([7, 20, 33, 47]))
        times = [frame / VIDEO_FPS for frame in range(frames)]
        text = text_segment(f"{words(rng, int(rng.integers(3, 40)))} {n}", loss=True)
        yield [video_segment("0.mp4", 64, 48, times), text], [("0.mp4", clip(frames))]


FAMILIES = {
    "image-text": image_text,
    "interleaved": interleaved,
    "ocr": ocr,
    "grounding": grounding,
    "gui": gui,
    "video": video,
}


def write_export(
    folder: Path,
    family: str,
    samples: Iterable[Made] | None = None,
    *,
    count: int = 40,
    seed: int = 0,
    name: str | None = None,
    shard_samples: int = 500,
) -> Path:
    """Writes an export of that family; of generated samples where none are given."""
    name = name or family
    store = Store(str(folder))
    made = iter(samples if samples is not None else FAMILIES[family](seed, count))
    fingerprint = digest({"family": family, "seed": seed, "count": count, "name": name})
    shards: list[dict[str, Any]] = []
    members: set[str] = set()
    while rows := _write_shard(store, f"{name}-{fingerprint[:8]}", family, len(shards), made,
                               shard_samples, shards):  # fmt: skip
        members |= {m["ext"] for row in rows for m in row["members"] if m["sha256"]}
    table = pa.Table.from_pylist(shards, EXPORT_SHARDS)
    path = f"tables/shards-{fingerprint}.parquet"
    sha256 = write_table(store, path, table, EXPORT_SHARDS, {})
    total = sum(row["samples"] for row in shards)
    totals = Totals(ingested=total, kept=total, dropped=0, quarantined=0)
    manifest = ExportManifest(
        format_version=FORMAT_VERSION,
        code_version=__version__,
        family=family,
        name=name,
        fingerprint=fingerprint,
        recipe={},
        seed=seed,
        corpus="0" * 64,
        corpus_totals=totals,
        stages=[],
        schemas={
            "export_index": schema_hash(EXPORT_INDEX),
            "export_shards": schema_hash(EXPORT_SHARDS),
        },
        tables={"shards": TableRef(path=path, sha256=sha256, rows=len(shards))},
        totals=totals,
        blocked={},
        members=sorted(members),
        licenses={},
        languages={},
    )
    corpus = CorpusManifest(
        format_version=FORMAT_VERSION,
        code_version=__version__,
        family=family,
        recipe={},
        seed=seed,
        inputs=[],
        schemas={},
        tables={},
        totals=totals,
    )
    write_energon(store, manifest, shards)
    write_card(store, manifest, corpus)
    store.write(MANIFEST, encode_manifest(manifest))
    return folder


def _write_shard(
    store: Store,
    stem: str,
    family: str,
    number: int,
    made: Iterator[Made],
    most: int,
    shards: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    starts: list[int] = []
    sink = io.BytesIO()
    tar = TarWriter(sink)
    for segments, media in made:
        starts.append(tar.bytes)
        rows.append(_sample(tar, family, number, len(rows), segments, media))
        if len(rows) == most:
            break
    if not rows:
        return []
    starts.append(tar.bytes)
    sha256 = tar.finish()
    path = f"{stem}-{number:06d}.tar"
    store.write(path, sink.getvalue())
    store.write(f"{path}.idx", struct.pack(f"<{len(starts)}Q", *starts))
    table = pa.Table.from_pylist(rows, EXPORT_INDEX)
    index = write_table(store, f"index/{stem}-{number:06d}.parquet", table, EXPORT_INDEX, {})
    shards.append(
        {
            "shard": number,
            "path": path,
            "samples": len(rows),
            "bytes": tar.bytes,
            "sha256": sha256,
            "index_sha256": index,
        }
    )
    return rows


def _sample(
    tar: TarWriter, family: str, shard: int, row: int, segments: list[Segment], media: Media
) -> dict[str, Any]:
    hashes = [hashlib.sha256(data).hexdigest() for _, data in media]
    told = json.dumps(segments, separators=(",", ":"), ensure_ascii=False)
    uid = content_uid(hashes, told.encode("utf-8", "surrogatepass"))
    meta = dict.fromkeys(("source_url", "domain", "license"), "")
    sample = {
        "family": family,
        "segments": segments,
        "meta": {**meta, "uid": uid, "lineage": "{}", "scores": "{}"},
    }
    text = encode(sample)  # type: ignore[arg-type]
    members = [
        {"ext": "json", "offset": tar.add(f"{uid}.json", text), "size": len(text), "sha256": None}
    ]
    for (name, data), sha256 in zip(media, hashes, strict=True):
        offset = tar.add(f"{uid}.{name}", data)
        members.append({"ext": name, "offset": offset, "size": len(data), "sha256": sha256})
    return {
        "shard": shard,
        "row": row,
        "uid": uid,
        "key": uid,
        "family": family,
        "members": members,
        "segments": told,
        "license": None,
        "domain": None,
        "language": None,
        "source_shard": shard,
        "source_row": row,
    }
