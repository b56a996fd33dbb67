"""Tokens, sizes and pixels are those of transformers' Glm4vProcessor; text stays text."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curation.core.errors import UsageError
from curation.models.glm4v.processor import LaidSample, Processor
from curation.models.glm4v.processor_files import save_processor
from curation.models.glm4v.tokenizer import SPECIAL_TOKENS, Tokenizer, demo_tokenizer
from curation.models.glm4v.vision_input import VisionSettings, frame_times, patches
from schemas.sample import Segment

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

IMAGE = "<|begin_of_image|><|image|><|end_of_image|>"
VIDEO = "<|begin_of_video|><|video|><|end_of_video|>"
TEXTS = (
    "A red car.",
    "  Two spaces, a tab\tand\r\nnew\n\nlines ",
    "Preise: 12,50 EUR / 3.000 Stück — größer als 1234567",
    "红色的汽车停在桥边。これは猫です",
    "emoji 🙂🙃 and a flag 🇩🇪, zero\u200bwidth, I'LL WE'RE don't",
    "",
)
SIZES = [(112, 112), (113, 111), (28, 28), (10, 10), (5, 300), (1, 100), (640, 480), (481, 639),
         (1999, 31), (56, 84), (200, 1), (777, 333), (1280, 720), (97, 1013), (14, 14), (300, 301),
         (3000, 1100), (2, 2), (27, 500), (1024, 28)]  # fmt: skip
CLIPS = [(1, 10, 0), (2, 2, 0), (7, 10, 0), (20, 10, 1), (33, 24, 2), (47, 30, 0), (48, 25, 0),
         (61, 12, 3), (90, 29.97, 0), (31, 1, 0), (64, 23.976, 1), (700, 2, 4)]  # fmt: skip


@pytest.fixture(scope="module")
def ours() -> Processor:
    return Processor(demo_tokenizer(), VisionSettings(image_max_pixels=28 * 28 * 2 * 1500))


@pytest.fixture(scope="module")
def theirs(ours: Processor, tmp_path_factory: pytest.TempPathFactory):
    """transformers' processor, read from what we save beside a checkpoint."""
    from transformers.models.glm4v.processing_glm4v import Glm4vProcessor

    folder = tmp_path_factory.mktemp("processor")
    save_processor(ours, folder)
    return Glm4vProcessor.from_pretrained(str(folder))


