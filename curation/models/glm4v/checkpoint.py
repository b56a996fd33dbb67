"""Checkpoints in the format of Hugging Face, both ways: transformers and vLLM open what we train.

    config.json                     shape and token ids
    generation_config.json          which tokens end an answer
    model-00001-of-00002.safetensors, model.safetensors.index.json

Our matrices hold several of theirs: gate and up of an MLP are one, all experts of a layer are one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from curation.core.errors import UsageError
from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.model import Glm4v

CONFIG: Final = "config.json"
GENERATION: Final = "generation_config.json"
INDEX: Final = "model.safetensors.index.json"
WEIGHTS: Final = "model.safetensors"
SHARD_BYTES: Final = 5 * 10**9

_NAMES: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^vision\.patch\.", "model.visual.patch_embed.proj."),
        (r"^vision\.patch_norm\.", "model.visual.post_conv_layernorm."),
        (r"^vision\.position\.", "model.visual.embeddings.position_embedding."),
        (r"^vision\.blocks\.(\d+)\.attn_norm\.", r"model.visual.blocks.\1.norm1."),
        (r"^vision\.blocks\.(\d+)\.mlp_norm\.", r"model.visual.blocks.\1.norm2."),
        (r"^vision\.norm\.", "model.visual.post_layernorm."),
        (r"^vision\.merger\.norm\.", "model.visual.merger.post_projection_norm."),
        (r"^vision\.merger\.mlp\.", "model.visual.merger."),
        (r"^vision\.", "model.visual."),
        (r"^embed\.", "model.language_model.embed_tokens."),
        (r"^norm\.", "model.language_model.norm."),
        (r"^head\.", "lm_head."),
        (r"^layers\.(\d+)\.attn_norm\.", r"model.language_model.layers.\1.input_layernorm."),
        (r"\.attn_post_norm\.", ".post_self_attn_layernorm."),
        (
            r"^layers\.(\d+)\.mlp_norm\.",
            r"model.language_model.layers.\1.post_attention_layernorm.",
        ),
        (r"\.mlp_post_norm\.", ".post_mlp_layernorm."),
        (r"^layers\.(\d+)\.attn\.([qkvo])\.", r"model.language_model.layers.\1.self_attn.\2_proj."),
        (r"^layers\.", "model.language_model.layers."),
        (r"\.router\.bias$", ".gate.e_score_correction_bias"),
        (r"\.router\.", ".gate."),
        (r"\.shared\.", ".shared_experts."),
        (r"\.gate_up\b", ".gate_up_proj"),
        (r"\.down\b", ".down_proj"),
    )
)


@dataclass(frozen=True)
class Source:
    """What one of our tensors is called there."""

    rows: tuple[tuple[str, ...], ...]
    """Tensors of each row, one below another."""
    stacked: bool
    """Whether rows (experts) are a dimension of their own."""

    def join(self, weights: "_Weights") -> Tensor:
        """Our tensor from theirs."""
        rows = [torch.cat([weights[name] for name in row]) for row in self.rows]
        return torch.stack(rows) if self.stacked else rows[0]

    def split(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Theirs from our tensor."""
        rows = tensor.unbind() if self.stacked else (tensor,)
        for names, row in zip(self.rows, rows, strict=True):
            yield from zip(names, row.chunk(len(names)), strict=True)


def source(name: str, config: Glm4vConfig) -> Source:
    """Where the tensor `name` of our state dict comes from."""
    for pattern, replacement in _NAMES:
        name = pattern.sub(replacement, name)
    fused = config.text.moe is None and ".language_model." in name
    if ".experts." in name:
        assert config.text.moe is not None
        before, last = name.split(".experts.")
        names = [
            f"{before}.experts.{number}.{last}.weight"
            for number in range(config.text.moe.n_routed_experts)
        ]
        return Source(tuple(_parts(name) for name in names), stacked=True)
    return Source(((name,) if fused else _parts(name),), stacked=False)


def _parts(name: str) -> tuple[str, ...]:
    if "gate_up_proj" not in name:
        return (name,)
    return tuple(name.replace("gate_up_proj", f"{part}_proj") for part in ("gate", "up"))


