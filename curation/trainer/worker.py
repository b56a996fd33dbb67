"""A loader worker: builds the packs it is asked for, one behind another.

What goes wrong is sent in the pack's place, so that the trainer tells it in the worker's words.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from curation.core.errors import CurationError, RunError
from curation.models.glm4v.processor import Processor
from curation.trainer.handover import send
from curation.trainer.pack import PackBuilder, Slot
from curation.trainer.plan import PlannedCorpus


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker must know of the plan."""

    corpora: tuple[PlannedCorpus, ...]
    processor: Processor
    seq_len: int


def serve(pipe: Connection, setup: WorkerSetup) -> None:
    """Answers each list of slots with its pack, until the other end is closed."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends its workers
    torch.set_num_threads(1)  # workers share the cores already
    builder = PackBuilder(setup.corpora, setup.processor, setup.seq_len)
    while True:
        try:
            slots: Sequence[Slot] = pipe.recv()
            _answer(pipe, builder, slots)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _answer(pipe: Connection, builder: PackBuilder, slots: Sequence[Slot]) -> None:
    """Sends the pack, or what went wrong. Raises BrokenPipeError where nobody listens any more."""
    try:
        send(pipe, builder.build(slots))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except MemoryError:
        send(pipe, RunError("a loader worker ran out of memory: resume with fewer --workers"))
    except CurationError as error:
        send(pipe, error)
    except Exception as error:  # noqa: BLE001 - told by the trainer: else it looks like a kill
        told = f"a loader worker failed ({error!r:.200}); --workers 0 shows where"
        send(pipe, RunError(told))
