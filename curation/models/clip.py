"""CLIP models of open_clip: how one is named, where its weights are, and how it is loaded.

A model is `demo` (shipped, see `demo_clip/README.md`), a name that open_clip knows, or `local`: a
folder in open_clip's own layout (`open_clip_config.json`, weights, tokenizer). Nothing is ever
unpickled but tensors. torch and open_clip are imported only to load: what a fingerprint needs is
read from their files.
"""

import contextlib
import difflib
import importlib.util
import json
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.core.errors import RunError, UsageError
from curation.core.fingerprint import digest, file_sha256

if TYPE_CHECKING:
    import torch
    from PIL import Image

DEMO = "demo"
LOCAL = "local"
DEMO_FOLDER = Path(__file__).parent / "demo_clip"
CONFIG_FILE = "open_clip_config.json"

RANDOM_SEED = 0
"""Of the weights of a model without any: for tests and timings."""

TEXT_LOOK = 4_096
"""Characters of a text that are tokenized: a model sees some 77 tokens, and the time that
open_clip's tokenizer takes is quadratic in the length of a word."""

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
_NOTES = ("README.md", "metrics.json")
"""Files of a model's folder that change no score."""

_WORDS_KEPT = 1 << 18
"""Words whose tokens open_clip's tokenizer remembers; it would never forget one."""


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """Which model, and which weights."""

    model: str
    pretrained: str = ""
    """Tag that open_clip knows; empty for random weights, where there is no checkpoint either."""
    checkpoint: str = ""
    """Weights file of a named model, or the folder of a `local` one."""

    @property
    def folder(self) -> Path | None:
        """Folder in open_clip's layout, of a model that comes as one."""
        if self.model == DEMO:
            return DEMO_FOLDER
        return Path(self.checkpoint) if self.model == LOCAL and self.checkpoint else None


@lru_cache(maxsize=1)
def _package() -> Path:
    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        raise UsageError("CLIP needs open_clip_torch, which is not installed: `make setup`")
    return Path(found.origin).parent


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """Every name that open_clip has an architecture for, and `demo` and `local`."""
    found = sorted(path.stem for path in (_package() / "model_configs").glob("*.json"))
    return (DEMO, LOCAL, *found)


def model_config(source: ClipSource) -> dict[str, Any]:
    """Architecture of the model as open_clip describes it; empty for a `local` one without folder.

    Raises UsageError for a model that does not exist.
    """
    folder = source.folder
    if folder is not None:
        return _read_config(folder / CONFIG_FILE)
    if source.model == LOCAL:
        return {}
    if source.model not in model_names():
        raise UsageError(f"no CLIP model {source.model!r}{_near(source.model, model_names())}")
    text = (_package() / "model_configs" / f"{source.model}.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


def _near(name: str, names: tuple[str, ...]) -> str:
    if name.startswith("hf-hub:"):
        return f"; download its folder, and name it: model={LOCAL} checkpoint=FOLDER"
    known = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), known, 4, 0.5)
    if len(names) <= 8:
        return f"; there are: {', '.join(names) or 'none'}"
    return f"; there are {', '.join(known[each] for each in close)} and others" if close else ""


