"""`image_probe` over a shard, as `measure` reads it, against a bare Image.open loop."""

import tempfile

from PIL import Image

from benchmarks.figure import REALDATA, Figure, best
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.media import batches
from curation.operators.image.probe import ImageProbe
from curation.pipeline.ingest import IngestRequest, ingest


def figures() -> list[Figure]:
    """Images a second on the real pairs, one core each, the reading of every byte included."""
    files = sorted((REALDATA / "pairs" / "images").iterdir())
    opened = ImageProbe().open()

    def bare() -> None:
        for file in files:
            with Image.open(file) as image:
                assert image.size

    with tempfile.TemporaryDirectory(prefix="bench-probe-") as name:
        request = IngestRequest(source=str(REALDATA / "pairs"))
        corpus = ingest(request, name, LocalEngine(workers=0), SILENT)

        def ours() -> None:
            for shard in corpus.shards:
                for batch in batches(corpus.store, shard.shard, images=True):
                    opened(batch)

        rate, peer = corpus.samples / best(ours), len(files) / best(bare)
    return [
        Figure(
            "image_probe (shard read whole) against Image.open (reads headers only)",
            f"{rate / peer:.2f}x ({rate:,.0f} against {peer:,.0f} images/s)",
            "0.6x",
            rate >= 0.6 * peer,
        )
    ]
