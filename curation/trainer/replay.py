"""The corpora of a run: those that are named, and those of the run before as replay."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from curation.core.errors import CorpusError, UsageError
from curation.core.progress import Progress
from curation.trainer.mixture import CorpusShare, check_shares
from curation.trainer.record import RECORD, located, read_record, run_of
from curation.trainer.token_count import open_export


def with_replay(
    named: Sequence[CorpusShare], part: float, init: str, progress: Progress
) -> list[CorpusShare]:
    """The corpora that are named, and those that the run `init` read, at `part` of all tokens.

    A corpus that is named again keeps the share that it is named with. Corpora named without
    shares share by their size what replay leaves. Says so where it is not known what to replay.
    Raises UsageError for shares that mean nothing, CorpusError for a corpus that is gone.
    """
    if not named:
        raise UsageError("no corpus: name at least one export, as --corpus run1/export:1")
    check_shares(named)
    if not part or not init:
        return list(named)
    origin = run_of(init)
    if origin is None:
        progress.say(
            f"warning: --init {init}: no run of curate train ({RECORD}), so nothing that it was "
            "trained on is replayed; name what it should keep by --corpus"
        )
        return list(named)
    urls = {located(str(open_export(corpus.url).store.url)) for corpus in named}
    before = [
        CorpusShare(url=corpus["url"], share=corpus["share"], replay=True)
        for corpus in read_record(origin)["corpora"]
        if located(corpus["url"]) not in urls
    ]
    for corpus in before:
        _check_there(corpus, origin)
    if not before:
        return list(named)
    by_size = any(corpus.share is None for corpus in named)
    return [*(named if by_size else _scaled(named, 1 - part)), *_scaled(before, part)]


def _check_there(corpus: CorpusShare, origin: Path) -> None:
    """Raises CorpusError where a corpus to replay is gone, which nobody named here."""
    try:
        open_export(corpus.url)
    except CorpusError as error:
        raise CorpusError(
            f"{corpus.url}: {origin} was trained on it and it is to be replayed, but it is no "
            f"finished export now; where it has moved, give the command that trained {origin} "
            "again with its new place, or leave all replay out by --set replay=0"
        ) from error


def _scaled(corpora: Sequence[CorpusShare], whole: float) -> list[CorpusShare]:
    total = sum(corpus.share or 0 for corpus in corpora)
    return [replace(corpus, share=whole * ((corpus.share or 0) / total)) for corpus in corpora]
