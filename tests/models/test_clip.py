"""Finding, naming and loading CLIP models, and what is said of those that cannot be."""

import json
import logging
import os
import pickle
import shutil
import time
import zipfile
from pathlib import Path

import open_clip
import pytest
import torch
from huggingface_hub import close_session, constants
from safetensors.torch import load_file, save_file

from curation.core.errors import CurationError, RunError, UsageError
from curation.models import clip
from curation.models.clip import load_clip
from curation.models.clip_source import (
    CONFIG_FILE,
    DEMO_FOLDER,
    ClipSource,
    checkpoint_sha256,
    model_config,
    model_names,
    weights_name,
    weights_path,
)

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": TINY}))
    torch.manual_seed(5)
    save_file(open_clip.CLIP(**TINY).state_dict(), str(folder / "model.safetensors"))
    return folder


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy of it to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def local(folder: Path) -> ClipSource:
    return ClipSource(model="local", checkpoint=str(folder))


def refused(source: ClipSource, kind: type[CurationError] = UsageError) -> str:
    """What is said of a model that cannot be loaded: one line."""
    with pytest.raises(kind) as caught:
        load_clip(source)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


def test_a_model_that_does_not_exist_is_told_with_those_that_sound_like_it():
    assert "no CLIP model 'ViT-B32'; there are ViT-B-32" in refused(ClipSource(model="ViT-B32"))
    assert "RN50" in refused(ClipSource(model="rn-50"))
    assert "model=local" in refused(ClipSource(model="hf-hub:timm/ViT-B-16-SigLIP"))
    assert refused(ClipSource(model="#")) == "no CLIP model '#'"


def test_the_names_are_those_of_open_clip_and_two_of_our_own():
    assert set(model_names()) == {*open_clip.list_models(), "demo", "local"}
    for name in open_clip.list_models():
        assert model_config(ClipSource(model=name)) == open_clip.get_model_config(name)


def test_a_tag_that_does_not_exist_is_told_with_those_that_do():
    said = refused(ClipSource(model="ViT-B-32", pretrained="laion2b"))
    assert "ViT-B-32 has no weights 'laion2b'" in said
    assert "laion2b_s34b_b79k" in said


