"""Hands a built pack from a worker to the trainer through memory that both map.

A message is one file handle over a Unix socket. The file has no name, so it is gone with the last
process that holds it: JSON with names, types and places, then the arrays, each at a multiple of 64.
"""

import contextlib
import json
import mmap
import os
import tempfile
from dataclasses import asdict
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from curation.core.errors import RunError
from curation.trainer.pack import Built, Failure

_ALIGNED = 64
_LENGTH = 8
"""Bytes that tell the length of the JSON."""


def send(pipe: Connection, pack: Built | Exception) -> None:
    """Passes a pack on, or why there is none."""
    places: list[tuple[str, str, list[int], int]] = []
    end = 0
    arrays = {} if isinstance(pack, Exception) else pack.arrays
    for name, array in arrays.items():
        start = -(-end // _ALIGNED) * _ALIGNED
        places.append((name, array.dtype.str, list(array.shape), start))
        end = start + array.nbytes
    told: dict[str, Any] = {"arrays": places}
    if isinstance(pack, Exception):
        told["error"] = str(pack)
    else:
        failures = [asdict(failure) for failure in pack.failures]
        told |= {"families": pack.families, "ids": pack.ids, "failures": failures}
    header = json.dumps(told).encode()
    body = -(-(_LENGTH + len(header)) // _ALIGNED) * _ALIGNED
    handle = _anonymous()
    try:
        os.ftruncate(handle, body + end)
        with mmap.mmap(handle, body + end) as memory:
            memory[:_LENGTH] = len(header).to_bytes(_LENGTH, "little")
            memory[_LENGTH : _LENGTH + len(header)] = header
            for (_, _, _, start), array in zip(places, arrays.values(), strict=True):
                if array.nbytes:
                    target = np.frombuffer(memory, array.dtype, array.size, body + start)
                    target[:] = array.reshape(-1)
                    del target  # a mapped file cannot be closed while an array lies in it
        reduction.send_handle(pipe, handle, None)  # the process is asked for on Windows only
    finally:
        os.close(handle)


def receive(pipe: Connection) -> Built:
    """The next pack; its arrays lie in the worker's memory and free it when they go.

    Raises RunError with the worker's words, EOFError or OSError where it is gone.
    """
    handle = reduction.recv_handle(pipe)
    try:
        memory = mmap.mmap(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)
    length = int.from_bytes(memory[:_LENGTH], "little")
    told = json.loads(memory[_LENGTH : _LENGTH + length])
    if "error" in told:
        raise RunError(told["error"])
    body = -(-(_LENGTH + length) // _ALIGNED) * _ALIGNED
    arrays = {}
    for name, dtype, shape, start in told["arrays"]:
        count = int(np.prod(shape))
        flat = np.frombuffer(memory, dtype, count, body + start) if count else np.empty(0, dtype)
        arrays[name] = flat.reshape(shape)
    failures = [Failure(**failure) for failure in told["failures"]]
    return Built(arrays, told["families"], told["ids"], failures)


def _anonymous() -> int:
    """Handle of a file without a name, in memory where the system has such."""
    with contextlib.suppress(AttributeError):
        return os.memfd_create("curation-pack")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
