"""A model by its run, by a checkpoint of it, whole or damaged."""

import logging
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from curation.cli.main import main
from curation.core.errors import RunError, UsageError
from curation.trainer.distributed import joined
from curation.trainer.listed import ListedReader, ListError
from curation.trainer.optim import adamw
from curation.trainer.state import Checkpoints, fault_of, step_folders
from curation.trainer.trained import Trained, find_trained
from tests.trainer.samples import jpeg, write_export

STEPS = ("000000002", "000000003")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps, its last two checkpoints kept."""
    root = tmp_path_factory.mktemp("trained")
    gui = write_export(root / "gui", "gui", count=30)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    asked = ("--stage", "1", "--config", "tiny-moe", "--workers", "0", "--global-batch", "2")
    asked += (
        "--sequence-length",
        "128",
        "--steps",
        "3",
        "--set",
        "checkpoint_every=1",
        "--set",
        "warmup=0",
    )
    assert main(["train", *asked, "--corpus", str(gui), "--out", str(root / "run")]) == 0
    torch.set_num_threads(threads)
    return root / "run"


@pytest.fixture
def unfinished(finished: Path, tmp_path: Path) -> Path:
    """The same before it ended."""
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    return tmp_path / "run"


def cut_list(step: Path) -> None:
    held = (step / ".metadata").read_bytes()
    (step / ".metadata").write_bytes(held[: len(held) // 2])


def lose_list(step: Path) -> None:
    (step / ".metadata").unlink()


def lose_bytes(step: Path) -> None:
    (step / "__0_0.distcp").unlink()


def cut_bytes(step: Path) -> None:
    held = (step / "__0_0.distcp").read_bytes()
    (step / "__0_0.distcp").write_bytes(held[: len(held) // 2])


DAMAGES = {
    cut_list: ".metadata is cut short or broken",
    lose_list: ".metadata cannot be read",
    lose_bytes: "__0_0.distcp is missing",
    cut_bytes: "__0_0.distcp is cut short",
}


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What torch would print on the terminal."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return dict(trained.load("cpu").state_dict())


def same(one: Trained, other: Trained) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_run_that_has_not_ended_is_its_newest_checkpoint(finished, unfinished) -> None:
    model, newest = find_trained(str(finished)), find_trained(str(unfinished))
    assert model.step is None and not model.note
    assert newest.note.endswith("run: not finished; step 3 answers")
    assert same(model, newest)


def test_a_checkpoint_is_named_by_its_folder_in_a_finished_run_too(finished, unfinished) -> None:
    model = find_trained(str(finished))
    for run in (finished, unfinished):
        second, third = (find_trained(str(run / "checkpoints" / step)) for step in STEPS)
        assert same(third, model) and not same(second, model)


def test_an_unfinished_run_answers_as_the_finished_one(finished, unfinished, tmp_path, capsys):
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(jpeg(0)[0])
    said = []
    for name in (finished, unfinished, unfinished / "checkpoints" / STEPS[1]):
        asked = ["sample", str(name), "--image", str(picture), "--max-tokens", "6"]
        assert main([*asked, "--temperature", "3"]) == 0
        said.append(capsys.readouterr())
    assert len({one.out for one in said}) == 1 and said[0].out.strip()
    assert [one.err.count("\n") for one in said] == [0, 1, 0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(unfinished, damage, caplog) -> None:
    damage(unfinished / "checkpoints" / STEPS[1])
    found = find_trained(str(unfinished))
    assert found.step is not None and found.step.name == STEPS[0]
    assert f"{STEPS[1]} is damaged" in found.note and DAMAGES[damage] in found.note
    assert weights(found) and not tracebacks(caplog)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_that_is_named_is_one_line(unfinished, damage, tmp_path, capsys):
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(jpeg(0)[0])
    for step in STEPS:
        damage(unfinished / "checkpoints" / step)
    for name in (unfinished, unfinished / "checkpoints" / STEPS[1]):
        assert main(["sample", str(name), "--image", str(picture)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "damaged" in line and DAMAGES[damage] in line


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_does_not_go_on_from_a_damaged_checkpoint(tmp_path, damage, caplog) -> None:
    with joined("cpu") as world:
        net = torch.nn.Linear(4, 4)
        optimiser = adamw(net, rate=0.1, decay=0.0, betas=(0.9, 0.95), eps=1e-8)
        checkpoints = Checkpoints(tmp_path, world, keep=1)
        checkpoints.save(3, net, optimiser, {})
        checkpoints.finish()
        damage(tmp_path / STEPS[1])
        with pytest.raises(RunError, match=DAMAGES[damage].replace(".", r"\.")):
            checkpoints.load(3, net, optimiser)
        checkpoints.close()
    assert not tracebacks(caplog)


def test_bytes_of_another_checkpoint_are_one_line(unfinished) -> None:
    """As long as they should be, but not what the list says."""
    step = unfinished / "checkpoints" / STEPS[1]
    path = step / "__0_0.distcp"
    path.write_bytes(os.urandom(64) * (path.stat().st_size // 64 + 1))
    with pytest.raises(RunError, match="damaged checkpoint") as caught:
        find_trained(str(step)).load("cpu")
    assert "\n" not in str(caught.value)


class _Call:
    """Pickles as a call."""

    def __init__(self, *call: object) -> None:
        self._call = call

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call[0], self._call[1:]


def test_a_list_calls_nothing(unfinished, tmp_path) -> None:
    step = unfinished / "checkpoints" / STEPS[1]
    made = tmp_path / "made"
    (step / ".metadata").write_bytes(pickle.dumps(_Call(os.mkdir, str(made))))
    with pytest.raises(ListError, match=r"names \w+\.mkdir, which no checkpoint holds"):
        ListedReader(step)
    assert not made.exists()
    pickle.loads((step / ".metadata").read_bytes())
    assert made.exists()  # as it would have been


def test_a_list_does_not_lead_out_of_its_folder(unfinished) -> None:
    step = unfinished / "checkpoints" / STEPS[1]
    listed = pickle.loads((step / ".metadata").read_bytes())
    shutil.copy(step / "__0_0.distcp", step.parent / "elsewhere")
    for stretch in listed.storage_data.values():
        stretch.relative_path = "../elsewhere"
    (step / ".metadata").write_bytes(pickle.dumps(listed))
    assert "a file elsewhere" in fault_of(step)


def test_what_is_no_model_is_one_line(unfinished, tmp_path) -> None:
    with pytest.raises(UsageError, match="neither a finished run"):
        find_trained(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="no such checkpoint"):
        find_trained(str(unfinished / "checkpoints" / "000000009"))
    assert [step.name for step in step_folders(unfinished / "checkpoints")] == list(STEPS)
    shutil.rmtree(unfinished / "shape")
    with pytest.raises(RunError, match="shape: missing; run the command"):
        find_trained(str(unfinished))
    shutil.rmtree(unfinished / "checkpoints")
    with pytest.raises(UsageError, match="wrote no checkpoint yet"):
        find_trained(str(unfinished))
