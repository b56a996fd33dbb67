"""Checkpoints: from transformers, to transformers, and what a damaged one says."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from curation.core.errors import UsageError
from curation.models.glm4v import checkpoint
from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.generate import generate, prompt
from curation.models.glm4v.model import Glm4v
from tests.models.glm4v.packs import oracle_of, pack, sample, small


@pytest.mark.parametrize("kind", ["dense", "moe"])
@pytest.mark.parametrize("shard_bytes", [checkpoint.SHARD_BYTES, 100_000])
def test_transformers_opens_what_we_save(kind, shard_bytes, tmp_path, generator):
    from transformers import AutoModelForImageTextToText

    ours = Glm4v.for_causal(small(kind)).eval()
    for router in ours.routers():
        torch.nn.init.normal_(router.bias)
    checkpoint.save(
        tmp_path, ours.config, ours.state_dict(), dtype=torch.float32, shard_bytes=shard_bytes
    )
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 or shard_bytes > 100_000
    theirs, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = pack(sample(generator, 4, (1, 4, 6), 5))
    with torch.no_grad():
        wanted = theirs(
            input_ids=batch.tokens[None],
            pixel_values=batch.pixels,
            image_grid_thw=batch.grids,
            mm_token_type_ids=(batch.tokens == 150).int()[None],
        ).logits[0]
        torch.testing.assert_close(ours.head(ours(batch)), wanted, rtol=1e-4, atol=1e-4)


def test_a_saved_checkpoint_loads_as_it_was(pair, tmp_path):
    checkpoint.save(tmp_path, pair.config, pair.ours.state_dict(), dtype=torch.float32)
    again = checkpoint.load_pretrained(tmp_path)
    assert again.config == pair.config
    wanted = pair.ours.state_dict()
    assert again.state_dict().keys() == wanted.keys()
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name


def test_files_hold_the_very_tensors_that_transformers_writes(pair, tmp_path):
    pair.oracle.save_pretrained(tmp_path / "theirs")
    state = pair.ours.state_dict()
    checkpoint.save(tmp_path / "ours", pair.config, state, dtype=torch.float32)
    theirs = load_file(tmp_path / "theirs" / checkpoint.WEIGHTS)
    ours = load_file(tmp_path / "ours" / checkpoint.WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_routers_stay_float32_in_a_bfloat16_checkpoint(tmp_path):
    model = Glm4v.for_causal(small("moe"))
    checkpoint.save(tmp_path, model.config, model.state_dict())
    kinds = {k: v.dtype for k, v in load_file(tmp_path / checkpoint.WEIGHTS).items()}
    exact = {name for name, kind in kinds.items() if kind == torch.float32}
    assert exact == {name for name in kinds if ".mlp.gate." in name}
    assert json.loads((tmp_path / checkpoint.CONFIG).read_text())["dtype"] == "bfloat16"


def test_the_same_model_is_saved_in_the_same_bytes(tmp_path):
    model = Glm4v.for_causal(small("dense"))
    for name in ("one", "two"):
        checkpoint.save(tmp_path / name, model.config, model.state_dict(), shard_bytes=100_000)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_faults_of_a_checkpoint_are_told(tmp_path):
    model = Glm4v.for_causal(small("dense"))
    with pytest.raises(UsageError, match=r"config\.json: cannot be read"):
        checkpoint.load_pretrained(tmp_path)
    checkpoint.save(tmp_path, model.config, model.state_dict())

    weights = load_file(tmp_path / checkpoint.WEIGHTS)
    head = weights.pop("lm_head.weight")
    save_file(weights, tmp_path / checkpoint.WEIGHTS)
    with pytest.raises(UsageError, match=r"has no tensor lm_head\.weight"):
        checkpoint.load_pretrained(tmp_path)
    save_file(weights | {"lm_head.weight": head[:8].clone()}, tmp_path / checkpoint.WEIGHTS)
    with pytest.raises(UsageError, match=r"head\.weight is \[8, 64\]"):
        checkpoint.load_pretrained(tmp_path)
    (tmp_path / checkpoint.WEIGHTS).write_bytes(b"cut short")
    with pytest.raises(UsageError, match=r"model\.safetensors: cannot be read"):
        checkpoint.load_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model_type": "qwen2_vl"}, "model_type is qwen2_vl"),
        ({"tie_word_embeddings": True}, "tied embeddings"),
        ({"text_config": {}}, "num_attention_heads"),
        ({"text_config": 3}, "not iterable"),
        ({"text_config": {"num_attention_heads": 0}}, "num_attention_heads is 0"),
        ({"text_config": {"num_key_value_heads": 0}}, "num_key_value_heads is 0"),
        ({"text_config": {"vocab_size": "160"}}, "vocab_size is '160'"),
        ({"text_config": {"vocab_size": 1e999}}, "vocab_size is inf"),
        ({"text_config": {"num_hidden_layers": -2}}, "num_hidden_layers is -2"),
        ({"text_config": {"rms_norm_eps": None}}, "rms_norm_eps is None"),
        ({"text_config": {"eos_token_id": "end"}}, "eos_token_id is 'end'"),
        ({"vision_config": {"num_heads": 0}}, "num_heads is 0"),
        ({"vision_config": {"patch_size": 1.5}}, "patch_size is 1.5"),
        ({"image_token_id": "150"}, "image_token_id is '150'"),
    ],
)
def test_a_config_of_another_model_is_refused(change, fault, tmp_path):
    config = small("dense").to_hf()
    for name, value in change.items():
        part = isinstance(value, dict) and value
        config[name] = config[name] | value if part else value
    (tmp_path / checkpoint.CONFIG).write_text(json.dumps(config))
    with pytest.raises(UsageError, match=fault) as caught:
        checkpoint.read_config(tmp_path)
    assert str(tmp_path / checkpoint.CONFIG) in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "3", "[" * 100_000, "{"])
def test_a_config_that_is_no_object_is_told(text, tmp_path):
    (tmp_path / checkpoint.CONFIG).write_text(text)
    with pytest.raises(UsageError, match=r"config\.json: cannot be read"):
        checkpoint.read_config(tmp_path)


def test_answers_end_where_ours_do_in_transformers_too(pair, tmp_path, generator):
    batch = prompt(pair.config, sample(generator, 6).ids)
    said = list(generate(pair.ours, batch, most=12))
    config = replace(pair.config, turn_ends=(said[3], 7))
    checkpoint.save(tmp_path, config, pair.ours.state_dict(), dtype=torch.float32)
    theirs = type(pair.oracle).from_pretrained(tmp_path)
    ids = batch.tokens[None]
    answer = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
    )[0, len(batch.tokens) :].tolist()
    assert answer == said[: said.index(said[3]) + 1]
    assert checkpoint.read_config(tmp_path) == config


def test_a_generation_config_says_what_ends_an_answer(tmp_path):
    model = Glm4v.for_causal(small("dense"))
    checkpoint.save(tmp_path, model.config, model.state_dict())
    path = tmp_path / checkpoint.GENERATION
    for told, ends in (([156, 9], [156, 9]), (9, [156, 9]), (None, [156])):
        path.write_text(json.dumps({"eos_token_id": told}))
        assert checkpoint.read_config(tmp_path).ends == ends
    for text in ('{"eos_token_id": "end"}', "[]"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"generation_config\.json"):
            checkpoint.read_config(tmp_path)


@pytest.mark.parametrize(
    "index", [{"weight_map": 3}, {}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../a"}}, []]
)
def test_an_index_that_names_no_files_is_told(index, tmp_path):
    model = Glm4v.for_causal(small("dense"))
    checkpoint.save(tmp_path, model.config, model.state_dict())
    (tmp_path / checkpoint.INDEX).write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"index\.json: (weight_map does not|cannot be read)"):
        checkpoint.load_pretrained(tmp_path)


def test_weights_that_do_not_fit_together_are_told(tmp_path):
    model = Glm4v.for_causal(small("moe"))
    checkpoint.save(tmp_path, model.config, model.state_dict())
    weights = load_file(tmp_path / checkpoint.WEIGHTS)
    name = next(name for name in weights if name.endswith("experts.3.up_proj.weight"))
    weights[name] = weights[name][:, :5].clone()
    save_file(weights, tmp_path / checkpoint.WEIGHTS)
    with pytest.raises(UsageError, match="cannot be put together") as caught:
        checkpoint.load_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_config_of_transformers_itself_is_read():
    for kind in ("dense", "moe"):
        config = small(kind)
        written = oracle_of(config).config.to_dict()
        assert Glm4vConfig.from_hf(written) == config
