"""Shapes and their sizes."""

import warnings
from dataclasses import replace

import pytest
import torch

from curation.models.glm4v.config import CONFIGS, Glm4vConfig, MoeConfig, TextConfig, VisionConfig
from curation.models.glm4v.flops import decoder_parameters
from curation.models.glm4v.model import Glm4v


def parameters(name: str) -> int:
    model = Glm4v.for_causal(CONFIGS[name](), "meta")
    return sum(weight.numel() for weight in model.parameters())


def oracle_parameters(name: str) -> int:
    from transformers import AutoConfig, AutoModelForImageTextToText

    written = CONFIGS[name]().to_hf()
    config = AutoConfig.for_model(written.pop("model_type"), **written)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = AutoModelForImageTextToText.from_config(config)
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_as_many_as_in_transformers(name):
    assert parameters(name) == oracle_parameters(name)


@pytest.mark.parametrize(
    ("name", "billions"),
    # as the model cards of GLM-4.1V-9B-Thinking and GLM-4.5V count their weight files: 10B, 108B
    [("9b", 10.29), ("106b", 107.7)],
)
def test_parameters_are_as_published(name, billions):
    assert parameters(name) / 1e9 == pytest.approx(billions, rel=0.01)


def test_twelve_billion_parameters_of_4_5v_are_active_for_a_token():
    assert decoder_parameters(CONFIGS["106b"]()) / 1e9 == pytest.approx(12, rel=0.02)


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_come_back_from_hugging_face(name):
    config = CONFIGS[name]()
    assert Glm4vConfig.from_hf(config.to_hf()) == config


def test_positions_are_read_from_configs_older_than_transformers_5():
    for name in ("9b", "106b"):
        written = CONFIGS[name]().to_hf()
        del written["text_config"]["rope_parameters"], written["vision_config"]["rope_parameters"]
        assert Glm4vConfig.from_hf(written) == CONFIGS[name]()


def test_a_config_takes_up_a_tokenizer():
    special = {
        "<|image|>": 1,
        "<|video|>": 2,
        "<|begin_of_image|>": 3,
        "<|end_of_image|>": 4,
        "<|begin_of_video|>": 5,
        "<|end_of_video|>": 6,
        "<|endoftext|>": 0,
        "<|user|>": 7,
    }
    assert CONFIGS["tiny"]().for_tokenizer(special, 1001).text.vocab_size == 4096
    config = CONFIGS["tiny"]().for_tokenizer(special, 5001)
    assert config.text.vocab_size == 5056
    assert (config.tokens.image_token_id, config.tokens.pad_token_id) == (1, 0)
    assert config.ends == [0, 7]
    assert config.vision == CONFIGS["tiny"]().vision


def test_what_ended_the_answers_of_a_checkpoint_still_does():
    shape = replace(CONFIGS["9b"](), turn_ends=(151_336,))
    asked = shape.ending_with([151_329, 151_338, 151_336])
    assert asked.ends == [151_329, 151_336, 151_338]
    assert Glm4vConfig.from_hf(asked.to_hf()) == asked
    assert asked.with_tokens(shape).ends == [151_329, 151_336, 151_338]
    assert CONFIGS["9b"]().with_tokens(shape).ends == [151_329, 151_336]
    other = replace(shape, tokens=replace(shape.tokens, pad_token_id=9), turn_ends=(8,))
    assert asked.with_tokens(other).ends == [9, 8]
    assert shape.ending_with(151_338).ends == [151_329, 151_336, 151_338]
    assert shape.ending_with(None) == shape
    for named in ("end", [1.5], [-1], [True], {"id": 3}):
        with pytest.raises(ValueError, match="eos_token_id is"):
            shape.ending_with(named)


def test_shapes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="token 4095 is not in a vocabulary of 4000"):
        replace(CONFIGS["tiny"](), text=replace(CONFIGS["tiny"]().text, vocab_size=4000))
    with pytest.raises(ValueError, match="mrope_section must sum to 32"):
        TextConfig(mrope_section=(8, 8, 8))
    with pytest.raises(ValueError, match="multiple of num_key_value_heads"):
        TextConfig(num_key_value_heads=3)
    with pytest.raises(ValueError, match="head_dim"):
        TextConfig(num_attention_heads=96, num_key_value_heads=8)
    assert TextConfig(num_attention_heads=96, num_key_value_heads=8, moe=MoeConfig())
    for section in ((8, 24), (8, 12, 12.0), (-8, 20, 20)):
        with pytest.raises(ValueError, match="three whole numbers"):
            TextConfig(mrope_section=section)
    with pytest.raises(ValueError, match="num_experts_per_tok"):
        MoeConfig(num_experts_per_tok=129)
    with pytest.raises(ValueError, match="multiple of 4"):
        VisionConfig(num_heads=7)
