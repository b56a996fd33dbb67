"""One corpus as the viewer holds it: its arrays, its searches, and what each page asks for."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from curation.core.blocklist import BlockFile
from curation.core.corpus import MANIFEST
from curation.core.errors import CorpusError, UsageError
from curation.core.risks import clip_fails
from curation.io.corpus import Corpus, open_any
from curation.io.image_decode import thumbnail
from curation.report.entry_names import entry_names, vocabulary_entries
from curation.report.funnel import Funnel, funnel, undecided_funnel
from curation.report.overview import STALE, corpus_overview
from curation.report.tiles import Exported
from curation.report.verify import is_stale
from curation.report.viewer.clips import Clips
from curation.report.viewer.concepts import balanced
from curation.report.viewer.detail import Details
from curation.report.viewer.duplicates import Duplicates
from curation.report.viewer.embedding_map import EmbeddingMap
from curation.report.viewer.fates import HIDDEN, Fates, fates_of
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.movable import Movable, Settings, idle_rules, rules_of
from curation.report.viewer.nearest import Nearest
from curation.report.viewer.neighbour_map import is_there
from curation.report.viewer.query import CLUSTER, LANGUAGE, Filter, Search
from curation.report.viewer.rows import RowReader
from curation.report.viewer.telling import counts_of, rule_told, stage_told, withheld_warnings
from curation.report.viewer.thumbnails import ClipError, NoPictureError, Thumbnails
from curation.report.viewer.tiles import Tiles
from curation.report.viewer.tokens import TokenView
from curation.report.viewer.training import Training
from curation.report.viewer.whatif import WhatIf
from curation.report.wording import GLOSSARY
from schemas import DROPPED, QUARANTINED

STRIP = 16
"""Samples of a strip beside a threshold."""
_NAMES = 20_000
"""Concepts of a language whose names are offered; the others are found through a sample."""


class View:
    """Answers the pages; everything costly is made once, when it is first asked for."""

    def __init__(
        self,
        name: str,
        corpus: Corpus,
        export: Exported | None,
        checkpoint: str = "",
        tokenizer: str = "",
        lists: tuple[BlockFile, ...] = (),
        *,
        stale: bool = False,
    ) -> None:
        """`name` is what the user called it; `export`, where there is one, made from the corpus.

        `checkpoint` is the weights file of the corpus's CLIP, where it came from one; `tokenizer`
        the folder of the tokenizer that training samples are shown with; `lists` are blocklists
        that every sample is held against, whatever became of it; `stale` says that an
        export of earlier decisions lies beside.
        """
        self.name, self.corpus, self.export, self._stale = name, corpus, export, stale
        manifest = corpus.manifest
        entries = vocabulary_entries(manifest.layers, corpus.store)
        self._entries = entries
        self.fates: Fates = fates_of(corpus, export, lists)
        ruled = [rule.column for rule in rules_of(manifest)]
        self.store = MeasureStore(corpus, self.fates, ruled)
        self.whatif = WhatIf(corpus, self.fates, self.store)
        self.nearest = Nearest(corpus, self.fates, checkpoint)
        self.search = Search(corpus, self.fates, self.store, self.nearest)
        self.reader = RowReader(corpus, self.fates)
        self.tiles = Tiles(corpus, self.reader, entry_names(entries))
        self.thumbnails = Thumbnails(self.reader)
        self.training = Training(export, self.fates, TokenView(tokenizer))
        self.clips = Clips(self.reader, self.training)
        self.details = Details(self.reader, self.training, self.tiles, self.whatif, entries)
        self.duplicates = Duplicates(corpus, self.fates, self.tiles, self.store)
        self.sha256 = hashlib.sha256(corpus.store.read(MANIFEST)).hexdigest()
        self._map = EmbeddingMap(corpus, self.fates, self.store, self.search.listed)

    def overview(self) -> dict[str, Any]:
        """The first page: the funnel, warnings, and what there is to filter by.

        `corpus` names the samples themselves: it stays when they are decided again.
        """
        manifest = self.corpus.manifest
        counted = self._funnel()
        export = self.export[1] if self.export else None
        said = corpus_overview(manifest, self.sha256, export, counted)
        return {
            "name": self.name,
            "sha256": self.sha256,
            "corpus": self.corpus.shards_sha256,
            "family": manifest.family,
            "samples": self.fates.size,
            "decided": counted.decided,
            "kept": counted.kept,
            "dropped": counted.dropped,
            "quarantined": counted.quarantined,
            "exported": export.totals.kept if export else None,
            "bytes": sum(shard.bytes for shard in self.corpus.shards),
            "shards": len(self.corpus.shards),
            "warnings": [
                *said.warnings,
                *([STALE] if self._stale else []),
                *withheld_warnings(self.fates),
            ],
            "unmeasured": said.unmeasured,
            "facts": said.facts,
            "stages": [stage_told(stage) for stage in counted.stages],
            "measures": self._measures(),
            "idle": self._idle(),
            "has": self._has(),
            "groups": [asdict(group) for group in self.fates.groups],
        }

    def _funnel(self) -> Funnel:
        manifest = self.corpus.manifest
        if manifest.ledger is not None:
            return funnel(manifest.totals, manifest.stages, manifest.recipe)
        pairs = zip(self.fates.groups, self.fates.counts.tolist(), strict=True)
        counts = {(group.status, group.cause): count for group, count in pairs}
        errors = {cause: n for (status, cause), n in counts.items() if status == QUARANTINED}
        blocked = sum(n for (status, _), n in counts.items() if status == DROPPED)
        return undecided_funnel(self.fates.size, errors, blocked)

    def _has(self) -> dict[str, bool]:
        manifest = self.corpus.manifest
        provided = {column for ref in manifest.layers for column in ref.columns}
        return {
            "language": LANGUAGE in self.store.columns,
            "cluster": CLUSTER in self.store.columns,
            "concepts": "concepts" in provided,
            "map": "clip_image" in provided,
            "neighbours": is_there(),
            "balance": bool(self._balanced),
            "clip_fails": clip_fails(manifest.recipe, manifest.stages, manifest.calibration),
        }

    def _measures(self) -> list[dict[str, Any]]:
        """Numbers first those with thresholds, in the order of the recipe."""
        ruled = self.whatif.columns
        names = [n for n in ruled if n in self.store.columns]
        names += [n for n in self.store.columns if n not in ruled and n != CLUSTER]
        limits: dict[str, list[Movable]] = {}
        idle = idle_rules(self.corpus.manifest)
        for rule in self.whatif.movable.values():
            limits.setdefault(rule.limit.column, []).append(rule)
        return [
            {
                "name": name,
                "meaning": GLOSSARY.get(name, ""),
                "operator": self.store.columns[name].operator,
                "rules": [rule_told(rule) for rule in limits.get(name, [])],
                "idle": idle.get(name, []),
            }
            for name in names
            if not self.store.columns[name].words
        ]

    def _idle(self) -> list[str]:
        """Stages that are off, where no measure is there that could say so."""
        found = idle_rules(self.corpus.manifest).items()
        lines = [line for name, lines in found if name not in self.store.columns for line in lines]
        return list(dict.fromkeys(lines))

    def choices(self) -> dict[str, Any]:
        """Languages and clusters with their samples, and names of concepts."""
        said: dict[str, Any] = {"languages": [], "clusters": [], "concepts": []}
        if LANGUAGE in self.store.columns:
            column = self.store.word(LANGUAGE)
            said["languages"] = counts_of(column.codes, column.words)
        if CLUSTER in self.store.columns:
            values = self.store.number(CLUSTER).values
            there = values[values >= 0].astype("int64")
            said["clusters"] = counts_of(there, None)
        said["concepts"] = [
            {"value": f"{language}:{number}", "name": entry, "language": language}
            for language, ids in self._entries.items()
            for entry, number in islice(ids.items(), _NAMES)
        ]
        return said

    def samples(self, asked: Filter, offset: int, limit: int) -> dict[str, Any]:
        """A page of what a filter finds."""
        found = self.search.positions(asked)
        page = found[offset : offset + limit].tolist()
        return {"total": len(found), "offset": offset, "tiles": self.tiles.tiles(page)}

    def neighbours(self, asked: Filter, position: int) -> dict[str, Any]:
        """The samples before and after one in what a filter finds."""
        found = self.search.positions(asked)
        places = (found == position).nonzero()[0]
        if not len(places):
            return {"nth": None, "total": len(found), "before": None, "after": None}
        nth = int(places[0])
        return {
            "nth": nth,
            "total": len(found),
            "before": int(found[nth - 1]) if nth else None,
            "after": int(found[nth + 1]) if nth + 1 < len(found) else None,
        }

    def sample(self, position: int) -> dict[str, Any]:
        """One sample whole, with its twins."""
        self._check(position)
        said = self.details.sample(position)
        if said["hidden"]:
            return said
        shard, row = self.fates.place(position)
        head = said["tile"]["twin"]
        if head is not None:
            shard, row = self.fates.place(head)
        return {**said, "twins": self.duplicates.group(shard, row)}

    def caption(self, position: int) -> dict[str, Any]:
        """A whole caption."""
        self._check(position)
        return {"text": self.details.caption(position)}

    def tokens(self, position: int) -> dict[str, Any]:
        """Its training sample in tokens. Raises UsageError where it was not exported."""
        self._check(position)
        if self.fates.seen(position) == HIDDEN:
            raise UsageError("this sample is not shown")
        return self.training.tokens(position)

    def _check(self, position: int) -> None:
        if not 0 <= position < self.fates.size:
            raise UsageError(f"no sample {position:,}: the corpus has {self.fates.size:,}")

    def position(self, shard: int, row: int) -> int:
        """Raises UsageError where the corpus has no such sample."""
        found = self.fates.position(shard, row)
        if found is None:
            raise UsageError(f"no row {row} in shard {shard}")
        return found

    def histogram(self, name: str) -> dict[str, Any]:
        """Bins of a measure."""
        if name not in self.store.columns or self.store.columns[name].words:
            raise UsageError(f"no measure is called {name[:60]}")
        return self.whatif.histogram(name)

    def recount(self, moved: str, settings: Settings, at: float | None = None) -> dict[str, Any]:
        """What thresholds would keep, beside what the recipe keeps; `at`: see WhatIf.recount."""
        self._check_rules(moved, settings)
        now = self.whatif.recount(moved, settings, at)
        return {**asdict(now), "was": self.whatif.kept, "readable": self.whatif.readable}

    def strip(self, moved: str, settings: Settings) -> dict[str, Any]:
        """The samples nearest to a threshold on its failing and its passing side."""
        self._check_rules(moved, settings)
        column = self.store.number(self.whatif.movable[moved].limit.column)
        sides = self.whatif.beside(moved, settings, self.search.listed, STRIP)
        failing, passing = (
            [
                {**tile, "value": float(column.values[tile["at"]])}
                for tile in self.tiles.tiles(side.tolist())
            ]
            for side in sides
        )
        return {"failing": failing, "passing": passing}

    def _check_rules(self, moved: str, settings: Settings) -> None:
        for name in (moved, *settings):
            if name not in self.whatif.movable:
                raise UsageError(f"the recipe has no threshold {name[:60]}")
            share = self.whatif.movable[name].share
            if share is not None and not 0 < settings.get(name, share) <= 1:
                raise UsageError(f"{name} is above 0, at most 1")

    def concepts(self) -> list[dict[str, Any]]:
        """Stages that balance."""
        return self._balanced

    @cached_property
    def _balanced(self) -> list[dict[str, Any]]:
        return balanced(self.corpus, self._entries)

    def map(self, by: str) -> dict[str, Any]:
        """A sample of embeddings in two dimensions."""
        return self._map.told(by)

    def close(self) -> None:
        """Ends what is still under way."""
        self._map.close()
        self.clips.close()

    def of_uids(self, uids: list[str]) -> dict[str, Any]:
        """Tiles of samples that are named by uid."""
        places = self.search.of_uids(uids)
        return {"total": len(places), "tiles": self.tiles.tiles(places)}

    def standing(self, named: Iterable[tuple[int, int, str]]) -> dict[str, Any]:
        """Those of the named places (shard, row, uid) that have this uid and may be listed."""
        found = {}
        for shard, row, uid in named:
            at = self.fates.position(shard, row)
            if at is not None and self.search.listed[at]:
                found[at] = (f"{shard}:{row}", uid)
        rows = zip(found.values(), self.reader.rows(found), strict=True)
        return {"places": [place for (place, uid), row in rows if row["uid"] == uid]}

    def jpeg(self, position: int, side: int, nth: int = 0) -> bytes:
        """The sample's `nth` image, of a video its first frame.

        Raises NoPictureError where there is nothing to show.
        """
        self._check(position)
        try:
            return self.thumbnails.jpeg(position, side, nth)
        except ClipError:
            return thumbnail(self.clips.jpeg(position, nth, 0), side)

    def frames(self, position: int, nth: int) -> dict[str, Any]:
        """Times in seconds of the frames of a clip that can be asked for, or why there are none."""
        self._check(position)
        try:
            return {"times": [frame.seconds for frame in self.clips.frames(position, nth)]}
        except NoPictureError as why:
            return {"times": [], "why_not": str(why)}

    def frame(self, position: int, nth: int, frame: int) -> bytes:
        """One of those frames as a JPEG. Raises NoPictureError where it is not there."""
        self._check(position)
        return self.clips.jpeg(position, nth, frame)


def open_view(
    path: str, checkpoint: str = "", tokenizer: str = "", lists: tuple[BlockFile, ...] = ()
) -> View:
    """A run directory or a corpus, read for the viewer. Raises CurationError."""
    for flag, file in (("--checkpoint", checkpoint), ("--tokenizer", tokenizer)):
        if file and not Path(file).exists():
            raise UsageError(f"{flag} {file}: there is no such file or folder")
    opened = open_any(path)
    corpus, export = opened.corpus, opened.export
    if corpus is None:
        raise UsageError(f"{path}: an export; view takes a run directory or a corpus")
    if not corpus.store.is_local:
        raise UsageError(f"{path}: view reads local corpora; copy it first")
    if not corpus.shards:
        raise CorpusError(f"{path}: an empty corpus, there is nothing to see")
    stale = export is not None and is_stale(corpus.manifest, export[1]) and not _lists(export)
    return View(path, corpus, None if stale else export, checkpoint, tokenizer, lists, stale=stale)


def _lists(export: Exported) -> bool:
    """Whether the export was held against lists: what they stopped stays hidden, even if stale."""
    return bool(export[1].recipe.get("export", {}).get("blocklists"))
