"""Heads over stored embeddings: values, the same bits whatever the batch, and bad files."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save_file

from curation.core.errors import UsageError
from curation.core.fingerprint import operator_fingerprint
from curation.operators.vision_language.linear_head import HeadFile, LinearHead
from curation.pipeline.measure import layers_of
from tests.operators.vision_language.embeddings import Given, embeddings, unit_rows

WIDTH = 96
SAYS = {"column": "nsfw_score", "clip": "ViT-B-32"}


def layers(*widths, seed=0):
    """Weights and biases of a chain of layers, named as torch.nn.Sequential does."""
    rng = np.random.default_rng(seed)
    found = {}
    for number, (taken, given) in enumerate(pairwise(widths)):
        weight = rng.standard_normal((given, taken)) / np.sqrt(taken)
        found[f"layers.{2 * number}.weight"] = weight.astype(np.float32)
        found[f"layers.{2 * number}.bias"] = rng.standard_normal(given).astype(np.float32)
    return found


@pytest.fixture
def head(tmp_path):
    def write(tensors, name="head.safetensors", **said):
        path = tmp_path / name
        save_file(tensors, path, metadata={**SAYS, **said})
        return str(path)

    return write


def torch_scores(tensors, rows, activation, output, dtype=np.float32):
    """The same head in torch."""
    shapes = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "none": lambda x: x}
    values = torch.from_numpy(np.asarray(rows, np.float16).astype(dtype))
    for number in range(len(tensors) // 2):
        if number:
            values = shapes[activation](values)
        named = (tensors[f"layers.{2 * number}.{part}"] for part in ("weight", "bias"))
        weight, bias = (torch.from_numpy(part.astype(dtype)) for part in named)
        values = torch.nn.functional.linear(values, weight, bias)
    return (torch.sigmoid(values) if output == "sigmoid" else values)[:, 0].numpy()


@pytest.mark.parametrize("widths", [(WIDTH, 1), (WIDTH, 64, 1), (WIDTH, 1024, 128, 64, 16, 1)])
@pytest.mark.parametrize("activation", ["relu", "gelu", "none"])
@pytest.mark.parametrize("output", ["sigmoid", "none"])
def test_scores_are_those_of_torch(run, head, widths, activation, output):
    tensors = layers(*widths)
    file = HeadFile.at(head(tensors, activation=activation, output=output))
    rows = unit_rows(1, 100, WIDTH)
    out = run(LinearHead(heads=(file,)), embeddings(rows))
    assert out.schema.field("nsfw_score").type == pa.float32()
    for dtype, apart in ((np.float64, 2e-7), (np.float32, 2e-6)):
        expected = torch_scores(tensors, rows, activation, output, dtype)
        assert np.abs(out["nsfw_score"].to_numpy() - expected).max() < apart


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_score_has_the_same_bits_in_every_batch(run, head, activation):
    file = HeadFile.at(head(layers(WIDTH, 333, 65, 1), activation=activation, output="sigmoid"))
    rows = unit_rows(2, 500, WIDTH)
    said = [
        run(LinearHead(heads=(file,)), embeddings(rows), batch_rows=size)["nsfw_score"].to_pylist()
        for size in (1, 2, 7, 64, 255, 500)
    ]
    assert all(scores == said[0] for scores in said)


@pytest.mark.parametrize("activation", ["relu", "gelu", "none"])
def test_no_sum_is_ever_rounded(head, activation):
    """Before they are cut to float32, where a last bit would seldom be seen."""
    scorer = HeadFile.at(head(layers(WIDTH, 333, 65, 1), activation=activation)).load()
    rows = np.asarray(unit_rows(6, 400, WIDTH), np.float16).astype(np.float64)
    whole = scorer(rows)
    for size in (1, 3, 64, 255):
        parts = [scorer(rows[at : at + size]) for at in range(0, len(rows), size)]
        assert (np.concatenate(parts) == whole).all()


def test_rows_without_an_embedding_have_no_score(run, head):
    tensors = layers(WIDTH, 1)
    good = unit_rows(3, 2, WIDTH)
    bad = np.full(WIDTH, np.nan)
    rows = [good[0], None, bad, np.zeros(WIDTH), good[1]]
    out = run(LinearHead(heads=(HeadFile.at(head(tensors)),)), embeddings(rows))
    scores = out["nsfw_score"].to_pylist()
    assert [score is None for score in scores] == [False, True, True, True, False]
    expected = torch_scores(tensors, good, "none", "none")
    assert [scores[0], scores[4]] == pytest.approx(expected.tolist(), abs=1e-6)
    assert out["error"].null_count == 5


def test_each_head_gives_a_column(run, head):
    one = HeadFile.at(head(layers(WIDTH, 1, seed=1), "a.safetensors"))
    other = HeadFile.at("aesthetic_score=" + head(layers(WIDTH, 1, seed=2), "b.safetensors"))
    rows = embeddings(unit_rows(4, 5, WIDTH))
    both = run(LinearHead(heads=(one, other)), rows)
    assert LinearHead(heads=(one, other)).provides.names == ["nsfw_score", "aesthetic_score"]
    for single in (one, other):
        alone = run(LinearHead(heads=(single,)), rows)
        assert alone[single.column].to_pylist() == both[single.column].to_pylist()


def test_a_weight_alone_is_a_head(run, head):
    weight = np.arange(4, dtype=np.float32)
    file = HeadFile.at(head({"weight": weight}))
    out = run(LinearHead(heads=(file,)), embeddings([[0, 0.5, 0, -0.5]]))
    assert out["nsfw_score"].to_pylist() == [-1.0]


def test_its_name_is_its_content(head, tmp_path):
    path = head(layers(WIDTH, 1))
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes((tmp_path / "head.safetensors").read_bytes())
    one, same = (LinearHead(heads=(HeadFile.at(p),)) for p in (path, str(moved)))
    other = LinearHead(heads=(HeadFile.at(head(layers(WIDTH, 1, seed=9), "c.safetensors")),))
    assert one == same
    assert operator_fingerprint(one, {}) == operator_fingerprint(same, {})
    assert operator_fingerprint(one, {}) != operator_fingerprint(other, {})


def test_embeddings_of_another_width_are_refused(head):
    operator = LinearHead(heads=(HeadFile.at(head(layers(WIDTH, 1))),))
    with pytest.raises(UsageError, match=r"linear_head needs clip_image of 192 bytes.* has 100"):
        layers_of((Given(width=50), operator))
    assert set(layers_of((Given(width=WIDTH), operator))) == {"given", "linear_head"}


def test_a_head_of_another_model_is_refused(head):
    operator = LinearHead(heads=(HeadFile.at(head(layers(WIDTH, 1))),))
    operator.check_model("ViT-B-32")
    with pytest.raises(UsageError, match="made for embeddings of ViT-B-32, these are of ViT-L-14"):
        operator.check_model("ViT-L-14")


def test_a_file_cut_anywhere_is_told_in_one_line(head, tmp_path):
    path = head(layers(WIDTH, 8, 1))
    data = (tmp_path / "head.safetensors").read_bytes()
    for size in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "head.safetensors").write_bytes(data[:size])
        with pytest.raises(UsageError, match="no whole safetensors file") as caught:
            HeadFile.at(path)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_changed_is_told(head, tmp_path):
    with pytest.raises(UsageError, match="head cannot be read"):
        HeadFile.at(str(tmp_path / "none.safetensors"))
    file = HeadFile.at(head(layers(WIDTH, 1)))
    head(layers(WIDTH, 1, seed=5))
    with pytest.raises(UsageError, match="changed during the run"):
        LinearHead(heads=(file,)).open()


@pytest.mark.parametrize(
    ("tensors", "said", "message"),
    [
        (layers(WIDTH, 2), {}, "do not lead to one finite score"),
        (layers(WIDTH, 8, 1) | {"layers.2.weight": np.ones((1, 9), "f4")}, {}, "do not lead to"),
        ({"weight": np.full((1, 4), np.nan, "f4")}, {}, "do not lead to one finite score"),
        (layers(WIDTH, 1) | {"norm.running_mean": np.ones(3, "f4")}, {}, "weights and biases"),
        ({}, {}, "weights and biases"),
        (layers(WIDTH, 1), {"activation": "swish"}, "activation is one of relu, gelu, none"),
        (layers(WIDTH, 1), {"column": ""}, "names no column"),
        (layers(WIDTH, 1), {"column": "NSFW score"}, "names no column"),
    ],
)
def test_what_is_no_head_is_refused(head, tensors, said, message):
    with pytest.raises(UsageError, match=message):
        HeadFile.at(head(tensors, **said))


def test_heads_that_do_not_go_together_are_refused(head):
    one = HeadFile.at(head(layers(WIDTH, 1)))
    wide = HeadFile.at("other=" + head(layers(WIDTH + 1, 1), "wide.safetensors"))
    with pytest.raises(ValueError, match="two heads give one column"):
        LinearHead(heads=(one, one))
    with pytest.raises(ValueError, match="different widths: nsfw_score 96, other 97"):
        LinearHead(heads=(one, wide))
