"""Makes a plan: what corpora hold, when each sample is seen, which share a pack and a step."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from curation.core.engine import Engine
from curation.core.errors import CorpusError, UsageError
from curation.core.fingerprint import digest, plain
from curation.core.progress import SILENT, Progress
from curation.engines.local import LocalEngine
from curation.io.store import Store
from curation.models.glm4v.processor import Processor
from curation.trainer.mixture import (
    DRAWN,
    CorpusShare,
    DrawShard,
    EffectiveShare,
    UsableShard,
    shares_of,
)
from curation.trainer.packing import ITEM, Items, Packer, Packing
from curation.trainer.plan import PLAN_FILE, Plan, PlannedCorpus, PlanSettings, open_plan
from curation.trainer.recipe import check_same
from curation.trainer.steps import StepWriter
from curation.trainer.token_count import Export, count_tokens, named_apart, open_export

PLAN_VERSION = 1
"""Raised when the same settings would give another plan."""

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
) -> Plan:
    """Plans a training into the folder `out`; an equal plan that is there already stays.

    `begun` is the hash of the plan that a run goes on with: no other is put in its place. Raises
    UsageError for another one and for shares that mean nothing, CorpusError for what is no export,
    and where the corpora do not fill a single step.
    """
    if not corpora:
        raise UsageError("no corpus: name at least one export to train on")
    exports = named_apart([open_export(corpus.url) for corpus in corpora])
    identity = {
        "version": PLAN_VERSION,
        "corpora": [
            {**export.identity, "share": corpus.share}
            for export, corpus in zip(exports, corpora, strict=True)
        ],
        "processor": processor.identity(),
        "settings": plain(settings),
    }
    store, plan_hash = Store(out), digest(identity)
    if begun:
        check_same({"plan": begun}, {"plan": plan_hash}, out.removesuffix("/plan"))
    if store.exists(PLAN_FILE):
        there = open_plan(out)
        if there.plan_hash == plan_hash:
            planned = [_planned(export) for export in exports]  # which may have moved since
            return dataclasses.replace(there, corpora=planned, processor=processor)
        store.remove(PLAN_FILE)
    store.remove("steps")
    engine = engine or LocalEngine(workers=0)
    plan = _Planning(store, exports, corpora, settings, processor, engine, progress).make()
    plan = dataclasses.replace(plan, plan_hash=plan_hash)
    store.write(PLAN_FILE, (json.dumps(dataclasses.asdict(plan), indent=1) + "\n").encode())
    return plan


def _planned(export: Export) -> PlannedCorpus:
    tars = [part.path for part in sorted(export.parts, key=lambda part: part.shard)]
    return PlannedCorpus(
        name=export.name, url=export.store.url, family=export.manifest.family, tars=tars
    )


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

    def make(self) -> Plan:
        with self.engine.folder() as folder:
            scratch = Store(folder)
            files, shares = self._usable(scratch)
            wanted = self._tokens(shares)
            writer = StepWriter(self.store, self.settings)
            with self.progress.track("pack", wanted, "tokens") as tracker:
                for pack in self._packed(scratch, files, shares, wanted):
                    tracker.advance(int(pack["tokens"].sum()))
                    if writer.add(pack):
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

    def _usable(self, scratch: Store) -> tuple[list[list[str]], list[EffectiveShare]]:
        """Item files of each corpus, and its share with what one pass over it holds."""
        files: list[list[str]] = []
        shares = []
        for number, export in enumerate(self.exports):
            counted = count_tokens(export, self.processor, self.store, self.engine, self.progress)
            names = list(counted)
            task = UsableShard(self.store, scratch, number, self.settings.seq_len)
            share = EffectiveShare(name=export.name, family=export.manifest.family, share=0.0)
            left_out: Counter[str] = Counter()
            for samples, tokens, left in self.engine.map(task, names):
                share.samples_usable += samples
                share.tokens_usable += tokens
                left_out.update(left)
            share.left_out = dict(sorted(left_out.items()))
            if not share.tokens_usable:
                raise CorpusError(
                    f"{export.store.path('')}: no sample fits into {self.settings.seq_len:,} "
                    f"tokens ({share.left_out or 'it is empty'}); leave it out"
                )
            files.append([task.path(name) for name in names])
            shares.append(share)
        given = shares_of(self.corpora, [share.tokens_usable for share in shares])
        for share, part in zip(shares, given, strict=True):
            share.share = part
        return files, shares

    def _tokens(self, shares: list[EffectiveShare]) -> int:
        """Tokens from time 0 to 1."""
        settings = self.settings
        if settings.steps is not None:
            return settings.steps * settings.global_batch * settings.seq_len
        return int(settings.epochs * min(s.tokens_usable / s.share for s in shares))

    def _packed(
        self, scratch: Store, files: list[list[str]], shares: list[EffectiveShare], wanted: int
    ) -> Iterator[Items]:
        """Packs in stream order: without end where steps are counted, else of the time 0 to 1."""
        settings = self.settings
        # Within a window, samples of one length come together: half a pass over the corpus that is
        # repeated most keeps repeats of one sample apart.
        turn = min(share.tokens_usable / share.share for share in shares) / settings.seq_len
        window = min(settings.window, max(_LEAST_WINDOW, int(turn / 2)))
        packing = Packing(seq_len=settings.seq_len, window=window, full=settings.full)
        packer = Packer(packing, settings.steps and settings.steps * settings.global_batch)
        start, turn = 0.0, 0
        while True:
            # Steps end the stream; packs leave later than samples enter, so it runs past time 1.
            stop = 1.0 + (0.25 * turn + 0.02 if self.settings.steps is not None else 0.0)
            for items in self._drawn(scratch, files, shares, wanted, (start, stop)):
                yield from packer.add(items)
            if self.settings.steps is None:
                yield from packer.close()
                return
            start, turn = stop, turn + 1

    def _drawn(
        self,
        scratch: Store,
        files: list[list[str]],
        shares: list[EffectiveShare],
        wanted: int,
        times: tuple[float, float],
    ) -> Iterator[Items]:
        """Items in the order of their times, sorted on disk."""
        with self.engine.folder() as folder:
            into = Store(folder)
            drawn: list[str] = []
            for share, names in zip(shares, files, strict=True):
                epochs = share.share * wanted / share.tokens_usable
                seed = self.settings.seed
                draw = DrawShard(scratch, into, share.name, epochs, seed, *times)
                drawn += self.engine.map(draw, names)
            with self.engine.session() as session:
                session.read_files("drawn", [f"{folder}/{path}" for path in sorted(drawn)])
                columns = ", ".join(f'"{name}"' for name in DRAWN.names)
                for batch in session.stream(
                    f"SELECT {columns} FROM drawn ORDER BY time, corpus, shard, row, first"
                ):
                    items = np.zeros(len(batch), ITEM)
                    for name in ITEM.names or ():
                        items[name] = batch[name].to_numpy()
                    yield items
