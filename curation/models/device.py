"""Where a model computes, told without importing torch where no GPU is plugged in."""

from functools import lru_cache
from pathlib import Path

from curation.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "bfloat16")


@lru_cache(maxsize=1)
def has_cuda() -> bool:
    """Whether torch sees a CUDA device."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return False
    import torch

    return torch.cuda.is_available()


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulated it is slower than float32."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line.split() for line in told.splitlines() if line.startswith("flags")), [])
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


def resolved_device(device: str) -> str:
    """cpu or cuda; what is asked for by name need not be here to read its layers."""
    return ("cuda" if has_cuda() else "cpu") if device == "auto" else device


def check_device(device: str) -> None:
    """Raises UsageError for a CUDA device that is not here."""
    if device == "cuda" and not has_cuda():
        raise UsageError("device=cuda: no CUDA device is here; use device=cpu or auto")


def resolved_dtype(dtype: str, device: str) -> str:
    """float32 or bfloat16, the latter only where the device has it."""
    return dtype if device == "cuda" or dtype == "float32" or has_bfloat16() else "float32"
