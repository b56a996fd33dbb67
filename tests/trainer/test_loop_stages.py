"""Both stages of a tiny model on a CPU, from exports to a checkpoint that transformers opens."""

import io
import shutil
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from curation.demo.generate import Plan as DemoPlan
from curation.demo.generate import generate as generate_pairs
from curation.engines.local import LocalEngine
from curation.trainer.answer import answer
from curation.trainer.trained import find_trained
from tests.pipeline.corpora import curate
from tests.trainer.commands import ended, killed, losses
from tests.trainer.samples import interleaved, jpeg, write_export

STEPS, MORE = 16, 6


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated run over pairs of the demo, and exports of other families."""
    root = tmp_path_factory.mktemp("corpora")
    with LocalEngine(workers=0) as engine:
        generate_pairs(root / "demo", DemoPlan(pairs=120, seed=1), engine)
    curate(root / "demo" / "source", root / "pairs")
    for family in ("interleaved", "ocr", "grounding", "gui", "video"):
        write_export(root / family, family, count=40)
    write_export(root / "long", "interleaved", (s for s in interleaved(9, 40)), name="long")
    return root


@pytest.fixture(scope="module")
def runs(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 as `whole`, and once more, killed and resumed, as `first`; stage 2 after the latter,
    killed and resumed, as `second`."""
    root = tmp_path_factory.mktemp("runs")
    small: list[object] = ["--config", "tiny", "--workers", 1]
    small += ["--set", "vision.image_max_pixels=50176", "--set", "vision.video_max_pixels=100352"]
    stage_1 = ["train", "--stage", 1, "--steps", STEPS, "--set", "checkpoint_every=4", *small]
    for name in ("pairs", "interleaved", "ocr", "grounding", "gui"):
        stage_1 += ["--corpus", f"{corpora / name}:0.2"]
    ended(*stage_1, "--out", root / "whole")
    killed(root / "first", 6, *stage_1, "--out", root / "first")
    ended(*stage_1, "--out", root / "first")

    stage_2 = ["train", "--stage", 2, "--steps", MORE, "--set", "checkpoint_every=2", *small]
    stage_2 += ["--corpus", f"{corpora / 'video'}:0.5", "--corpus", f"{corpora / 'long'}:0.5"]
    stage_2 += ["--init", root / "first", "--out", root / "second"]
    killed(root / "second", 3, *stage_2)
    ended(*stage_2)
    return root


@pytest.mark.slow
def test_a_killed_stage_has_the_losses_of_one_that_was_not_and_they_fall(runs: Path) -> None:
    first = losses(runs / "first")
    assert first == losses(runs / "whole")
    assert mean(loss for _, loss, _ in first[-4:]) < first[0][1] - 0.7
    weights = [(runs / name / "model" / "model.safetensors") for name in ("first", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_stage_2_goes_on_from_stage_1_with_video_long_documents_and_replay(runs: Path) -> None:
    second = losses(runs / "second")
    assert [step for step, _, _ in second] == list(range(1, MORE + 1))
    assert second[0][1] < losses(runs / "first")[0][1]
    # Steps differ in their families, and those in how hard they are: one is compared with itself.
    of_video = [each["video"] for _, _, each in second if "video" in each]
    assert len(of_video) > 1 and of_video[-1] < of_video[0]
    seen = {family for _, _, each in second for family in each}
    assert seen >= {"video", "interleaved", "image-text"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_transformers_answers_what_curate_sample_answers(runs: Path, tmp_path: Path) -> None:
    folder = runs / "second" / "model"
    answers = _answers(folder, tmp_path)
    # So few steps teach one word, or that a sample ends; a head drawn by chance says another.
    talking = tmp_path / "talking"
    shutil.copytree(folder, talking)
    weights = load_file(talking / "model.safetensors")
    weights["lm_head.weight"].normal_(generator=torch.Generator().manual_seed(0))
    save_file(weights, talking / "model.safetensors", metadata={"format": "pt"})
    assert len(set(_answers(talking, tmp_path) + answers)) > 1


def _answers(folder: Path, scratch: Path) -> list[str]:
    """What both say, which is the same."""
    from PIL import Image
    from transformers import Glm4vForConditionalGeneration, Glm4vProcessor

    picture = scratch / "picture.png"
    Image.open(io.BytesIO(jpeg(0)[0])).save(picture)
    processor: Any = Glm4vProcessor.from_pretrained(folder)
    model: Any = Glm4vForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for words in ("The river ", "Find: ", "12 34", ""):
        ours = answer(find_trained(str(folder)), str(picture), words, max_tokens=8)
        text = f"[gMASK]<sop><|begin_of_image|><|image|><|end_of_image|>{words}"
        asked = processor(text=[text], images=[Image.open(picture)], return_tensors="pt")
        said = model.eval().generate(**asked, max_new_tokens=8, do_sample=False)
        theirs = processor.tokenizer.decode(
            said[0, asked["input_ids"].shape[1] :], skip_special_tokens=True
        )
        assert ours == theirs
        answers.append(ours)
    return answers
