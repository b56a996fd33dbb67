"""How well a caption fits its picture: CLIP embeddings and their cosine (Radford et al. 2021)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curation.core.errors import RunError, UsageError
from curation.core.operator import IMAGE, BatchFn, StreamedOperator
from curation.models.clip import ClipModel, load_clip
from curation.models.clip_source import (
    LOCAL,
    ClipSource,
    checkpoint_sha256,
    model_config,
    weights_name,
)
from curation.models.device import (
    DEVICES,
    DTYPES,
    check_device,
    resolved_device,
    resolved_dtype,
)
from curation.operators.vision_language.clip_scorer import Computer, Floor, Preparer, Scorer


@dataclass(frozen=True, kw_only=True)
class Clip(StreamedOperator):
    """Cosine of a pair's image and text embedding, and both embeddings, by any open_clip model.

    `clip_score` lies in -1 to 1 and comes from float32 embeddings; `clip_image` and `clip_text`
    are kept as little-endian float16. An image is turned upright, then preprocessed by open_clip
    itself. All is null for a row under the floor (`clip_skipped`) and for one without a readable
    image; text and score also where there is no caption.

    Rows take their places in batches of one fixed shape, in order and whatever becomes of them:
    what a row scores depends neither on its neighbours nor on the number of workers.
    """

    name = "clip"
    libraries = ("open_clip_torch", "pillow", "timm", "torch", "torchvision")

    model: str = "demo"
    """`demo` (shipped; knows nothing of photographs), a name of open_clip, or `local`."""
    pretrained: str = ""
    """Weights' tag in open_clip; empty for the demo's, for a checkpoint's, and for random ones."""
    checkpoint: str = field(default="", metadata={"hashed": False})
    """A weights file of `model`, or the folder of a `local` model in open_clip's layout."""
    checkpoint_sha256: str = ""
    """Content of the checkpoint; found from it."""
    embed_dim: int = 0
    """Numbers in an embedding; found from the model."""
    dtype: str = "float32"
    """float32, or bfloat16 (float32 after all on a processor that has none)."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    batch_size: int = 64
    """Rows computed together; the last batch is filled up with zeros."""
    threads: int = 1
    """Threads of one forward pass on a CPU; the engine runs so many times fewer processes."""
    decoders: int = field(default=0, metadata={"hashed": False})
    """Threads that decode beside the forward pass; 0: `threads` of them, on a GPU one a core."""
    max_pixels: int = 89_478_485
    """Pixels (claimed by the header) above which an image is a bomb; Pillow's own limit."""
    floor: str = "min_side>=100 aspect_ratio<=5 caption_chars>=1"
    """The loosest thresholds that will ever be wanted; a row outside them is not scored."""

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("device", DEVICES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}")
        for name in ("batch_size", "threads", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        Floor.parse(self.floor)
        if self.checkpoint:
            object.__setattr__(self, "checkpoint_sha256", checkpoint_sha256(self.source))
        config = model_config(self.source)
        if config:
            object.__setattr__(self, "embed_dim", int(config["embed_dim"]))

    @property
    def source(self) -> ClipSource:
        """Model and weights."""
        return ClipSource(model=self.model, pretrained=self.pretrained, checkpoint=self.checkpoint)

    @property
    def requires(self) -> pa.Schema:
        bounds = ((column, pa.float64()) for column in Floor.parse(self.floor).columns)
        return pa.schema([IMAGE, ("text", pa.string()), *bounds])

    @property
    def provides(self) -> pa.Schema:
        embedding = pa.binary(2 * self.embed_dim)
        return pa.schema(
            [
                ("clip_score", pa.float32()),
                ("clip_image", embedding),
                ("clip_text", embedding),
                ("clip_skipped", pa.bool_()),
            ]
        )

    def identity(self) -> Mapping[str, str]:
        """Hash of the weights, activation, device class and dtype behind the values."""
        device = resolved_device(self.device)
        told = {
            "device": device,
            "dtype": resolved_dtype(self.dtype, device),
            "weights": self.checkpoint_sha256 or weights_name(self.source),
        }
        if self.model != LOCAL:  # whose configuration is hashed with its weights
            told["quick_gelu"] = str(bool(model_config(self.source).get("quick_gelu"))).lower()
        return told

    def open(self) -> BatchFn:
        return Scorer(self, self.loaded())

    def prepare(self) -> Callable[[pa.RecordBatch], Iterator[pa.RecordBatch]]:
        return Preparer(self, self._without_weights()).pieces

    def compute(self) -> Callable[[Iterable[pa.RecordBatch]], list[pa.RecordBatch]]:
        return Computer(self, self.loaded()).pieces

    def loaded(self) -> ClipModel:
        """The model with its weights. Raises UsageError where they are gone, or changed since."""
        check_device(self.device)
        if self.checkpoint_sha256 and not self.checkpoint:
            raise UsageError(
                f"the checkpoint of {self.model} is known by its hash alone; name it again "
                "(--set clip.checkpoint=PATH)"
            )
        if self.checkpoint and checkpoint_sha256(self.source) != self.checkpoint_sha256:
            raise UsageError(f"{self.checkpoint}: the weights changed; start the command again")
        told = self.identity()
        return load_clip(self.source, device=told["device"], dtype=told["dtype"])

    def _without_weights(self) -> ClipModel:
        """The model's preprocessing and tokenizer, its module without memory where that goes."""
        import torch

        try:
            with torch.device("meta"):
                return load_clip(self.source, device="meta", fresh=True)
        except RunError:  # an architecture that looks at its weights as it is built
            return load_clip(self.source, fresh=True)
