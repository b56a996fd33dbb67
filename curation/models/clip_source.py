"""Which CLIP model and which weights: how they are named, found, fetched and told apart.

A model is `demo` (shipped, see `demo_clip/README.md`), a name that open_clip knows, or `local`: a
folder in open_clip's own layout (`open_clip_config.json`, weights, tokenizer). What a fingerprint
needs is read from files: torch and open_clip are imported only where a tag has to be looked up.
"""

import contextlib
import difflib
import importlib.util
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from curation.core.errors import RunError, UsageError
from curation.core.fingerprint import digest, file_sha256

DEMO = "demo"
LOCAL = "local"
DEMO_FOLDER = Path(__file__).parent / "demo_clip"
CONFIG_FILE = "open_clip_config.json"

RANDOM_SEED = 0
"""Of the weights of a model without any: for tests and timings."""

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
_NOTES = ("README.md", "metrics.json")
"""Files of a model's folder that change no score."""


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


def check_weights(source: ClipSource) -> None:
    """Finds a model's weights, downloads them where they are a tag's, and looks if they are whole.

    Nothing is loaded. Raises as `load_clip` does; that weights fit the model is seen only there.
    """
    path = weights_path(source)
    if path is None:
        return
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="np"):  # reads the header, and compares sizes
                return
        with path.open("rb") as file:
            start = file.read(4)
        cut = not start or (start == b"PK\x03\x04" and not zipfile.is_zipfile(path))
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error
    if cut:
        raise damaged(path)


def damaged(path: Path, error: BaseException | None = None) -> UsageError:
    """What is said of a weights file that is not whole."""
    why = f" ({first_line(error)})" if error else ""
    return UsageError(f"{path}: the weights file is damaged or was cut short; fetch it again{why}")


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
        with quiet():  # the hub tells of every retry
            return Path(download_pretrained(tag))
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"the weights {source.model} {source.pretrained} are not on this machine and cannot be "
            f"downloaded ({first_line(_root(error))}); fetch the file elsewhere and name it with "
            "checkpoint"
        ) from error


def _root(error: BaseException) -> BaseException:
    """What an error came from in the first place: clients wrap what the network said."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def first_line(error: BaseException) -> str:
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what libraries log and warn of: what goes wrong is raised, and told in one line.

    open_clip warns that no weights were loaded before they are.
    """
    root = logging.getLogger()
    before = root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
