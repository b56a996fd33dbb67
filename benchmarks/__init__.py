"""Timings, beside what the same work costs when done plainly. `make bench` prints them all."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: as in the engine's workers
