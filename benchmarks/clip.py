"""`clip` with ViT-B/32 and random weights, against bare decoding plus a bare forward pass."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import torch
from PIL import Image, ImageOps

from benchmarks.figure import REALDATA, Figure, best
from curation.core.operator import IMAGE
from curation.models.clip import computing, load_clip
from curation.operators.vision_language.clip import Clip

_IMAGES = 64
_BATCH = 32
_ROUNDS = 3


def figures() -> list[Figure]:
    """Pairs a second on real photographs; all three use every core, on batches of one shape."""
    cores = os.cpu_count() or 1
    files = sorted((REALDATA / "pairs" / "images").glob("*.jpg"))[:_IMAGES]
    data = [file.read_bytes() for file in files]
    texts = [f"a photograph called {file.stem}" for file in files]
    columns = [pa.array(data, IMAGE.type), pa.array(texts)]
    batch = pa.RecordBatch.from_arrays(columns, ["image", "text"])
    operator = Clip(model="ViT-B-32", floor="", batch_size=_BATCH, threads=cores, device="cpu")
    opened = operator.open()
    model = load_clip(operator.source)
    starts = range(0, len(data), _BATCH)

    def one(encoded: bytes) -> torch.Tensor:
        with Image.open(io.BytesIO(encoded)) as image:
            return model.preprocess(ImageOps.exif_transpose(image))

    def decode() -> list[torch.Tensor]:
        with ThreadPoolExecutor(cores) as pool:
            return list(pool.map(one, data))

    decoded = decode()
    pixels = [torch.stack(decoded[start : start + _BATCH]) for start in starts]
    tokens = [model.tokenize(texts[start : start + _BATCH]) for start in starts]

    def forward() -> None:
        with computing(cores):
            for images, captions in zip(pixels, tokens, strict=True):
                model.images(images)
                model.texts(captions)

    parts = {"operator": lambda: opened(batch), "decode": decode, "forward": forward}
    seconds = dict.fromkeys(parts, float("inf"))
    for _ in range(_ROUNDS):  # by turns, so that another's load falls on all three
        for name, part in parts.items():
            seconds[name] = min(seconds[name], best(part, 1))
    ratio = seconds["operator"] / (seconds["decode"] + seconds["forward"])
    rates = ", ".join(f"{name} {len(data) / spent:.1f}" for name, spent in seconds.items())
    return [
        Figure(
            "clip, ViT-B/32 on CPU: time against bare decode + preprocess plus bare forward",
            f"{ratio:.2f}x ({rates} pairs/s)",
            "at most 1.1x",
            ratio <= 1.1,
        )
    ]
