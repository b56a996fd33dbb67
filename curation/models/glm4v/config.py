"""Shapes of Glm4v models, and what they are called in a Hugging Face `config.json`.

Fields are named as there. GLM-4.1V is dense, with four norms a layer; GLM-4.5V has experts, two
norms a layer and another order of rotary dimensions: `moe` tells them apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from curation.core.errors import UsageError
from curation.models.glm4v.config_numbers import check_numbers


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The vision tower and its projector."""

    depth: int = 24
    hidden_size: int = 1536
    num_heads: int = 12
    intermediate_size: int = 13_696
    """Width of the projector's MLP; that of the tower's own is the decoder's width."""
    image_size: int = 336
    """Side in pixels of the square that absolute positions are learnt for."""
    patch_size: int = 14
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        check_numbers(self, least=1)
        if self.hidden_size % self.num_heads or self.head_dim % 4:
            raise ValueError("vision: hidden_size / num_heads must be a multiple of 4")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def patch_values(self) -> int:
        """Numbers in one patch."""
        return 3 * self.temporal_patch_size * self.patch_size**2


@dataclass(frozen=True, kw_only=True)
class MoeConfig:
    """Experts of a decoder."""

    n_routed_experts: int = 128
    num_experts_per_tok: int = 8
    n_shared_experts: int = 1
    moe_intermediate_size: int = 1408
    """Width of one expert."""
    first_k_dense_replace: int = 1
    """Layers at the bottom that have no experts."""
    norm_topk_prob: bool = True
    """Whether the weights of the chosen experts sum to `routed_scaling_factor`."""
    routed_scaling_factor: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, least=0)
        if not 1 <= self.num_experts_per_tok <= self.n_routed_experts:
            raise ValueError("num_experts_per_tok must be 1 to n_routed_experts")
        if not self.moe_intermediate_size:
            raise ValueError("moe_intermediate_size must be at least 1")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The decoder."""

    vocab_size: int = 151_552
    hidden_size: int = 4096
    intermediate_size: int = 13_696
    """Width of the MLP of a layer without experts."""
    num_hidden_layers: int = 40
    num_attention_heads: int = 32
    num_key_value_heads: int = 2
    head_dim: int = 128
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    partial_rotary_factor: float = 0.5
    """Share of a head's dimensions that positions rotate."""
    mrope_section: tuple[int, int, int] = (8, 12, 12)
    """Frequencies that turn with time, height and width."""
    max_position_embeddings: int = 65_536
    moe: MoeConfig | None = None

    def __post_init__(self) -> None:
        check_numbers(self, least=1)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        three = len(self.mrope_section) == 3 and all(type(n) is int for n in self.mrope_section)
        if not three or min(self.mrope_section) < 0 or self.partial_rotary_factor > 1:
            raise ValueError("mrope_section is three whole numbers, partial_rotary_factor up to 1")
        if sum(self.mrope_section) * 2 != self.rotary_dim:
            raise ValueError(
                f"mrope_section must sum to {self.rotary_dim // 2}, got {self.mrope_section}"
            )
        if self.moe is None and self.head_dim * self.num_attention_heads != self.hidden_size:
            raise ValueError("a dense model's head_dim is hidden_size / num_attention_heads")

    @property
    def rotary_dim(self) -> int:
        return int(self.head_dim * self.partial_rotary_factor)

    def has_experts(self, layer: int) -> bool:
        return self.moe is not None and layer >= self.moe.first_k_dense_replace


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """Ids of the tokens that a reader of a checkpoint must know; GLM-4.1V's by default."""

    image_token_id: int = 151_343
    video_token_id: int = 151_344
    image_start_token_id: int = 151_339
    image_end_token_id: int = 151_340
    video_start_token_id: int = 151_341
    video_end_token_id: int = 151_342
    pad_token_id: int = 151_329
    """`<|endoftext|>`, which also ends an answer."""

    def __post_init__(self) -> None:
        check_numbers(self, least=0)


_TOKENS: Final = {
    "image_token_id": "<|image|>",
    "video_token_id": "<|video|>",
    "image_start_token_id": "<|begin_of_image|>",
    "image_end_token_id": "<|end_of_image|>",
    "video_start_token_id": "<|begin_of_video|>",
    "video_end_token_id": "<|end_of_video|>",
    "pad_token_id": "<|endoftext|>",
}


