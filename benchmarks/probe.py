"""`image_probe` against a bare Image.open loop over the same files."""

import pyarrow as pa
from PIL import Image

from benchmarks.figure import REALDATA, Figure, best
from curation.operators.image.probe import ImageProbe


def figures() -> list[Figure]:
    """Images a second on the real pairs, one core each."""
    files = sorted((REALDATA / "pairs" / "images").iterdir())
    opened = ImageProbe().open()

    def ours() -> None:
        data = [file.read_bytes() for file in files]
        opened(pa.RecordBatch.from_arrays([pa.array(data, pa.large_binary())], ["image"]))

    def bare() -> None:
        for file in files:
            with Image.open(file) as image:
                assert image.size

    rate, peer = len(files) / best(ours), len(files) / best(bare)
    return [
        Figure(
            "image_probe (reading included) against Image.open",
            f"{rate / peer:.2f}x ({rate:,.0f} against {peer:,.0f} images/s)",
            "0.6x",
            rate >= 0.6 * peer,
        )
    ]
