"""What a run tells about each step: JSON lines and TensorBoard.

OUT/metrics.jsonl      a StepRecord a line
OUT/spikes.jsonl       steps that stand out, with the samples they were made of
OUT/quarantine.jsonl   samples that could not be decoded (the loader writes it)
OUT/tensorboard/       the numbers of each step as curves
"""

import json
import math
import resource
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch

METRICS = "metrics.jsonl"
SPIKES = "spikes.jsonl"
QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step over all processes. What was not measured is null."""

    step: int
    """From 1."""
    loss: float
    """Normalised over the step, as it is learnt, without balance losses."""
    losses: dict[str, float] = field(default_factory=dict)
    """Mean cross-entropy of a token, for each family that the step has."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    skipped: bool = False
    """The gradient was not finite: nothing was updated."""
    tokens: int
    """Without padding."""
    supervised_tokens: int
    samples: int
    quarantined: int = 0
    """Samples that could not be decoded: in their place, unlearnt."""
    seconds: float
    data_wait: float
    """Seconds that a process waited for the loader, on average."""
    tokens_per_second: float
    supervised_per_second: float
    tflops: float
    """Model FLOPs a second and device, in 10^12."""
    mfu: float | None
    """Model FLOPs per second as a share of what the devices can do at their best."""
    hfu: float | None
    """The same with what is computed twice to spare memory."""
    memory: int
    """Most bytes a process held: of the device on a GPU, of the process on a CPU."""
    balance_loss: float | None = None
    """Sequence-level balance loss of the experts, before its weight."""
    busiest_expert: float | None = None
    """Tokens of the most asked expert over the mean, the worst layer's."""


_PEAKS = (  # dense bfloat16 FLOP/s by the vendor's data sheet; the first name that occurs
    ("B200", 2.25e15),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("H800", 989e12),
    ("L40S", 362e12),
    ("RTX 4090", 165e12),
)


def peak_flops(device: torch.device) -> float | None:
    """Dense bfloat16 FLOP/s of a device; null where it is not in the list, a CPU for one."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for known, peak in _PEAKS if known in name), None)


def memory_held(device: torch.device) -> int:
    """Most bytes held so far: reserved on the GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Watcher(Protocol):
    """Who shows the run to a person."""

    def step(self, record: StepRecord) -> None:
        """A step is done."""

    def say(self, line: str) -> None:
        """Tells one line."""


class MetricsLog:
    """Writes the records of a run; on a resumed one, after the step it goes on from."""

    def __init__(self, folder: Path, after: int) -> None:
        self._folder = folder
        for name in (METRICS, SPIKES):
            _cut(folder / name, after)
        _cut(folder / QUARANTINE, after - 1)  # the loader counts steps from 0
        self._lines = (folder / METRICS).open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", after)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        if self._board is not None:
            self._board.close()

    def write(self, record: StepRecord) -> None:
        """One line, and one point on every curve."""
        told = {key: value for key, value in asdict(record).items() if value is not None}
        self._lines.write(json.dumps(_finite(told), allow_nan=False) + "\n")
        self._lines.flush()
        if self._board is None:
            return
        losses = told.pop("losses")
        for family, loss in losses.items():
            self._board.add_scalar(f"loss/{family}", loss, record.step)
        for key, value in told.items():
            if key != "step":
                self._board.add_scalar(key, float(value), record.step)

    def spike(self, step: int, lines: list[str], samples: list[str]) -> None:
        """A step that stands out, and what it was made of."""
        with (self._folder / SPIKES).open("a", encoding="utf-8") as file:
            told = {"step": step, "spikes": lines, "samples": samples}
            file.write(json.dumps(told, ensure_ascii=False) + "\n")


def _finite(told: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is not finite is null."""
    return {
        key: _finite(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for key, value in told.items()
    }


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of a run so far; a line cut short by a kill is left out."""
    return _whole_lines(folder / METRICS)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # only the last line can be cut short
    return found


def _cut(path: Path, after: int) -> None:
    """Leaves the lines of the steps up to `after`: those later are about to be made again."""
    kept = [line for line in _whole_lines(path) if line["step"] <= after]
    if not path.exists():
        return
    aside = path.with_suffix(".tmp")
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _board(folder: Path, after: int) -> Any:
    """A TensorBoard writer, or nothing where tensorboard is not installed (extra `train`)."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=after + 1)
