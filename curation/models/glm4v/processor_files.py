"""Saves tokenizer and processor beside a checkpoint, as transformers and vLLM read them."""

import json
import shutil
from pathlib import Path
from typing import Any

from curation.models.glm4v.processor import CHAT_TEMPLATE, Processor
from curation.models.glm4v.tokenizer import TOKENIZER_FILE
from curation.models.glm4v.vision_input import MEAN, STD


def save_processor(processor: Processor, folder: str | Path) -> None:
    """Writes what `Glm4vProcessor.from_pretrained(folder)` reads, chat template included."""
    out, vision = Path(folder), processor.vision
    out.mkdir(parents=True, exist_ok=True)
    source = Path(processor.tokenizer.folder) / TOKENIZER_FILE
    if source.resolve() != (out / TOKENIZER_FILE).resolve():
        shutil.copyfile(source, out / TOKENIZER_FILE)
    shared: dict[str, Any] = {
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.merge_size,
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 3,
        "processor_class": "Glm4vProcessor",
    }
    images = {
        "shortest_edge": vision.image_min_pixels,
        "longest_edge": vision.image_max_pixels,
    }
    videos = {
        "shortest_edge": vision.video_min_pixels,
        "longest_edge": vision.video_max_pixels,
    }
    files: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
            "processor_class": "Glm4vProcessor",
        },
        "preprocessor_config.json": {
            **shared,
            "image_processor_type": "Glm4vImageProcessor",
            "size": images,
        },
        "video_preprocessor_config.json": {
            **shared,
            "video_processor_type": "Glm4vVideoProcessor",
            "size": videos,
            "fps": vision.fps,
            "max_duration": vision.max_seconds,
        },
        "processor_config.json": {"processor_class": "Glm4vProcessor"},
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
