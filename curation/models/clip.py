"""CLIP models of open_clip, loaded: with their own preprocessing and tokenizer.

Nothing is ever unpickled but tensors. torch and open_clip are imported only to load.
"""

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from curation.core.errors import RunError, UsageError
from curation.models.clip_source import (
    CONFIG_FILE,
    RANDOM_SEED,
    ClipSource,
    damaged,
    first_line,
    model_config,
    quiet,
    weights_path,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image

TEXT_LOOK = 4_096
"""Characters of a text that are tokenized: a model sees some 77 tokens, and the time that
open_clip's tokenizer takes is quadratic in the length of a word."""

_WORDS_KEPT = 1 << 18
"""Words whose tokens open_clip's tokenizer remembers; it would never forget one."""


@dataclass(frozen=True)
class ClipModel:
    """A model that is ready to encode, with open_clip's own preprocessing and tokenizer."""

    module: Any
    preprocess: Callable[["Image.Image"], "torch.Tensor"]
    tokenizer: Any
    device: str
    dtype: str
    size: tuple[int, int]
    """Height and width of a preprocessed image."""
    _tokenizing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def tokenize(self, texts: list[str]) -> "torch.Tensor":
        """(texts, context length) token ids of the texts' first `TEXT_LOOK` characters."""
        with self._tokenizing:  # tokenizers are not made for threads
            known = getattr(self.tokenizer, "cache", None)
            if isinstance(known, dict) and len(known) > _WORDS_KEPT:
                special = len(self.tokenizer.all_special_ids)
                for word in list(known)[special:]:
                    del known[word]
            ids: torch.Tensor = self.tokenizer([text[:TEXT_LOOK] for text in texts])
        return ids

    def images(self, pixels_BCHW: "torch.Tensor") -> "torch.Tensor":  # noqa: N803
        """(B, dim) normalised float32 embeddings, on the model's device."""
        import torch

        kind = torch.bfloat16 if self.dtype == "bfloat16" else torch.float32
        given = pixels_BCHW.to(self.device, kind, non_blocking=True)
        return torch.nn.functional.normalize(self.module.encode_image(given).float(), dim=-1)

    def texts(self, tokens_BL: "torch.Tensor") -> "torch.Tensor":  # noqa: N803
        """(B, dim) normalised float32 embeddings, on the model's device."""
        import torch

        given = tokens_BL.to(self.device, non_blocking=True)
        return torch.nn.functional.normalize(self.module.encode_text(given).float(), dim=-1)


@contextlib.contextmanager
def computing(threads: int) -> Iterator[None]:
    """Inference with a fixed number of intra-op threads and no TF32."""
    import torch

    before = torch.get_num_threads()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def load_clip(
    source: ClipSource, *, device: str = "cpu", dtype: str = "float32", fresh: bool = False
) -> ClipModel:
    """The model with its weights, or `fresh` ones to train, through open_clip's own factory.

    Raises UsageError or RunError, one line each: no such model or tag, weights of another
    architecture, a file that was cut short, a file that holds more than tensors, a tokenizer or
    weights that would have to be downloaded.
    """
    config = model_config(source)
    path = None if fresh else weights_path(source)
    import open_clip
    import torch

    name = f"local-dir:{source.folder}" if source.folder else source.model
    with quiet(), torch.random.fork_rng([]):
        torch.manual_seed(RANDOM_SEED)
        try:
            module, _, preprocess = open_clip.create_model_and_transforms(
                name,
                source.pretrained or None,
                load_weights=False,
                precision={"float32": "fp32", "bfloat16": "bf16"}[dtype],
                device=device,
                pretrained_text=False,
            )
            tokenizer = open_clip.get_tokenizer(name, **_tokenizer_files(config, source.folder))
        except (ImportError, OSError, RuntimeError, ValueError, TypeError) as error:
            raise RunError(
                f"CLIP model {source.model} cannot be set up: {first_line(error)}"
            ) from error
        if path is not None:
            _load_weights(module, path, f"its {CONFIG_FILE}" if source.folder else source.model)
    module.eval().requires_grad_(False)
    size = module.visual.image_size
    return ClipModel(
        module=module,
        preprocess=preprocess,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        size=tuple(size) if isinstance(size, list | tuple) else (size, size),
    )


def _tokenizer_files(config: dict[str, Any], folder: Path | None) -> dict[str, str]:
    """A vocabulary that lies in the model's folder, by its full path."""
    own = config["text_cfg"].get("tokenizer_kwargs", {}).get("bpe_path")
    return {"bpe_path": str(folder / Path(own).name)} if own and folder else {}


_MISFITS = (
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    StopIteration,
)
"""What open_clip raises on weights that are not the model's."""


def _load_weights(module: Any, path: Path, model: str) -> None:
    from open_clip import load_checkpoint

    try:
        load_checkpoint(module, str(path), strict=True, weights_only=True)
    except (SafetensorError, EOFError, OSError) as error:
        raise damaged(path, error) from error
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path}: not a file of tensors alone; anything else is not unpickled, as it could run "
            "code (convert it to .safetensors where you trust it)"
        ) from error
    except _MISFITS as error:
        said = str(error)
        if "PytorchStreamReader" in said or "zip archive" in said:
            raise damaged(path) from error
        there, fitting = len(module.state_dict()), _fitting(module, path)
        raise UsageError(
            f"{path}: weights of another architecture than {model} ({fitting:,} of the model's "
            f"{there:,} tensors are in it with their shape); name the model that they are of"
        ) from error


def _fitting(module: Any, path: Path) -> int:
    """How many of the model's tensors a weights file holds, by name and shape."""
    from open_clip.factory import load_state_dict

    try:
        found = load_state_dict(str(path), weights_only=True)
        return sum(
            getattr(found.get(name), "shape", None) == tensor.shape
            for name, tensor in module.state_dict().items()
        )
    except _MISFITS:  # no tensors by name at all
        return 0
