"""The small captioner's training and its judge, on a few scenes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from curation.core.errors import UsageError
from curation.core.progress import SILENT
from curation.demo.captioner_score import Lot, score_captioner, score_table, write_score
from curation.demo.captions_eyes import seen
from curation.demo.captions_facts import stated, told
from curation.demo.pair import scene_of
from curation.demo.scene import Group, Placed
from curation.demo.score_facts import FactTally
from curation.demo.train_captioner import Training, train_captioner
from curation.engines.local import LocalEngine
from curation.models.captioner import DEMO_CAPTIONER, Captioner, weights_name


def trained(folder, **changed):
    given = {"scenes": 8, "texts": 60, "looks": 1, "look_batch": 4, "turns": 1, "batch": 4}
    training = Training(**{**given, "processes": 1, **changed})
    with LocalEngine(workers=0) as engine:
        return train_captioner(folder, training, engine)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "small"
    return out, trained(out)


def test_a_training_gives_a_folder_that_opens_and_says_how_it_was_made(folder):
    out, made = folder
    assert len(made["losses"]) == 2 + 2
    assert all(np.isfinite(made["losses"]))
    assert Captioner(out).model.config.text.num_attention_heads == 4
    told_there = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert told_there["training"]["scenes"] == 8
    assert told_there["words"] <= 2048
    assert told_there["training"]["start"] == ""
    assert told_there["bytes"] < 12_000_000


def test_the_same_settings_give_the_same_weights(folder, tmp_path):
    out, made = folder
    again = trained(tmp_path / "again")
    assert again["losses"] == made["losses"]
    one, two = (path / "model.safetensors" for path in (out, tmp_path / "again"))
    assert one.read_bytes() == two.read_bytes()


def test_two_processes_learn_together_what_one_learns_alone(folder, tmp_path):
    _, made = folder
    both = trained(tmp_path / "both", processes=2)
    assert both["losses"] == pytest.approx(made["losses"], rel=0.05)


def test_losses_fall(tmp_path):
    losses = trained(tmp_path / "more", looks=5, turns=5, warmup=3, seeing=0)["losses"]
    seeing, telling = losses[:10], losses[10:]
    assert np.mean(seeing[-3:]) < np.mean(seeing[:3]) - 0.5
    assert np.mean(telling[-3:]) < np.mean(telling[:3]) - 0.5


def test_a_training_goes_on_from_a_folder_and_stops_where_it_is_told(folder, tmp_path):
    out, made = folder
    more = trained(tmp_path / "more", start=str(out), looks=0, first_turn=1, stop=1)
    assert len(more["losses"]) == 1
    assert more["training"]["start"] == weights_name(out)
    one, two = (Captioner(path).model.embed.weight for path in (out, tmp_path / "more"))
    assert not torch.equal(one, two)
    assert torch.nn.functional.cosine_similarity(one, two, dim=-1).min() > 0.99
    assert len(made["losses"]) == 4


def test_tokens_are_told_what_covers_them():
    placed = (Placed(group=0, box=(0, 0, 50, 50)), Placed(group=1, box=(50, 50, 50, 50)))
    groups = (Group(thing="cat", colour="red"), Group(thing="dog", colour="blue"))
    scene = replace(scene_of(74, 0), width=100, height=100, placed=placed, groups=groups)
    labels = seen(scene, 2, 2)
    assert labels.things[1] == labels.things[2] == 0
    assert labels.things[0] != labels.things[3]
    assert labels.colours.tolist() == [labels.colours[0], 0, 0, labels.colours[3]]
    assert seen(scene, 4, 4).things.reshape(4, 4)[:2, :2].tolist() == [[labels.things[0]] * 2] * 2


def test_another_folder_is_not_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        trained(tmp_path)
    with pytest.raises(ValueError, match="turns must be at least 1"):
        Training(turns=0)
    with pytest.raises(ValueError, match="one scene a process"):
        Training(batch=1, processes=2)


def test_facts_are_counted_by_what_they_are_about():
    scene = scene_of(74, 0)
    full = FactTally()
    full.add(stated(told(scene)), scene)
    assert set(full.shares()["all"].values()) == {1.0}
    half = FactTally()
    half.add(frozenset({("object", scene.groups[0].thing), ("object", "unicorn")}), scene)
    assert half.shares()["object"]["precision"] == 0.5
    assert half.shares()["object"]["recall"] == 1 / len(scene.groups)
    assert half.shares()["attribute"]["recall"] == 0


def test_held_out_scenes_are_drawn_alike_each_time():
    with LocalEngine(workers=0) as engine:
        lots = [Lot.drawn(74, 6, engine, SILENT) for _ in range(2)]
    assert lots[0].originals == lots[1].originals
    assert lots[0].claims == lots[1].claims


@pytest.mark.slow
def test_the_model_that_ships_beats_the_originals_and_itself_without_them(tmp_path):
    with LocalEngine(workers=0) as engine:
        found = score_captioner(DEMO_CAPTIONER, engine, count=80)
    facts, kept = found["facts"], found["kept"]
    assert kept["both"]["retention"] > kept["picture"]["retention"] + 0.3
    assert kept["both"]["false_facts_dropped"] > 0.6
    for kind in ("object", "attribute", "relation", "place"):
        assert facts["both"][kind]["precision"] > facts["picture"][kind]["precision"]
    for kind in ("object", "attribute", "place", "all"):  # relations are no better
        assert facts["both"][kind]["precision"] > facts["original"][kind]["precision"] + 0.03
    assert found["claims"]["auc"] > 0.7
    shutil.copy(DEMO_CAPTIONER / "metrics.json", tmp_path)
    write_score(tmp_path, found)
    assert json.loads((tmp_path / "metrics.json").read_text())["held_out"]["scenes"] == 80
    assert "| object |" in score_table(found)
