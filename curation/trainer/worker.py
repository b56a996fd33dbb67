"""A loader worker: builds the packs it is asked for, one behind another."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from curation.core.errors import CurationError
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
            try:
                send(pipe, builder.build(slots))
            except CurationError as error:
                send(pipe, error)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