def segment(kind: str, **keys) -> Segment:
    blank = {"type": kind, "text": "", "loss": False, "member": "", "width": 0, "height": 0,
             "box": [], "timestamps": []}  # fmt: skip
    return {**blank, **keys}  # type: ignore[typeddict-item]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng((seed, width, height))
    coarse = Image.fromarray(rng.integers(0, 255, (7, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def film(frames: int, size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(frames)
    return rng.integers(0, 255, (frames, size[1], size[0], 3), dtype=np.uint8)


def shown(processor: Processor, laid: LaidSample, images: list[Image.Image]) -> torch.Tensor:
    return torch.cat([
        patches(np.asarray(image)[None], medium.grid, processor.vision)
        for image, medium in zip(images, laid.media, strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_an_image_and_its_text_are_laid_out_and_cut_as_transformers_does(ours, theirs, size):
    image, text = picture(*size), TEXTS[size[0] % len(TEXTS)]
    laid = ours.sample(
        ours.lay_out([
            segment("image", width=size[0], height=size[1]), segment("text", text=text, loss=True)
        ])
    )  # fmt: skip
    told = theirs(text=[f"[gMASK]<sop>{IMAGE}{text}<|endoftext|>"], images=[image],
                  return_tensors="pt")  # fmt: skip
    assert laid.ids.tolist() == told["input_ids"][0].tolist()
    assert [medium.grid for medium in laid.media] == [
        tuple(g) for g in told["image_grid_thw"].tolist()
    ]
    assert torch.equal(shown(ours, laid, [image]), told["pixel_values"])


@pytest.mark.parametrize("count", range(1, 7))
def test_documents_with_several_images(ours, theirs, count):
    images = [picture(40 + 31 * n, 250 - 33 * n, n) for n in range(count)]
    segments, text = [segment("text", text="Start")], "[gMASK]<sop>Start"
    for n, image in enumerate(images):
        segments.append(segment("image", width=image.width, height=image.height))
        segments.append(segment("text", text=f"{TEXTS[n % 5]}{n}"))
        text += f"{IMAGE}{TEXTS[n % 5]}{n}"
    laid = ours.sample(ours.lay_out(segments))
    told = theirs(text=[f"{text}<|endoftext|>"], images=images, return_tensors="pt")
    assert laid.ids.tolist() == told["input_ids"][0].tolist()
    assert torch.equal(shown(ours, laid, images), told["pixel_values"])


@pytest.mark.parametrize(("frames", "fps", "text"), CLIPS)
def test_videos_are_sampled_and_timed_as_transformers_does(ours, theirs, frames, fps, text):
    from transformers.video_utils import VideoMetadata

    size = (40, 30) if frames > 100 else (90 + frames, 64)
    pixels = film(frames, size)
    times = [n / fps for n in range(frames)]
    laid = ours.sample(
        ours.lay_out([
            segment("video", width=size[0], height=size[1], timestamps=times),
            segment("text", text=TEXTS[text]),
        ])
    )  # fmt: skip
    metadata = VideoMetadata(total_num_frames=frames, fps=fps, duration=frames / fps)
    told = theirs(text=[f"[gMASK]<sop>{VIDEO}{TEXTS[text]}<|endoftext|>"], videos=[pixels],
                  video_metadata=[metadata], return_tensors="pt")  # fmt: skip
    assert laid.ids.tolist() == told["input_ids"][0].tolist()
    (medium,) = laid.media
    assert [medium.grid] == [tuple(grid) for grid in told["video_grid_thw"].tolist()]
    chosen = pixels[[round(time * fps) for time in medium.times]]
    assert torch.equal(patches(chosen, medium.grid, ours.vision), told["pixel_values_videos"])


def turns(number: int) -> tuple[list[dict], list[Image.Image]]:
    """A chat of some rounds with words, images and systems in turn."""
    images = [picture(60 + 20 * n, 90 + 10 * number, n) for n in range(number % 4)]
    content: list[dict] = [{"type": "text", "text": TEXTS[number % 5]}]
    for image in images:
        content.append({"type": "image", "width": image.width, "height": image.height})
        content.append({"type": "text", "text": f"and {number}?"})
    chat: list[dict] = [{"role": "user", "content": content[number % 2 :] or "Hello"}]
    if number % 3 == 0:
        chat.insert(0, {"role": "system", "content": "You are terse."})
    if number % 2:
        chat += [{"role": "assistant", "content": TEXTS[(number + 1) % 5]},
                 {"role": "user", "content": "Sure?\n"}]  # fmt: skip
    return chat, images


@pytest.mark.parametrize("number", range(14))
def test_chats_follow_the_template(ours, theirs, number):
    chat, images = turns(number)
    reply = number % 5 != 4
    text = theirs.apply_chat_template(chat, add_generation_prompt=reply, tokenize=False)
    told = theirs(text=[text], images=images or None, return_tensors="pt")
    assert ours.chat(chat, reply=reply).ids.tolist() == told["input_ids"][0].tolist()


def test_a_video_in_a_chat_follows_the_template(ours, theirs):
    from transformers.video_utils import VideoMetadata

    times = [n / 10 for n in range(30)]
    item = {"type": "video", "width": 90, "height": 64, "timestamps": times}
    chat = [{"role": "user", "content": [item, {"type": "text", "text": "What happens?"}]}]
    metadata = VideoMetadata(total_num_frames=30, fps=10, duration=3.0)
    text = theirs.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    told = theirs(text=[text], videos=[film(30, (90, 64))], video_metadata=[metadata],
                  return_tensors="pt")  # fmt: skip
    assert ours.chat(chat).ids.tolist() == told["input_ids"][0].tolist()


def test_text_never_becomes_a_special_token():
    tokenizer = demo_tokenizer()
    text = " ".join(SPECIAL_TOKENS)
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.special.values())
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", [*TEXTS, "\x00\x7f\ufffd", "\U0001d518\U0001d52b", "a" * 5000])
def test_every_text_comes_back(text):
    tokenizer = demo_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_lone_surrogate_is_a_question_mark():
    tokenizer = demo_tokenizer()
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a?b"


def test_special_tokens_that_a_tokenizer_calls_ordinary_are_kept_out_of_text(tmp_path: Path):
    import json

    spec = json.loads((Path(demo_tokenizer().folder) / "tokenizer.json").read_text())
    for token in spec["added_tokens"]:
        token["special"] = False  # as GLM's `<think>` is
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    tokenizer = Tokenizer(str(tmp_path))
    assert not set(tokenizer.encode("<|begin_of_box|>")) & set(tokenizer.special.values())


def test_a_box_is_framed_and_learnt_as_told(ours):
    special = ours.tokenizer.special
    (laid,) = ours.lay_out([segment("box", box=[0, 12, 345, 999], loss=True)])
    assert laid.ids[0] == special["<|begin_of_box|>"] and laid.ids[-1] == special["<|end_of_box|>"]
    assert ours.tokenizer.decode(laid.ids[1:-1]) == "[[0,12,345,999]]"
    assert laid.learnt


def test_a_sample_starts_and_ends_as_designed_and_its_end_is_learnt(ours):
    laid = ours.sample(ours.lay_out([segment("text", text="A", loss=False)]))
    special = ours.tokenizer.special
    assert laid.ids[:2].tolist() == [special["[gMASK]"], special["<sop>"]]
    assert laid.ids[-1] == special["<|endoftext|>"]
    assert laid.learnt.tolist() == [False] * (len(laid.ids) - 1) + [True]


@pytest.mark.parametrize(
    "bad",
    [
        segment("box", box=[1, 2, 3]),
        segment("box", box=[0, 0, 5, 1000]),
        segment("image"),
        segment("image", width=4000, height=10),
        segment("video", width=9, height=9),
        segment("video", width=9, height=9, timestamps=[1.0, 0.5]),
        segment("sound"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(ours, bad):
    with pytest.raises(ValueError):
        ours.lay_out([bad])


def test_frames_of_uneven_length_are_taken_by_their_time():
    times = [0.0, 0.1, 0.2, 1.3, 1.31, 1.9, 2.6, 2.61]
    assert frame_times(times, VisionSettings(fps=2)) == [0.0, 1.3, 1.9, 2.6]


def test_frames_sampled_already_are_all_taken():
    times = [3.0, 3.5, 4.0, 4.5]
    assert frame_times(times, VisionSettings(fps=2)) == times


@pytest.mark.parametrize("content", [None, b"{}", b"not json"])
def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UsageError, match="tokenizer"):
        _ = Tokenizer(str(tmp_path)).special


@pytest.mark.parametrize(
    "bad",
    [
        {"image_min_pixels": 0},
        {"video_min_pixels": 1 << 29, "video_max_pixels": 1 << 28},
        {"image_min_pixels": 9 * 10**12, "image_max_pixels": 9 * 10**13},
        {"video_max_pixels": 10**13},
        {"fps": float("nan")},
        {"fps": 1e300},
        {"max_seconds": 10**400},
    ],
)
def test_budgets_that_no_memory_holds_are_refused(bad):
    with pytest.raises(ValueError):
        VisionSettings(**bad)
