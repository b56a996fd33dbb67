"""What a trained model says to an image."""

import json
from pathlib import Path

import torch

from curation.core.errors import RunError, UsageError
from curation.io.image_decode import DecodeError
from curation.io.image_header import ImageError, read_header
from curation.models.glm4v.generate import generate, prompt
from curation.models.glm4v.processor import LaidSample, Processor
from curation.models.glm4v.tokenizer import TOKENIZER_FILE, Tokenizer
from curation.models.glm4v.vision_input import VisionSettings, patches
from curation.trainer.media import decode_image
from curation.trainer.trained import Trained
from schemas.sample import Segment

_MEMBER = "0"


def answer(
    trained: Trained,
    image: str,
    text: str,
    *,
    chat: bool = False,
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """The model's words behind the image and `text`, as a training sample would go on.

    With `chat` both are a user's turn and the words the assistant's. Raises UsageError
    where the checkpoint is none of a Glm4v, RunError for one that is damaged, or an image that
    cannot be read.
    """
    processor = read_processor(trained.folder)
    data, width, height = _image(image)
    laid = _laid(processor, width, height, text, chat=chat)
    try:
        frames = decode_image(data, width, height)
    except DecodeError as error:
        raise RunError(f"{image}: cannot be decoded ({error.code})") from error
    grid = laid.media[0].grid
    model, tokenizer = trained.load(device), processor.tokenizer
    asked = prompt(
        model.config,
        laid.ids.tolist(),
        patches(frames, grid, processor.vision),
        torch.tensor([grid]),
    )
    words = generate(
        model,
        asked.to(device),
        most=max_tokens,
        stop={*model.config.ends, tokenizer.end_id, tokenizer.special["<|user|>"]},
        temperature=temperature,
        generator=torch.Generator(device).manual_seed(seed),
    )
    return tokenizer.decode(list(words))


def read_processor(folder: Path) -> Processor:
    """Tokenizer and pixel budget that a checkpoint was saved with. Raises UsageError."""
    if not (folder / TOKENIZER_FILE).exists():
        raise UsageError(f"{folder}: has no {TOKENIZER_FILE}; copy that of the model into it")
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return Processor(Tokenizer(str(folder)))
    try:
        size = json.loads(path.read_text(encoding="utf-8"))["size"]
        vision = VisionSettings(
            image_min_pixels=int(size["shortest_edge"]), image_max_pixels=int(size["longest_edge"])
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{path}: not that of a Glm4v model ({error!r})") from error
    return Processor(Tokenizer(str(folder)), vision)


def _image(path: str) -> tuple[bytes, int, int]:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name an image") from error
    try:
        header = read_header(data)
    except ImageError as error:
        raise UsageError(
            f"{path}: not an image ({error.code}); name a JPEG, PNG or WebP"
        ) from error
    return data, header.width, header.height


def _laid(processor: Processor, width: int, height: int, text: str, *, chat: bool) -> LaidSample:
    segments = [_segment("image", width, height, ""), _segment("text", 0, 0, text)]
    try:
        if chat:
            picture = {"type": "image", "width": width, "height": height, "member": _MEMBER}
            content = [picture, {"type": "text", "text": text}]
            return processor.chat([{"role": "user", "content": content}])
        parts = processor.lay_out(segments)
    except ValueError as error:
        raise UsageError(f"the image cannot be laid out: {error}") from error
    # One more part than is shown: a whole sample would be ended.
    return processor.sample([*parts, parts[-1]], 0, len(parts))


def _segment(kind: str, width: int, height: int, text: str) -> Segment:
    return {
        "type": "image" if kind == "image" else "text",
        "text": text,
        "loss": False,
        "member": _MEMBER if kind == "image" else "",
        "width": width,
        "height": height,
        "box": [],
        "timestamps": [],
    }
