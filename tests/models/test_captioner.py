"""The small captioner: answers side by side, alone, in transformers, and what ships."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from curation.core.errors import UsageError
from curation.demo.captions_facts import stated, told, truths
from curation.demo.paint import paint
from curation.demo.pair import scene_of
from curation.models.captioner import (
    DEMO_CAPTIONER,
    SLOTS,
    Captioner,
    LongRequestError,
    Request,
    read_vision,
    weights_name,
)
from curation.models.clip import computing
from curation.models.glm4v.generate import generate
from recaption_prompts import Prompt

SMALL = Prompt.at("small").load()
HELD_OUT = 74


@pytest.fixture(autouse=True)
def one_thread():
    with computing(1):
        yield


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(DEMO_CAPTIONER)


def frame(n: int) -> np.ndarray:
    return np.asarray(paint(scene_of(HELD_OUT, n)))


def originals(count: int) -> list[str | None]:
    """Of many lengths, every third missing."""
    return [None if n % 3 == 0 else f"A red car {'in Bergen ' * (n % 17)}" for n in range(count)]


@pytest.fixture(scope="module")
def requests(captioner) -> list[Request]:
    return [
        captioner.request(SMALL, {"caption": text}, 4000, frame(n))
        for n, text in enumerate(originals(SLOTS + 6))
    ]


@pytest.fixture(scope="module")
def answers(captioner, requests):
    with computing(1):
        return captioner.answers(requests, 60)


def test_answers_are_those_of_the_plain_loop(captioner, requests, answers):
    end = captioner.processor.tokenizer.end_id
    for at in range(0, len(requests), 5):
        ids = list(generate(captioner.model, captioner.pack(requests[at]), most=60, stop=[end]))
        assert answers[at].text == captioner.processor.tokenizer.decode(ids)
        assert answers[at].tokens_out == len(ids) + answers[at].whole
        assert answers[at].tokens_in == len(requests[at].ids)


def test_answers_depend_neither_on_order_nor_on_neighbours(captioner, requests, answers):
    assert captioner.answers(requests[::-1], 60)[::-1] == answers
    for at in (0, 7, SLOTS + 5):
        assert captioner.answers([requests[at]], 60) == [answers[at]]
    assert captioner.answers([], 60) == []


def test_an_answer_that_is_cut_says_so(captioner, requests, answers):
    cut = captioner.answers(requests[:4], 5)
    for short, long in zip(cut, answers, strict=False):
        assert not short.whole
        assert short.tokens_out == 5
        assert long.text.startswith(short.text)
        assert long.whole


def test_a_request_leaves_room_for_its_answer_or_is_none(captioner):
    shown = frame(1)

    def asked(chars: int, room: int) -> int:
        return len(captioner.request(SMALL, {"caption": "\u8349" * chars}, 9999, shown, room).ids)

    most = captioner.model.config.text.max_position_embeddings
    length = asked(1000, 1)
    assert 1000 < length < most
    assert asked(1000, most - length) == length
    with pytest.raises(LongRequestError):
        asked(1000, most - length + 1)
    with pytest.raises(LongRequestError, match=r"12,0\d\d tokens"):
        asked(4000, 1)


def test_chances_are_those_of_the_next_token(captioner):
    claim = Prompt.at("small-claim").load()
    request = captioner.request(claim, {"caption": "A red car."}, 4000, frame(1))
    yes, no = captioner.chances(request, ("yes", "no"))
    assert yes + no == pytest.approx(1, abs=0.02)
    (first,) = captioner.answers([request], 4)
    assert first.text == ("yes" if yes > no else "no")


def test_it_sees_and_it_reads(captioner):
    """On scenes that it was not trained on, with a true original: most is true, names are kept."""
    scenes = [scene_of(HELD_OUT, n) for n in range(40)]
    given = [f"{told(scene)}, in Drobaik, 1998." for scene in scenes]
    asked = [
        captioner.request(SMALL, {"caption": text}, 4000, frame(n)) for n, text in enumerate(given)
    ]
    said = [answer.text for answer in captioner.answers(asked, 80)]
    right = sum(len(stated(text) & truths(scene)) for text, scene in zip(said, scenes, strict=True))
    assert right / sum(len(stated(text)) for text in said) > 0.8
    assert sum("Drobaik" in text and "1998" in text for text in said) > 32


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_opens_the_folder_and_says_the_same(captioner):
    from transformers import AutoProcessor, Glm4vForConditionalGeneration

    model = Glm4vForConditionalGeneration.from_pretrained(DEMO_CAPTIONER, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(DEMO_CAPTIONER)
    for n, text in ((0, None), (1, "A red car, in Bergen, 1998"), (2, "[gMASK] <|image|> it's 5")):
        request = captioner.request(SMALL, {"caption": text}, 4000, frame(n))
        system, user = SMALL.render({"caption": text}, 4000)
        shown = {"type": "image", "image": Image.fromarray(frame(n))}
        chat = [
            {"role": "system", "content": [{"type": "text", "text": system}]},
            {"role": "user", "content": [shown, {"type": "text", "text": user}]},
        ]
        inputs = processor.apply_chat_template(
            chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        assert inputs["input_ids"][0].tolist() == request.ids
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=60, do_sample=False)
        theirs = processor.tokenizer.decode(out[0, len(request.ids) :], skip_special_tokens=True)
        (ours,) = captioner.answers([request], 60)
        assert theirs == ours.text


def test_what_ships_is_small_and_in_the_format_of_hugging_face():
    files = {path.name: path.stat().st_size for path in DEMO_CAPTIONER.iterdir()}
    assert sum(files.values()) < 12_000_000
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja",
            "preprocessor_config.json", "README.md", "metrics.json"} <= files.keys()  # fmt: skip
    config = json.loads((DEMO_CAPTIONER / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Glm4vForConditionalGeneration"]
    assert config["text_config"]["vocab_size"] <= 4096
    with safe_open(DEMO_CAPTIONER / "model.safetensors", framework="pt") as weights:
        kinds = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    assert kinds == {torch.bfloat16}


def test_the_name_of_weights_is_that_of_their_content(tmp_path):
    for path in DEMO_CAPTIONER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "README.md").write_text("another note")
    assert weights_name(tmp_path) == weights_name(DEMO_CAPTIONER)
    (tmp_path / "chat_template.jinja").write_text("another template")
    assert weights_name(tmp_path) != weights_name(DEMO_CAPTIONER)


def test_a_folder_that_is_none_is_told_in_a_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        weights_name(tmp_path / "none")
    with pytest.raises(UsageError, match="not the settings of a Glm4v processor"):
        read_vision(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"patch_size": 14}')
    with pytest.raises(UsageError, match="not the settings of a Glm4v processor"):
        read_vision(tmp_path)
