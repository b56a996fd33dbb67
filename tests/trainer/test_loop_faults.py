"""Faults of files that end a training: tars that are gone, a quarantine that cannot be written."""

import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from curation.core.errors import CorpusError, StorageError
from curation.trainer.loader import Loader
from curation.trainer.plan import Plan
from curation.trainer.tars import check_tars
from tests.trainer.plans import planned, spoil
from tests.trainer.samples import write_export


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Over an export of three tars."""
    root = tmp_path_factory.mktemp("faults")
    export = write_export(root / "gui", "gui", count=30, shard_samples=10)
    return planned(root / "plan", [export], seq_len=256, global_batch=1)


def moved(plan: Plan, url: str) -> Plan:
    return replace(plan, corpora=[replace(plan.corpora[0], url=url)])


def test_tars_that_are_gone_are_named_before_training(plan: Plan, tmp_path: Path) -> None:
    export = shutil.copytree(plan.corpora[0].url, tmp_path / "gui")
    here = moved(plan, str(export))
    check_tars(here, remote=False)
    first, second, _ = (export / tar for tar in plan.corpora[0].tars)
    second.unlink()
    with pytest.raises(CorpusError) as caught:
        check_tars(here, remote=False)
    assert str(caught.value).startswith(f"{second}: no such file; put it back")
    first.unlink()
    first.mkdir()  # a folder of that name is no tar
    with pytest.raises(CorpusError) as caught:
        check_tars(here, remote=False)
    assert str(caught.value).startswith(f"{first}: no such file (and 1 more tars of the plan); ")


def test_tars_of_an_object_store_are_asked_for_once_and_by_name(plan: Plan) -> None:
    store = fsspec.filesystem("memory")
    for tar in plan.corpora[0].tars[1:]:
        store.pipe_file(f"/faults/{tar}", b"tar")
    there = moved(plan, "memory://faults")
    check_tars(there, remote=False)  # another process asks
    with pytest.raises(CorpusError, match=f"{plan.corpora[0].tars[0]}: no such file; put it back"):
        check_tars(there, remote=True)
    store.pipe_file(f"/faults/{plan.corpora[0].tars[0]}", b"tar")
    check_tars(there, remote=True)


def test_a_quarantine_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    export = write_export(tmp_path / "gui", "gui", count=10)
    spoil(export, 1)
    plan = planned(tmp_path / "plan", [export], seq_len=256, global_batch=1)
    disk_full = pytest.raises(StorageError, match="/dev/full: the disk is full")
    with Loader(plan, quarantine="/dev/full") as loader, disk_full:
        next(iter(loader))
