"""The small CLIP: its vocabulary, its training, its false captions, and the shipped weights."""

import numpy as np
import pytest
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file

from curation.core.errors import UsageError
from curation.demo.clip_pairs import draw_pairs
from curation.demo.train_clip import Training, auc, held_out_auc, train_clip
from curation.demo.vocabulary import BYTES, encoded, learn_merges
from curation.engines.local import LocalEngine
from curation.models.clip import load_clip
from curation.models.clip_source import CONFIG_FILE, DEMO_FOLDER, ClipSource
from curation.models.thresholds import absolute_threshold

TEXTS = ["Two red cars by the sea", "a red car", "the sea, the sea", "cars and a café", "red red"]


@pytest.fixture
def tokenizer(tmp_path):
    def made(merges) -> SimpleTokenizer:
        (tmp_path / "vocabulary.gz").write_bytes(encoded(merges))
        return SimpleTokenizer(bpe_path=str(tmp_path / "vocabulary.gz"), context_length=36)

    return made


def test_a_vocabulary_is_learnt_from_the_most_frequent_pairs_first():
    assert learn_merges(["ab ab ab abc", "bc"], BYTES + 3, 1) == [
        ("a", "b</w>"),
        ("b", "c</w>"),
        ("a", "bc</w>"),
    ]
    assert learn_merges(["ab ab ab abc", "bc"], BYTES + 1, 1) == [("a", "b</w>")]
    assert learn_merges(["ab ab ab abc", "bc"], 4096, 3) == [("a", "b</w>")]
    assert learn_merges([], 4096) == []


def test_a_vocabulary_is_the_same_whatever_the_order_of_captions():
    assert encoded(learn_merges(TEXTS, 600)) == encoded(learn_merges(reversed(TEXTS), 600))


def test_open_clips_tokenizer_reads_it_and_words_seen_often_are_one_token(tokenizer):
    merges = learn_merges(TEXTS, 4096)
    made = tokenizer(merges)
    assert made.vocab_size == BYTES + len(merges)
    assert [len(made.encode(word)) for word in ("red", "sea", "the")] == [1, 1, 1]
    for text in ("red sea", "naïve 日本 🙂", "x" * 50, "a_b-c 12"):
        assert made.decode(made.encode(text)).replace(" ", "") == text.replace(" ", "")
    ids = made(["red sea", "car " * 90])
    assert ids.shape == (2, 36)
    assert int(ids.max()) < made.vocab_size


@pytest.fixture(scope="module")
def pairs():
    with LocalEngine(workers=0) as engine:
        return draw_pairs(73, 500, engine)


def test_pairs_are_those_of_their_seed_and_number(pairs):
    with LocalEngine(workers=0) as engine:
        fewer = draw_pairs(73, 12, engine)
        told_twice = draw_pairs(73, 12, engine, captions=2, small=True)
        other = draw_pairs(74, 12, engine)
    assert (fewer.pixels == pairs.pixels[:12]).all()
    assert fewer.captions == pairs.captions[:12]
    assert [told[0] for told in told_twice.captions] == [told for (told,) in fewer.captions]
    apart = np.abs(told_twice.pixels.astype(int) - fewer.pixels).mean(axis=(1, 2, 3))
    assert np.median(apart) < 15  # the same scenes painted smaller, on patterns of another size
    assert other.captions != fewer.captions


def test_false_captions_say_the_same_words_of_a_picture_that_is_not_there(pairs):
    for told in (pairs.recoloured, pairs.turned):
        found = [
            (true, false) for (true,), false in zip(pairs.captions, told, strict=True) if false
        ]
        assert len(found) > 20
        for true, false in found:
            assert true != false
            words = [sorted(set(text.lower().split()) - {"a", "an"}) for text in (true, false)]
            assert words[0] == words[1]


def test_training_lowers_the_loss_and_leaves_a_model_that_opens(tmp_path):
    training = Training(pairs=64, epochs=4, batch=16, held_out=16, threads=1)
    with LocalEngine(workers=0) as engine:
        metrics = train_clip(tmp_path / "model", training, engine)
    losses = metrics["losses"]
    assert len(losses) == 16
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    assert metrics["bytes"] <= 8_000_000
    assert metrics["words"] <= 4096
    weights = load_file(str(tmp_path / "model" / "model.safetensors"))
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.float16"}
    model = load_clip(ClipSource(model="local", checkpoint=str(tmp_path / "model")))
    assert model.module.vocab_size == metrics["words"] == model.tokenizer.vocab_size


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with LocalEngine(workers=0) as engine, pytest.raises(UsageError, match="holds other files"):
        train_clip(tmp_path, Training(pairs=4), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_auc_is_the_chance_of_scoring_higher():
    high, low = np.array([3, 2, 2], np.float32), np.array([1, 2], np.float32)
    assert auc(high, low) == pytest.approx(
        np.mean([(h > n) + (h == n) / 2 for h in high for n in low])
    )


def test_the_shipped_model_tells_true_captions_from_those_of_other_pictures(pairs):
    told = held_out_auc(DEMO_FOLDER, pairs)
    assert told["shuffled"] >= 0.95
    assert 0.4 < told["swapped_colour"] < 1  # may be a guess
    assert 0.4 < told["flipped_relation"] < 1
    assert (DEMO_FOLDER / CONFIG_FILE).exists()


def test_absolute_thresholds_belong_to_weights_and_the_demo_has_none():
    assert absolute_threshold("demo", "") is None
    assert absolute_threshold("ViT-B-32", "") is None
    threshold = absolute_threshold("ViT-B-32-quickgelu", "openai")
    assert threshold is not None
    assert threshold.cosine == 0.3
    assert "LAION-400M" in threshold.source
