"""`curate sample` on a checkpoint in Hugging Face's format: what cannot be asked is one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from curation.cli.main import main
from curation.models.glm4v import checkpoint
from curation.models.glm4v.config import CONFIGS
from curation.models.glm4v.generate import generate
from curation.models.glm4v.model import Glm4v
from curation.models.glm4v.processor_files import save_processor
from curation.trainer import answer as answering
from curation.trainer.answer import answer
from curation.trainer.trained import find_trained
from tests.trainer.plans import processor
from tests.trainer.samples import jpeg


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that nobody trained."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(4)
    tokenizer = processor().tokenizer
    config = CONFIGS["tiny"]().for_tokenizer(tokenizer.special, tokenizer.vocabulary)
    model = Glm4v.for_causal(config)
    checkpoint.save(folder, config, model.state_dict(), dtype=torch.float32)
    save_processor(processor(), folder)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "picture.jpg").write_bytes(jpeg(0)[0])
    return tmp_path / "picture.jpg"


def test_answers_end_at_the_next_turn_and_at_what_the_checkpoint_names(model, picture, monkeypatch):
    special = processor().tokenizer.special
    path = model / checkpoint.GENERATION
    ends = [special["<|endoftext|>"], special["<|user|>"]]
    assert json.loads(path.read_text())["eos_token_id"] == ends
    path.write_text(json.dumps({"eos_token_id": [*ends, special["<|observation|>"]]}))
    stops = []

    def heard(*asked, stop, **how):
        stops.append(stop)
        return generate(*asked, stop=stop, **how)

    monkeypatch.setattr(answering, "generate", heard)
    answer(find_trained(str(model)), str(picture), "a", chat=True, max_tokens=2)
    assert stops == [{*ends, special["<|observation|>"]}]


@pytest.mark.parametrize(
    "asked", [["--temperature", "1e-40"], ["--temperature", "1e300"], ["--max-tokens", str(10**11)]]
)
def test_numbers_at_their_ends_are_answered(model, picture, asked, capsys):
    path = model / checkpoint.CONFIG
    path.write_text(path.read_text().replace('_embeddings": 4096', '_embeddings": 40'))
    assert main(["sample", str(model), "--image", str(picture), *asked]) == 0
    assert capsys.readouterr().out.strip()


def budget(folder: Path, **size: float) -> None:
    path = folder / "preprocessor_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"size": told["size"] | size}))


DAMAGES = {
    "no number": lambda folder: budget(folder, longest_edge=float("inf")),
    "more than memory holds": lambda folder: budget(
        folder, shortest_edge=9 * 10**12, longest_edge=10**13
    ),
    "deep": lambda folder: (folder / "preprocessor_config.json").write_text("[" * 100_000),
    "no heads": lambda folder: (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace('attention_heads": 2', 'attention_heads": 0')
    ),
    "no index": lambda folder: (folder / checkpoint.INDEX).write_text('{"weight_map": 3}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_one_line_that_names_it(model, picture, damage, capsys):
    DAMAGES[damage](model)
    assert main(["sample", str(model), "--image", str(picture)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(model) in line