def test_weights_of_the_other_activation_are_refused_with_the_model_to_use():
    said = refused(ClipSource(model="ViT-B-32", pretrained="openai"))
    assert said.endswith("use model=ViT-B-32-quickgelu")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """The hub's client as it is where there is no network and nothing was downloaded."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("offline")
def test_a_tag_that_is_not_here_fails_without_a_network():
    said = refused(ClipSource(model="ViT-B-32", pretrained="laion2b_s34b_b79k"), RunError)
    assert said.startswith(
        "the weights ViT-B-32 laion2b_s34b_b79k are not on this machine and cannot be downloaded ("
    )


def test_a_network_that_fails_is_told_in_the_message_alone(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the hub's retries
    hub = logging.getLogger("huggingface_hub")  # which tells no logger above it
    monkeypatch.setattr(hub, "handlers", [caplog.handler])
    close_session()  # a new one goes through the proxy
    said = refused(ClipSource(model="ViT-B-16", pretrained="laion2b_s34b_b88k"), RunError)
    close_session()
    assert "Connection refused); fetch the file" in said
    assert caplog.messages == []


@pytest.mark.usefixtures("offline")
def test_a_tokenizer_that_is_not_here_fails_without_a_network():
    config = model_config(ClipSource(model="ViT-B-16-SigLIP"))
    assert config["text_cfg"]["hf_tokenizer_name"]
    assert "cannot be set up" in refused(ClipSource(model="ViT-B-16-SigLIP"), RunError)


def test_random_weights_are_those_of_a_fixed_seed_and_leave_the_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one = load_clip(ClipSource(model="ViT-S-32-alt")).module.state_dict()
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-S-32-alt").state_dict()
    assert one.keys() == theirs.keys()
    assert all(torch.equal(one[name], theirs[name]) for name in one)
    assert weights_name(ClipSource(model="ViT-S-32-alt")) == "random, seed 0"


@pytest.mark.parametrize("ending", ["safetensors", "pt", "bin"])
def test_a_checkpoint_is_loaded_in_every_format(folder, ending):
    weights = load_file(str(folder / "model.safetensors"))
    if ending != "safetensors":
        (folder / "model.safetensors").unlink()
        torch.save({"state_dict": weights, "epoch": 3}, folder / f"model.{ending}")
    assert weights_path(local(folder)) == folder / f"model.{ending}"
    loaded = load_clip(local(folder)).module.state_dict()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_checkpoint_of_a_named_model_is_loaded(tmp_path):
    torch.manual_seed(9)
    weights = open_clip.create_model("ViT-S-32-alt").state_dict()
    path = tmp_path / "small.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, str(path))
    loaded = load_clip(ClipSource(model="ViT-S-32-alt", checkpoint=str(path))).module.state_dict()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_half_precision_weights_are_loaded_as_float32(folder):
    path = folder / "model.safetensors"
    halves = {name: tensor.half() for name, tensor in load_file(str(path)).items()}
    save_file(halves, str(path))
    loaded = load_clip(local(folder)).module.state_dict()
    assert all(loaded[name].dtype == torch.float32 for name in halves)
    assert all(torch.equal(loaded[name], halves[name].float()) for name in halves)


def test_weights_of_another_architecture_are_refused(folder):
    said = refused(ClipSource(model="ViT-B-32", checkpoint=str(folder / "model.safetensors")))
    assert "weights of another architecture than ViT-B-32 (1 of the model's 302 tensors" in said
    torch.save({}, folder / "empty.pt")
    said = refused(ClipSource(model="ViT-B-32", checkpoint=str(folder / "empty.pt")))
    assert "weights of another architecture than ViT-B-32 (0 of the model's 302 tensors" in said


@pytest.mark.parametrize(
    ("changed", "fitting"),
    [({"patch_size": 8}, 36), ({"layers": 2}, 38), ({"width": 64, "head_width": 16}, 18)],
)
def test_weights_that_nearly_fit_are_refused_in_words_of_our_own(folder, changed, fitting):
    config = {**TINY, "vision_cfg": {**TINY["vision_cfg"], **changed}}
    there = len(open_clip.CLIP(**config).state_dict())
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": config}))
    assert refused(local(folder)) == (
        f"{folder / 'model.safetensors'}: weights of another architecture than its {CONFIG_FILE} "
        f"({fitting} of the model's {there} tensors are in it with their shape); name the model "
        "that they are of"
    )


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.02, 0.5, 0.999])
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_weights_file_that_was_cut_short_is_refused(folder, ending, share):
    path = folder / "model.safetensors"
    if ending == "pt":
        torch.save(load_file(str(path)), folder / "model.pt")
        path.unlink()
        path = folder / "model.pt"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    said = refused(local(folder))
    assert str(path) in said
    assert "cut short" in said or "not a file of tensors alone" in said


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def test_nothing_but_tensors_is_unpickled(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil()}, folder / "model.pt")
    assert "could run code" in refused(local(folder))
    (folder / "model.pt").write_bytes(pickle.dumps(Evil()))
    assert "could run code" in refused(local(folder))
    assert not (tmp_path / "pwned").exists()


def test_a_script_archive_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "model.pt", "w") as archive:
        archive.writestr("model/constants.pkl", b"\x80\x02).")
        archive.writestr("model/data.pkl", b"\x80\x02).")
        archive.writestr("model/version", b"3\n")
    assert str(folder / "model.pt") in refused(local(folder))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (ClipSource(model="local"), "model=local needs checkpoint=FOLDER"),
        (ClipSource(model="local", pretrained="openai"), "model=local needs checkpoint=FOLDER"),
        (ClipSource(model="demo", pretrained="openai"), "has its own weights"),
        (ClipSource(model="demo", checkpoint="a.pt"), "there are weights already"),
        (ClipSource(model="RN50", checkpoint="nowhere.pt"), "nowhere.pt: no such weights file"),
        (ClipSource(model="RN50", checkpoint=__file__), "weights are .safetensors"),
        (ClipSource(model="RN50", pretrained=__file__), "name a file with checkpoint"),
        (ClipSource(model="local", checkpoint="nowhere"), "configuration cannot be read"),
    ],
)
def test_contradictory_sources_are_refused(source, said):
    assert said in refused(source)


def test_a_folder_without_a_usable_configuration_or_weights_is_refused(folder):
    shutil.copy(folder / "model.safetensors", folder / "second.safetensors")
    assert "2 weight files where there should be one" in refused(local(folder))
    for text in ("", "[]", "{}", '{"model_cfg": 3}', '{"model_cfg": {"embed_dim": 3}}'):
        (folder / CONFIG_FILE).write_text(text)
        assert "not a model's configuration" in refused(local(folder))
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": {**TINY, "vision_cfg": {"x": 1}}}))
    (folder / "second.safetensors").unlink()
    assert "cannot be set up" in refused(local(folder), RunError)


def test_a_tokenizer_forgets_words_and_tokenizes_as_before(tiny, monkeypatch):
    model = load_clip(local(tiny))
    texts = [f"word{letter}a tree" for letter in "abcdefghij"]
    before = model.tokenize(texts)
    assert torch.equal(before, open_clip.get_tokenizer("ViT-B-32", context_length=12)(texts))
    monkeypatch.setattr(clip, "_WORDS_KEPT", 5)
    for _ in range(3):
        assert torch.equal(model.tokenize(texts), before)
    assert model.tokenize([]).shape == (0, 12)
    assert len(model.tokenizer.cache) == 2


def test_an_endless_word_takes_no_endless_time(tiny):
    model = load_clip(local(tiny))
    ids = model.tokenize(["x" * 1_000_000])
    assert torch.equal(ids, model.tokenize(["x" * 5_000]))


def test_computing_uses_the_threads_it_is_given_and_puts_them_back():
    before = torch.get_num_threads()
    for threads in (1, 3):
        with clip.computing(threads):
            assert torch.get_num_threads() == threads
            assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()


def test_a_folders_name_is_of_all_that_decides_scores(folder):
    before = checkpoint_sha256(local(folder))
    assert weights_name(local(folder)) == before
    (folder / "README.md").write_text("notes")
    assert checkpoint_sha256(local(folder)) == before
    moved = folder.rename(folder.parent / "elsewhere")
    assert checkpoint_sha256(local(moved)) == before
    changed = {**TINY, "quick_gelu": True}
    (moved / CONFIG_FILE).write_text(json.dumps({"model_cfg": changed}))
    assert checkpoint_sha256(local(moved)) != before


def test_open_clip_itself_loads_the_shipped_model():
    ours = load_clip(ClipSource(model="demo"))
    theirs, _, _ = open_clip.create_model_and_transforms(f"local-dir:{DEMO_FOLDER}")
    loaded = theirs.state_dict()
    assert all(torch.equal(ours.module.state_dict()[name], loaded[name]) for name in loaded)
    assert ours.size == (64, 64)
    assert sum(path.stat().st_size for path in DEMO_FOLDER.iterdir()) <= 8_000_000
    assert ours.module.vocab_size == ours.tokenizer.vocab_size <= 4096