@dataclass(frozen=True, kw_only=True)
class Glm4vConfig:
    """A whole model."""

    text: TextConfig = TextConfig()
    vision: VisionConfig = VisionConfig()
    tokens: TokenIds = TokenIds()
    turn_ends: tuple[int, ...] = ()
    """Tokens that end an answer beside `pad_token_id`: `<|user|>`, which begins the next turn of a
    chat, and what a checkpoint names."""

    def __post_init__(self) -> None:
        if (last := max(asdict(self.tokens).values())) >= self.text.vocab_size:
            raise ValueError(f"token {last} is not in a vocabulary of {self.text.vocab_size}")

    def for_tokenizer(self, special: Mapping[str, int], vocabulary: int) -> "Glm4vConfig":
        """The same shape for a tokenizer: its special tokens by name, and one more than its
        largest id. A vocabulary that is too small grows, to a multiple of 64."""
        size = max(self.text.vocab_size, -(-vocabulary // 64) * 64)
        ids = {field: special[name] for field, name in _TOKENS.items()}
        return replace(
            self,
            text=replace(self.text, vocab_size=size),
            tokens=TokenIds(**ids),
            turn_ends=(special["<|user|>"],),
        )

    def with_tokens(self, other: "Glm4vConfig") -> "Glm4vConfig":
        """The same shape with the token ids of another. What ended an answer still does, unless
        it was of another tokenizer."""
        ends = other.turn_ends
        if self.tokens.pad_token_id == other.tokens.pad_token_id:
            ends = tuple(dict.fromkeys((*ends, *self.turn_ends)))
        return replace(self, tokens=other.tokens, turn_ends=ends)

    @property
    def ends(self) -> list[int]:
        """All tokens that end an answer."""
        return [self.tokens.pad_token_id, *self.turn_ends]

    def ending_with(self, named: object) -> "Glm4vConfig":
        """The same, answers ended by the ids that a file of Hugging Face names too: one, a list,
        or none. Raises ValueError for anything else."""
        ids = named if isinstance(named, list) else [] if named is None else [named]
        if not all(type(each) is int and each >= 0 for each in ids):
            raise ValueError(f"eos_token_id is {named!r:.40}")
        more = dict.fromkeys((*self.turn_ends, *ids))
        more.pop(self.tokens.pad_token_id, None)
        return replace(self, turn_ends=tuple(more))

    def to_hf(self, dtype: str = "float32") -> dict[str, Any]:
        """As `config.json` of transformers, which vLLM reads too."""
        kind = "glm4v" if self.text.moe is None else "glm4v_moe"
        text = asdict(self.text)
        moe = text.pop("moe") or {}
        rope: dict[str, Any] = {
            "rope_type": "default",
            "rope_theta": text.pop("rope_theta"),
            "partial_rotary_factor": text.pop("partial_rotary_factor"),
            "mrope_section": list(text.pop("mrope_section")),
        }
        if moe:
            moe.update(n_group=1, topk_group=1)
        vision = asdict(self.vision)
        vision_rope = {"rope_type": "axial", "rope_theta": vision.pop("rope_theta")}
        tokens = asdict(self.tokens)
        end = tokens.pop("pad_token_id")
        return {
            "architectures": [_ARCHITECTURES[kind]],
            "model_type": kind,
            "dtype": dtype,
            "tie_word_embeddings": False,
            **tokens,
            "text_config": {
                "model_type": f"{kind}_text",
                "dtype": dtype,
                "hidden_act": "silu",
                "attention_bias": True,
                "attention_dropout": 0.0,
                "pad_token_id": end,
                "eos_token_id": self.ends,
                "rope_parameters": rope,
                # what readers older than transformers 5 know
                "rope_theta": rope["rope_theta"],
                "partial_rotary_factor": rope["partial_rotary_factor"],
                "rope_scaling": {"type": "default", "mrope_section": rope["mrope_section"]},
                **text,
                **moe,
            },
            "vision_config": {
                "model_type": f"{kind}_vision",
                "dtype": dtype,
                "hidden_act": "silu",
                "attention_bias": False,
                "attention_dropout": 0.0,
                "in_channels": 3,
                "out_hidden_size": self.text.hidden_size,
                "rope_parameters": vision_rope,
                **vision,
            },
        }

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], where: str = "config.json") -> "Glm4vConfig":
        """From `config.json`, the file `where`. Raises UsageError for no model of this shape."""
        try:
            return _from_hf(config)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise UsageError(f"{where}: not a Glm4v model ({error!r:.200})") from error


_ARCHITECTURES: Final = {
    "glm4v": "Glm4vForConditionalGeneration",
    "glm4v_moe": "Glm4vMoeForConditionalGeneration",
}


