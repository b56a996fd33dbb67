"""Weights looked at before anything is loaded: there, whole, and of a tag that exists."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from curation.core.errors import UsageError
from curation.models.clip_source import DEMO_FOLDER, ClipSource, check_weights


@pytest.fixture(params=["safetensors", "pt"])
def weights(request, tmp_path) -> Path:
    """A whole weights file."""
    path = tmp_path / f"weights.{request.param}"
    if request.param == "pt":
        torch.save({"state_dict": {"a": torch.zeros(2000)}}, path)
    else:
        shutil.copy(next(DEMO_FOLDER.glob("*.safetensors")), path)
    return path


def test_whole_weights_pass(weights):
    check_weights(ClipSource(model="RN50", checkpoint=str(weights)))
    check_weights(ClipSource(model="demo"))
    check_weights(ClipSource(model="RN50"))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_weights_that_were_cut_short_are_refused_unloaded(weights, share):
    os.truncate(weights, int(weights.stat().st_size * share))
    with pytest.raises(UsageError, match="damaged or was cut short; fetch it again") as caught:
        check_weights(ClipSource(model="RN50", checkpoint=str(weights)))
    assert str(caught.value).startswith(f"{weights}: ")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such weights file"):
        check_weights(ClipSource(model="RN50", checkpoint=str(tmp_path / "a.pt")))
    with pytest.raises(UsageError, match="RN50 has no weights 'openal'; there are: openai"):
        check_weights(ClipSource(model="RN50", pretrained="openal"))


def test_looking_at_weights_loads_no_model():
    code = (
        "import sys; from curation.models.clip_source import *; "
        "check_weights(ClipSource(model='demo')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
