"""Makes a plan: what corpora hold, when each sample is seen, which share a pack and a step."""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.core.engine import Engine
from curation.core.errors import CorpusError, UsageError
from curation.core.fingerprint import digest
from curation.core.progress import SILENT, Progress
from curation.engines.local import LocalEngine
from curation.io.store import Store
from curation.models.glm4v.processor import Processor
from curation.trainer.drawing import Corpus, Drawing
from curation.trainer.identity import (
    IDENTITY_FILE,
    check_begun,
    plan_identity,
    write_identity,
)
from curation.trainer.mixture import (
    MANY_EPOCHS,
    SPLIT_FAMILIES,
    CorpusShare,
    EffectiveShare,
    Usable,
    UsableShard,
    check_shares,
    folders_told,
    normalised,
    shares_of,
)
from curation.trainer.packing import Items, Packer, Packing, Packs
from curation.trainer.plan import PLAN_FILE, Plan, PlannedCorpus, PlanSettings, open_plan
from curation.trainer.steps import StepWriter
from curation.trainer.token_count import Export, count_tokens, named_apart, open_export

_LEAST_WINDOW = 8
"""Packs; fewer cannot be filled."""


def make_plan(
    corpora: Sequence[CorpusShare],
    out: str,
    settings: PlanSettings,
    processor: Processor,
    engine: Engine | None = None,
    progress: Progress = SILENT,
    begun: str = "",
    most_epochs: float = math.inf,
) -> Plan:
    """Plans a training into the folder `out`; an equal plan that is there already stays.

    `begun` is the hash of the plan that a run goes on with: no other is put in its place. Raises
    UsageError for another one, for shares that mean nothing, for a corpus that is given twice and
    one that would be read more than `most_epochs` times; CorpusError for what is no export, and
    where the corpora do not fill a single step.
    """
    if not corpora:
        raise UsageError("no corpus: name at least one export to train on")
    check_shares(corpora)
    corpora = normalised(corpora)
    opened = [open_export(corpus.url) for corpus in corpora]
    _check_once(opened)
    exports = named_apart(opened)
    identity = plan_identity(exports, corpora, processor, settings)
    store, plan_hash = Store(out), digest(identity)
    if begun:
        check_begun(store, begun, identity, out.removesuffix("/plan"))
    if store.exists(PLAN_FILE):
        there = open_plan(out)
        if there.plan_hash == plan_hash:
            found = _placed(there, exports, corpora, processor)
            if found != there or not store.exists(IDENTITY_FILE):
                _write_plan(store, found, identity)
            return found
        store.remove(PLAN_FILE)
    store.remove("steps")
    engine = engine or LocalEngine(workers=0)
    planning = _Planning(
        store, exports, corpora, settings, processor, engine, progress, most_epochs
    )
    plan = planning.make()
    plan = _placed(dataclasses.replace(plan, plan_hash=plan_hash), exports, corpora, processor)
    _write_plan(store, plan, identity)
    return plan


def _placed(
    plan: Plan, exports: Sequence[Export], corpora: Sequence[CorpusShare], processor: Processor
) -> Plan:
    """A plan with the places where corpora and tokenizer lie now: they may have moved since."""
    folders = folders_told([export.store.path("") for export in exports])
    shares = [
        dataclasses.replace(share, folder=folder, replay=corpus.replay)
        for share, folder, corpus in zip(plan.shares, folders, corpora, strict=True)
    ]
    planned = [_planned(export) for export in exports]
    return dataclasses.replace(plan, corpora=planned, shares=shares, processor=processor)


def _write_plan(store: Store, plan: Plan, identity: dict[str, Any]) -> None:
    write_identity(store, identity)
    store.write(PLAN_FILE, (json.dumps(dataclasses.asdict(plan), indent=1) + "\n").encode())


def _planned(export: Export) -> PlannedCorpus:
    tars = [part.path for part in sorted(export.parts, key=lambda part: part.shard)]
    return PlannedCorpus(
        name=export.name, url=export.store.url, family=export.manifest.family, tars=tars
    )


def _check_once(exports: Sequence[Export]) -> None:
    """Raises UsageError where two exports are the same samples."""
    seen: dict[str, str] = {}
    for export in exports:
        key, url = digest(export.identity), export.store.url.rstrip("/")
        if key in seen:
            same = "is given twice" if seen[key] == url else f"and {url} hold the same samples"
            raise UsageError(
                f"corpus {seen[key]} {same}: give it once, with the sum of both shares"
            )
        seen[key] = url


