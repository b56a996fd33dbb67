"""The small captioner within a worker: pictures and tokens a second, against the model alone."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch

from benchmarks.figure import Figure
from curation.core.operator import IMAGE
from curation.demo.generate import Plan, generate
from curation.engines.local import LocalEngine
from curation.models.captioner import DEMO_CAPTIONER, Captioner
from curation.models.clip import computing
from curation.models.glm4v.decoder import TokenLayout
from curation.operators.vision_language.chat_operator import EMBEDDED
from curation.operators.vision_language.recaption import Recaption
from curation.operators.vision_language.recaption_embedded import EmbeddedRecaptioner

PAIRS = 256
ROUNDS = 3


def _pairs(folder: Path) -> tuple[list[bytes], list[str]]:
    """Pictures and captions of drawn pairs that have both."""
    with LocalEngine(workers=0) as engine:
        generate(folder, Plan(pairs=PAIRS), engine)
    source = folder / "source"
    rows = map(json.loads, (source / "pairs.jsonl").read_text(encoding="utf-8").splitlines())
    there = [r for r in rows if (source / r["image"]).is_file() and (r["caption"] or "").strip()]
    return [(source / r["image"]).read_bytes() for r in there], [r["caption"] for r in there]


def figures() -> list[Figure]:
    """One thread, as a worker has it."""
    with tempfile.TemporaryDirectory(prefix="bench-captioner-") as name:
        images, texts = _pairs(Path(name))
    columns = [pa.array(images, IMAGE.type), pa.array(texts)]
    batch = pa.RecordBatch.from_arrays(columns, ["image", "text"])
    operator = Recaption(model=EMBEDDED, floor="")
    opened, captioner = operator.open(), Captioner(DEMO_CAPTIONER)
    assert isinstance(opened, EmbeddedRecaptioner)
    known = opened(batch)["error"].is_null().to_pylist()
    batch = batch.filter(pa.array(known))
    requests = [opened.request(batch, row) for row in range(batch.num_rows)]
    made = opened(batch)
    told = sum(made["recaption_tokens_out"].to_pylist())
    read = sum(made["recaption_tokens_in"].to_pylist())

    def forward() -> None:
        """Every request read once, no answer written: what no captioner can do without."""
        for request in requests:
            packed = captioner.pack(request)
            layout = TokenLayout.of(packed, captioner.model.config.text)
            captioner.model.decode(captioner.model.embeddings(packed), layout)

    parts: dict[str, Callable[[], object]] = {
        "operator": lambda: opened(batch),
        "model": lambda: captioner.answers(requests, operator.max_tokens),
        "reading": forward,
    }
    seconds = dict.fromkeys(parts, float("inf"))
    with computing(1), torch.no_grad():
        for _ in range(ROUNDS):  # by turns, so that another's load falls on all
            for name, part in parts.items():
                start = time.perf_counter()
                part()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    rates = ", ".join(f"{name} {len(requests) / spent:.1f}" for name, spent in seconds.items())
    ratio = seconds["model"] / seconds["operator"]
    return [
        Figure(
            "recaption, embedded model, one thread: against its model alone on laid-out requests",
            f"{ratio:.2f}x ({rates} images/s; {told / seconds['operator']:,.0f} tokens/s written, "
            f"{read / seconds['operator']:,.0f} read)",
            "stated",
            True,
        )
    ]
