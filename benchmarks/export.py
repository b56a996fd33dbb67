"""`export`, hashing included, against `cp` of the same bytes, both synced."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.figure import WITHOUT_CLIP, Figure
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.pipeline.export import export
from jobs.image_text import recipe

PAIRS = 20_000


def _drop_caches() -> None:
    os.sync()
    subprocess.run(
        ["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"], check=False, stderr=subprocess.DEVNULL
    )


def figures(pairs: int = PAIRS) -> list[Figure]:
    """Bytes a second of the exported tars, from cold caches where the machine allows it."""
    with tempfile.TemporaryDirectory(prefix="bench-export-") as name:
        folder = Path(name)
        source = folder / "source"
        command = [
            "python",
            "-m",
            "curation.demo",
            "generate",
            "--out",
            str(source),
            "--pairs",
            str(pairs),
        ]
        subprocess.run([os.sys.executable, *command[1:]], check=True)
        run = [
            "-m",
            "curation",
            "run",
            "image-text",
            "--input",
            str(source / "source"),
            *WITHOUT_CLIP,
            "--out",
        ]
        subprocess.run(
            [os.sys.executable, *run, str(folder / "run")], check=True, capture_output=True
        )
        corpus = open_corpus(str(folder / "run"))
        ours, theirs = [], []
        for attempt in range(3):
            _drop_caches()
            start = time.perf_counter()
            with LocalEngine() as engine:
                export(corpus, str(folder / f"export-{attempt}"), recipe().export, engine, SILENT)
            os.sync()
            ours.append(time.perf_counter() - start)
            tars = list((folder / f"export-{attempt}").glob("*.tar"))
            size = sum(tar.stat().st_size for tar in tars)
            (folder / "copy").mkdir()
            _drop_caches()
            start = time.perf_counter()
            subprocess.run(
                ["cp", "--reflink=never", *map(str, tars), str(folder / "copy")], check=True
            )
            os.sync()
            theirs.append(time.perf_counter() - start)
            subprocess.run(["rm", "-rf", str(folder / "copy")], check=True)
        rate, peer = size / min(ours), size / min(theirs)
    return [
        Figure(
            f"export of {size / 1e9:.2f} GB against cp",
            f"{rate / peer:.2f}x ({rate / 1e6:,.0f} against {peer / 1e6:,.0f} MB/s)",
            "0.3x",
            rate >= 0.3 * peer,
        )
    ]