def export(config: Glm4vConfig, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors by Hugging Face's names, as views of those of our state dict."""
    for name, tensor in state.items():
        yield from source(name, config).split(tensor)


def save(
    folder: Path,
    config: Glm4vConfig,
    state: Mapping[str, Tensor],
    *,
    dtype: torch.dtype = torch.bfloat16,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a checkpoint; routers stay float32. `config.json` comes last: without it none opens.

    `state` is `model.state_dict()`, whole tensors on any device; one file at a time is copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    files: list[dict[str, Tensor]] = [{}]
    size = total = 0
    for name, tensor in export(config, state):
        amount = tensor.numel() * _kept(name, dtype).itemsize
        if files[-1] and size + amount > shard_bytes:
            files.append({})
            size = 0
        files[-1][name] = tensor
        size += amount
        total += amount
    where: dict[str, str] = {}
    for number, tensors in enumerate(files, 1):
        file = f"model-{number:05}-of-{len(files):05}.safetensors" if len(files) > 1 else WEIGHTS
        copies = {
            name: tensor.detach().to("cpu", _kept(name, dtype)).contiguous().clone()
            for name, tensor in tensors.items()
        }
        save_file(copies, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(tensors, file))
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        _write_json(folder / INDEX, index)
    save_config(folder, config, dtype=dtype)


def save_config(folder: Path, config: Glm4vConfig, *, dtype: torch.dtype) -> None:
    """Writes the shape of a checkpoint of `dtype`, and which tokens end an answer."""
    told = {"eos_token_id": config.ends, "pad_token_id": config.tokens.pad_token_id}
    _write_json(folder / GENERATION, told)
    _write_json(folder / CONFIG, config.to_hf(str(dtype).removeprefix("torch.")))


def _kept(name: str, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if ".mlp.gate." in name else dtype


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> Glm4vConfig:
    """Shape of a checkpoint, and what ends its answers. Raises UsageError where there is none."""
    config = Glm4vConfig.from_hf(_read_json(folder / CONFIG), str(folder / CONFIG))
    path = folder / GENERATION
    if not path.exists():
        return config
    try:
        return config.ending_with(_read_json(path).get("eos_token_id"))
    except ValueError as error:
        raise UsageError(f"{path}: {error}; take that of the model") from error


def load(model: Glm4v, folder: Path) -> None:
    """Fills a model with a checkpoint's weights, tensor by tensor, in the model's own dtype.

    Raises UsageError for a checkpoint that is not of the model's shape, or damaged.
    """
    weights = _Weights(folder)
    with torch.no_grad():
        for name, target in model.state_dict().items():
            try:
                found = source(name, model.config).join(weights)
            except RuntimeError as error:  # parts that do not fit together
                first = str(error).splitlines()[0]
                raise UsageError(f"{folder}: {name} cannot be put together ({first})") from error
            if found.shape != target.shape:
                raise UsageError(
                    f"{folder}: {name} is {list(found.shape)}, the model's {list(target.shape)}; "
                    "name the --config that the checkpoint was trained with"
                )
            target.copy_(found)


def load_pretrained(
    folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Glm4v:
    """A checkpoint as a model, ready to answer. Raises UsageError as `load` does."""
    model = Glm4v.for_causal(read_config(folder), "meta", dtype).to_empty(device=device)
    for router in model.routers():
        router.load.zero_()  # not kept in checkpoints
    load(model, folder)
    return model.eval()


class _Weights:
    """Tensors of a checkpoint by name, read from its files when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}
        if (folder / INDEX).exists():
            self._where = _weight_map(folder / INDEX)
        else:
            self._where = dict.fromkeys(self._open(WEIGHTS).keys(), WEIGHTS)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._where:
            raise UsageError(
                f"{self._folder}: has no tensor {name}; name a whole Glm4v checkpoint of that shape"
            )
        found: Tensor = self._open(self._where[name]).get_tensor(name)
        return found

    def _open(self, file: str) -> Any:
        path = self._folder / file
        try:
            if file not in self._files:
                self._files[file] = safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{path}: cannot be read ({error}); fetch it again") from error
        return self._files[file]


def _weight_map(path: Path) -> dict[str, str]:
    """Files of the folder by the tensors that they hold. Raises UsageError."""
    found = _read_json(path).get("weight_map")
    if not isinstance(found, dict) or not all(
        isinstance(file, str) and file == Path(file).name and "\0" not in file
        for file in found.values()
    ):
        raise UsageError(f"{path}: weight_map does not name files of the folder; fetch it again")
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: cannot be read ({error}); name a folder in Hugging Face's format"
        ) from error
    return found