def _from_hf(config: Mapping[str, Any]) -> Glm4vConfig:
    kind = config["model_type"]
    if kind not in _ARCHITECTURES:
        raise ValueError(f"model_type is {kind}, not one of {', '.join(_ARCHITECTURES)}")
    text, vision = dict(config["text_config"]), dict(config["vision_config"])
    rope = {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}
    for name in ("rope_theta", "partial_rotary_factor", "mrope_section"):
        if name in rope:
            text[name] = rope[name]
    if heads := text["num_attention_heads"]:
        text.setdefault("head_dim", text["hidden_size"] // heads)
    if "mrope_section" in text:
        text["mrope_section"] = tuple(text["mrope_section"])
    vision["rope_theta"] = (vision.get("rope_parameters") or {}).get("rope_theta", 10_000.0)
    fixed = {"hidden_act": "silu", "attention_bias": True, "n_group": 1, "topk_group": 1}
    for name, value in fixed.items():
        if text.get(name, value) != value:
            raise ValueError(f"text_config.{name} is {text[name]}, only {value} is supported")
    if vision.get("out_hidden_size", text["hidden_size"]) != text["hidden_size"]:
        raise ValueError("vision_config.out_hidden_size is not the decoder's hidden_size")
    if config.get("tie_word_embeddings") or text.get("tie_word_embeddings"):
        raise ValueError("tied embeddings are not supported")
    moe = _known(MoeConfig, text) if kind == "glm4v_moe" else None
    ids = dict(config)
    if (end := text.get("pad_token_id", config.get("pad_token_id"))) is not None:
        ids["pad_token_id"] = end
    found = Glm4vConfig(
        text=TextConfig(**{**_known(TextConfig, text), "moe": moe and MoeConfig(**moe)}),
        vision=VisionConfig(**_known(VisionConfig, vision)),
        tokens=TokenIds(**_known(TokenIds, ids)),
    )
    return found.ending_with(text.get("eos_token_id", config.get("eos_token_id")))


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: values[f.name] for f in fields(kind) if f.name in values}


_LAST_OF_4096: Final = TokenIds(
    image_token_id=4089,
    video_token_id=4090,
    image_start_token_id=4091,
    image_end_token_id=4092,
    video_start_token_id=4093,
    video_end_token_id=4094,
    pad_token_id=4095,
)
"""Until `for_tokenizer` names the true ones."""


def tiny() -> Glm4vConfig:
    """For tests on a CPU: 0.6 million parameters with the demo's vocabulary of 4,096."""
    return Glm4vConfig(
        text=TextConfig(
            vocab_size=4096,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            mrope_section=(2, 3, 3),
            max_position_embeddings=4096,
        ),
        vision=VisionConfig(
            depth=2, hidden_size=32, num_heads=2, intermediate_size=96, image_size=56
        ),
        tokens=_LAST_OF_4096,
    )


def tiny_moe() -> Glm4vConfig:
    """As tiny, with eight experts of which two are asked."""
    moe = MoeConfig(n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=32)
    return replace(tiny(), text=replace(tiny().text, moe=moe))


def demo() -> Glm4vConfig:
    """What a laptop trains in minutes; heads of 64, so that vLLM serves it on a CPU."""
    return Glm4vConfig(
        text=TextConfig(
            vocab_size=4096,
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            mrope_section=(4, 6, 6),
            max_position_embeddings=32_768,
        ),
        vision=VisionConfig(
            depth=3, hidden_size=128, num_heads=2, intermediate_size=704, image_size=112
        ),
        tokens=_LAST_OF_4096,
    )


def one_billion() -> Glm4vConfig:
    """A dense model of 1.1 billion parameters for one GPU: our own shape."""
    return Glm4vConfig(
        text=TextConfig(
            hidden_size=1536,
            intermediate_size=4608,
            num_hidden_layers=20,
            num_attention_heads=12,
        ),
        vision=VisionConfig(depth=12, hidden_size=1024, num_heads=16, intermediate_size=4608),
    )


def glm_4_1v_9b() -> Glm4vConfig:
    """GLM-4.1V-9B as published: 10.3 billion parameters."""
    return Glm4vConfig()


def glm_4_5v_106b() -> Glm4vConfig:
    """GLM-4.5V as published: 106 billion parameters, of which 12 are active for a token."""
    return Glm4vConfig(
        text=TextConfig(
            intermediate_size=10_944,
            num_hidden_layers=46,
            num_attention_heads=96,
            num_key_value_heads=8,
            moe=MoeConfig(),
        ),
        vision=VisionConfig(intermediate_size=10_944),
        tokens=TokenIds(image_token_id=151_363, video_token_id=151_364),
    )


CONFIGS: Final[dict[str, Callable[[], Glm4vConfig]]] = {
    "tiny": tiny,
    "tiny-moe": tiny_moe,
    "demo": demo,
    "1b": one_billion,
    "9b": glm_4_1v_9b,
    "106b": glm_4_5v_106b,
}
"""Shapes by the name that `--config` takes."""
