"""Checkpoints: from transformers, to transformers, and what a damaged one says."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from curation.core.errors import UsageError
from curation.models.glm4v import checkpoint
from curation.models.glm4v.config import Glm4vConfig
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
        ({"text_config": {}}, "hidden_size"),
    ],
)
def test_a_config_of_another_model_is_refused(change, fault):
    with pytest.raises(UsageError, match=fault):
        Glm4vConfig.from_hf(small("dense").to_hf() | change)


def test_the_config_of_transformers_itself_is_read():
    for kind in ("dense", "moe"):
        config = small(kind)
        written = oracle_of(config).config.to_dict()
        assert Glm4vConfig.from_hf(written) == config