@dataclass
class _Planning:
    """One plan in the making."""

    store: Store
    exports: list[Export]
    corpora: Sequence[CorpusShare]
    settings: PlanSettings
    processor: Processor
    engine: Engine
    progress: Progress
    most_epochs: float

    def make(self) -> Plan:
        with self.engine.folder() as folder:
            scratch = Store(folder)
            corpora, shares = self._corpora(scratch)
            writer = StepWriter(self.store, self.settings)
            wanted = self._wanted(shares)
            until = math.inf if self.settings.steps is not None else wanted
            drawing = Drawing(scratch, self.engine, self.progress, self.settings.seed)
            drawn = drawing.merged(corpora, until)  # has a progress line of its own
            with self.progress.track("pack", int(wanted), "tokens") as tracker:
                for packs in self._packed(drawn, shares):
                    tracker.advance(int(packs.items["tokens"].sum(dtype=np.int64)))
                    if writer.add(packs):
                        break
            writer.close()
        if not writer.steps:
            raise CorpusError(
                f"the corpora fill {writer.packs} packs of {self.settings.seq_len:,} tokens, fewer "
                f"than one step of {self.settings.global_batch:,}: add data, or lower the batch, "
                "the sequence length, or give a number of steps"
            )
        for number, share in enumerate(shares):
            share.samples = writer.counted["samples", number]
            share.tokens = writer.counted["tokens", number]
            share.supervised = writer.counted["supervised", number]
        self.store.settle("steps")
        held = writer.steps * self.settings.global_batch * self.settings.seq_len
        return Plan(
            url=self.store.url,
            plan_hash="",
            steps=writer.steps,
            settings=self.settings,
            processor=self.processor,
            corpora=[_planned(export) for export in self.exports],
            shares=shares,
            fill=sum(share.tokens for share in shares) / held,
            balance_before=writer.before.ratio,
            balance_after=writer.after.ratio,
            cost=writer.cost,
        )

    def _corpora(self, scratch: Store) -> tuple[list[Corpus], list[EffectiveShare]]:
        """What is drawn from, and its share with what one pass over it holds.

        Raises UsageError where one would be read too often: before anything is drawn.
        """
        usable, files = [], []
        for number, export in enumerate(self.exports):
            found, names = self._usable(scratch, number, export)
            usable.append(found)
            files.append(names)
        given = shares_of(self.corpora, [found.tokens for found in usable])
        folders = folders_told([export.store.path("") for export in self.exports])
        shares = [
            EffectiveShare(
                name=export.name,
                family=export.manifest.family,
                share=part,
                folder=folder,
                samples_usable=found.samples,
                tokens_usable=found.tokens,
                left_out=dict(sorted(found.left_out.items())),
            )
            for export, folder, part, found in zip(
                self.exports, folders, given, usable, strict=True
            )
        ]
        wanted = self._wanted(shares)
        corpora = []
        for number, (share, found) in enumerate(zip(shares, usable, strict=True)):
            epochs = share.share * wanted / share.tokens_usable
            self._check_epochs(share, epochs)
            corpora.append(
                Corpus(
                    number=number,
                    name=share.name,
                    files=tuple(files[number]),
                    items=found.items,
                    share=share.share,
                    epochs=epochs,
                )
            )
        return corpora, shares

    def _usable(self, scratch: Store, number: int, export: Export) -> tuple[Usable, list[str]]:
        """What of a corpus can be used, and its files of items."""
        counted = count_tokens(export, self.processor, self.store, self.engine, self.progress)
        names = list(counted)
        splits = export.manifest.family in SPLIT_FAMILIES
        task = UsableShard(self.store, scratch, number, self.settings.seq_len, splits)
        found = sum(self.engine.map(task, names), Usable())
        if not found.tokens:
            why = ", ".join(f"{n:,} {why}" for why, n in sorted(found.left_out.items()))
            raise CorpusError(
                f"{export.store.path('')}: no sample fits into {self.settings.seq_len:,} tokens "
                f"({why.replace('_', ' ') or 'it is empty'}); lengthen the sequence, lower the "
                "pixel budget, or leave it out"
            )
        return found, [task.path(name) for name in names]

    def _check_epochs(self, share: EffectiveShare, epochs: float) -> None:
        told = (
            f"{share.told}: its {share.samples_usable:,} samples ({share.tokens_usable:,} tokens) "
            f"would be read {epochs:,.0f} times"
        )
        if epochs > self.most_epochs:
            raise UsageError(
                f"{told}, more than most_epochs {self.most_epochs:,.0f}: train fewer steps, lower "
                f"its share, add data, or --set most_epochs={math.ceil(epochs) + 1}"
            )
        if epochs > MANY_EPOCHS:
            self.progress.say(f"warning: {told}")

    def _wanted(self, shares: Sequence[EffectiveShare]) -> float:
        """Tokens of the whole training."""
        settings = self.settings
        if settings.steps is not None:
            return float(settings.steps * settings.global_batch * settings.seq_len)
        return settings.epochs * min(share.tokens_usable / share.share for share in shares)

    def _packed(self, drawn: Iterator[Items], shares: Sequence[EffectiveShare]) -> Iterator[Packs]:
        """Packs in stream order: without end where steps are counted, else of all that is drawn."""
        settings = self.settings
        # Within a window, samples of one length come together: half a pass over the corpus that is
        # repeated most keeps repeats of one sample apart.
        turn = min(share.tokens_usable / share.share for share in shares) / settings.seq_len
        window = min(settings.window, max(_LEAST_WINDOW, int(turn / 2)))
        packing = Packing(seq_len=settings.seq_len, window=window, full=settings.full)
        packer = Packer(packing, settings.steps and settings.steps * settings.global_batch)
        for items in drawn:
            yield from packer.add(items)
        yield from packer.close()
