"""`export`, hashing included, against `cp` of the same bytes, both synced."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import REALDATA, WITHOUT_CLIP, Figure
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.pipeline.export import export
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.run import decide_and_save
from jobs.image_text import recipe

PAIRS = 20_000
ATTEMPTS = 3


def _drop_caches() -> None:
    os.sync()
    subprocess.run(
        ["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"], check=False, stderr=subprocess.DEVNULL
    )


def drawn(folder: Path, pairs: int) -> Corpus:
    """What a run keeps of generated pairs: files of 28 KB on average."""
    source = folder / "source"
    generate = ["-m", "curation.demo", "generate", "--out", str(source), "--pairs", str(pairs)]
    subprocess.run([sys.executable, *generate], check=True)
    run = ["-m", "curation", "run", "image-text", "--input", str(source / "source")]
    run += [*WITHOUT_CLIP, "--out", str(folder / "run")]
    subprocess.run([sys.executable, *run], check=True, capture_output=True)
    return open_corpus(str(folder / "run"))


def photographed(folder: Path, pairs: int) -> Corpus:
    """Real pictures, 122 KB on average, each many times under captions of its own; all kept."""
    pictures = sorted((REALDATA / "pairs" / "images").iterdir())
    source = folder / "real"
    shutil.copytree(REALDATA / "pairs" / "images", source / "images")
    with (source / "pairs.jsonl").open("w") as file:
        for number in range(pairs):
            picture = pictures[number % len(pictures)].name
            row = {"image": f"images/{picture}", "text": f"Picture {number}: {picture}"}
            file.write(json.dumps(row) + "\n")
    everything = dataclasses.replace(recipe(), operators=(), stages=())
    with LocalEngine() as engine:
        request = IngestRequest(source=str(source))
        corpus = ingest(request, str(folder / "real-corpus"), engine, SILENT)
        return decide_and_save(corpus, everything, [], engine, SILENT)


def against_cp(corpus: Corpus, folder: Path, what: str) -> Figure:
    """Bytes a second of the exported tars, from cold caches where the machine allows it."""
    ours, theirs, size = [], [], 0
    options = dataclasses.replace(recipe().export, scores=())
    for _ in range(ATTEMPTS):
        _drop_caches()
        start = time.perf_counter()
        with LocalEngine() as engine:
            export(corpus, str(folder / "export"), options, engine, SILENT)
        os.sync()
        ours.append(time.perf_counter() - start)
        tars = list((folder / "export").glob("*.tar"))
        size = sum(tar.stat().st_size for tar in tars)
        (folder / "copy").mkdir()
        _drop_caches()
        start = time.perf_counter()
        subprocess.run(["cp", "--reflink=never", *map(str, tars), str(folder / "copy")], check=True)
        os.sync()
        theirs.append(time.perf_counter() - start)
        shutil.rmtree(folder / "copy")
        shutil.rmtree(folder / "export")
    rate, peer = size / min(ours), size / min(theirs)
    return Figure(
        f"export of {size / 1e9:.2f} GB of {what} against cp",
        f"{rate / peer:.2f}x ({rate / 1e6:,.0f} against {peer / 1e6:,.0f} MB/s)",
        "0.3x",
        rate >= 0.3 * peer,
    )


def figures(pairs: int = PAIRS) -> list[Figure]:
    """Of small and of usual files."""
    with tempfile.TemporaryDirectory(prefix="bench-export-") as name:
        folder = Path(name)
        return [
            against_cp(photographed(folder, pairs), folder, "real pictures"),
            against_cp(drawn(folder, pairs), folder, "generated pairs"),
        ]
