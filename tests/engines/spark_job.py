"""A job for spark-submit: a test's recipe on the cluster that it was submitted to."""

import sys

from curation.engines.spark import SparkEngine
from tests.engines.brittle import LIMITS, brittle_recipe, curate


def main(source: str, out: str, pause: str, breaking: str) -> None:
    with SparkEngine(scratch=f"{out}.scratch", limits=LIMITS) as engine:
        curate(brittle_recipe(float(pause), breaking=breaking == "breaking"), source, out, engine)


if __name__ == "__main__":
    main(*sys.argv[1:])
