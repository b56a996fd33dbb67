"""A job for `ray job submit`: a test's recipe on the cluster that it was submitted to."""

import sys

from curation.core.limits import Limits
from curation.core.progress import SILENT
from curation.engines.ray import RayEngine
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.run import run
from tests.engines.halves import halved_recipe

LIMITS = Limits(deadline=2.0, memory=3 << 30)
SHARD_SAMPLES = 10


def main(source: str, out: str, how: str, half: str, pause: str) -> None:
    request = IngestRequest(source=source, options=SourceOptions(shard_samples=SHARD_SAMPLES))
    with RayEngine(scratch=f"{out}.scratch", memory="500MB", limits=LIMITS, patience=5.0) as engine:
        run(halved_recipe(how, half, float(pause)), request, out, engine, SILENT)


if __name__ == "__main__":
    main(*sys.argv[1:])