def _read_config(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        config: dict[str, Any] = described["model_cfg"]
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            raise KeyError("model_cfg")
    except OSError as error:
        raise UsageError(
            f"{path}: the model's configuration cannot be read ({error.strerror})"
        ) from (error)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a model's configuration of open_clip") from error
    return config


def weights_path(source: ClipSource) -> Path | None:
    """File of the weights, downloaded where it is a tag's; none for random ones.

    Raises UsageError for a tag or file that is not there, RunError where a download fails.
    """
    folder = source.folder
    if source.model == LOCAL and folder is None:
        raise UsageError(f"model={LOCAL} needs checkpoint=FOLDER, one with {CONFIG_FILE} in it")
    if source.model in (DEMO, LOCAL) and source.pretrained:
        raise UsageError(f"the {source.model} model has its own weights: leave pretrained empty")
    if source.checkpoint and (source.pretrained or source.model == DEMO):
        raise UsageError(f"checkpoint={source.checkpoint}: there are weights already; name one")
    if folder is not None:
        files = sorted(path for kind in _WEIGHTS for path in folder.glob(kind))
        preferred = [path for path in files if path.suffix == ".safetensors"] or files
        if len(preferred) != 1:
            raise UsageError(f"{folder}: {len(preferred)} weight files where there should be one")
        return preferred[0]
    if source.checkpoint:
        path = Path(source.checkpoint)
        if not path.is_file():
            raise UsageError(f"{path}: no such weights file")
        if f"*{path.suffix}" not in _WEIGHTS:
            raise UsageError(f"{path}: weights are .safetensors, .bin, .pt or .pth files")
        return path
    return _downloaded(source) if source.pretrained else None


@lru_cache(maxsize=8)
def _downloaded(source: ClipSource) -> Path:
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.pretrained import download_pretrained

    tag = get_pretrained_cfg(source.model, source.pretrained)
    if not tag:
        if Path(source.pretrained).exists():
            raise UsageError(f"{source.pretrained}: name a file with checkpoint, not pretrained")
        near = _near(source.pretrained, tuple(list_pretrained_tags_by_model(source.model)))
        raise UsageError(f"{source.model} has no weights {source.pretrained!r}{near}")
    if tag.get("quick_gelu", False) != model_config(source).get("quick_gelu", False):
        raise UsageError(
            f"weights {source.pretrained} need the other activation: use model="
            f"{source.model.removesuffix('-quickgelu')}{'-quickgelu' * bool(tag.get('quick_gelu'))}"
        )
    try:
        return Path(download_pretrained(tag))
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"the weights {source.model} {source.pretrained} are not on this machine and cannot be "
            f"downloaded ({_line(error)}); fetch the file elsewhere and name it with checkpoint"
        ) from error


def _line(error: BaseException) -> str:
    """The first line of a message, not too long."""
    said = str(error).strip().split("\n", 1)[0][:160]
    return said or type(error).__name__


def weights_name(source: ClipSource) -> str:
    """SHA-256 of the weights (of a folder: of all it holds but notes), or how they are drawn."""
    path = weights_path(source)
    return f"random, seed {RANDOM_SEED}" if path is None else _content(source.folder or path)


def checkpoint_sha256(source: ClipSource) -> str:
    """Name of the content of a checkpoint. Raises UsageError where it cannot be read."""
    return _content(Path(source.checkpoint))


def _content(path: Path) -> str:
    try:
        if not path.is_dir():
            return file_sha256(str(path))
        files = sorted(entry for entry in path.iterdir() if entry.is_file())
        told = {e.name: file_sha256(str(e)) for e in files if e.name not in _NOTES}
    except OSError as error:
        raise UsageError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    return digest(told)


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
    with warnings.catch_warnings(), _quiet(), torch.random.fork_rng([]):
        warnings.simplefilter("ignore")
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
            raise RunError(f"CLIP model {source.model} cannot be set up: {_line(error)}") from error
        if path is not None:
            _load_weights(module, path, source.model)
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning that no weights were loaded: they are, after it."""
    import logging

    root = logging.getLogger()
    before = root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


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
    from safetensors import SafetensorError

    try:
        load_checkpoint(module, str(path), strict=True, weights_only=True)
    except (SafetensorError, EOFError, OSError) as error:
        raise UsageError(
            f"{path}: the weights file is damaged or was cut short; fetch it again ({_line(error)})"
        ) from error
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path}: not a file of tensors alone; anything else is not unpickled, as it could run "
            "code (convert it to .safetensors where you trust it)"
        ) from error
    except _MISFITS as error:
        said = str(error)
        if "PytorchStreamReader" in said or "zip archive" in said:
            raise UsageError(f"{path}: the weights file is damaged or was cut short") from error
        last = said.strip().rsplit("\n", 1)[-1].strip()[:160] or type(error).__name__
        raise UsageError(
            f"{path}: weights of another architecture than {model} ({last})"
        ) from error
