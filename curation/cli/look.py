"""Commands that look: status, inspect, verify, diff, report; and gc, which clears."""

import json
import sys
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.cli.common import job, log_target
from curation.cli.engine import Working
from curation.cli.run_log import latest
from curation.cli.tables import bytes_text, duration_text, print_funnel
from curation.core.errors import CorpusError, UsageError
from curation.core.step import NOT_ASKED
from curation.io.corpus import Corpus, Opened, open_any, open_corpus
from curation.io.store import check_folder_of, write_file
from curation.pipeline.gc import collect, garbage
from curation.report.diff import change_text, changes, moved, recipe_changes
from curation.report.inspect import image_bytes, is_blocked, sample, summary
from curation.report.verify import STALE, is_stale, verify
from jobs import shipped_recipe
from schemas.manifest import CorpusManifest


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a run, corpus or export holds, or all that is known about one sample."""

    path: tyro.conf.Positional[str]
    """Run directory, corpus or export."""
    json: bool = False
    """Print JSON instead of tables."""
    sample: str | None = None
    """uid, or the first characters of one: every measure and decision about it."""
    image: str = ""
    """With --sample: write its image to this file."""

    def run(self) -> int:
        opened = open_any(self.path)
        if self.sample is not None:
            return self._sample(opened, self.sample)
        if self.json:
            print(json.dumps(summary(opened), indent=1, sort_keys=True))
            return 0
        console = Console()
        _describe(console, self.path, opened)
        return 0

    def _sample(self, opened: Opened, uid: str) -> int:
        if not uid.strip():
            raise UsageError("--sample takes a uid, or its first characters; it is empty")
        if opened.corpus is None:
            raise UsageError(f"{self.path}: an export; --sample takes a run directory or a corpus")
        if self.image:
            check_folder_of(self.image)
        known = sample(opened.corpus, uid)
        if self.image:
            _, data = image_bytes(opened.corpus, known[0])
            write_file(self.image, data)
        if self.json:
            print(json.dumps(known, indent=1, sort_keys=True, default=str))
            return 0
        console = Console()
        for occurrence in known:
            _show_sample(console, self.path, occurrence)
        return 0


def _describe(console: Console, path: str, opened: Opened) -> None:
    console.print(f"{path}: {_KINDS[opened.kind]}", highlight=False, soft_wrap=True)
    if opened.corpus is not None:
        _describe_corpus(console, opened.corpus)
    if opened.export is not None:
        store, manifest = opened.export
        if opened.corpus is not None and is_stale(opened.corpus.manifest, manifest):
            console.print(Text(f"warning: the export is {STALE}", style="yellow"))
        console.print(
            f"export {manifest.name}-{manifest.fingerprint[:8]}: {manifest.totals.kept:,} samples "
            f"in {manifest.tables['shards'].rows:,} shards at {store.path('')}",
            highlight=False,
            soft_wrap=True,
        )
        if opened.corpus is None:
            from curation.cli.tables import funnel

            funnel(console, manifest.stages, manifest.corpus_totals)


_KINDS = {"run": "a run directory", "corpus": "a corpus", "export": "an export"}


def _describe_corpus(console: Console, corpus: Corpus) -> None:
    manifest = corpus.manifest
    size = bytes_text(sum(shard.bytes for shard in corpus.shards))
    console.print(
        f"corpus of {manifest.family}: {corpus.samples:,} samples in {len(corpus.shards):,} "
        f"shards, {size}",
        highlight=False,
        soft_wrap=True,
    )
    for place, made in enumerate(manifest.inputs):
        kept = f", kept {manifest.sources[place][1]:,}" if manifest.sources else ""
        console.print(
            f"from a {made.format}: {made.samples:,} of {made.samples_in_source:,} samples, "
            f"shards {made.first_shard} to {made.stop_shard - 1}{kept}",
            highlight=False,
            soft_wrap=True,
        )
        for note in made.notes:
            console.print(Text(f"  {note}"))
    table = Table(
        "layer", "fingerprint", "columns", "could not read", title="measured", title_justify="left"
    )
    for ref in manifest.layers:
        errors = ", ".join(f"{code} {count:,}" for code, count in ref.errors.items())
        table.add_row(ref.operator, ref.fingerprint, ", ".join(ref.columns), errors or "-")
    if manifest.layers:
        console.print(table)
    if manifest.ledger:
        print_funnel(console, manifest)
        licenses = Table("licence", "ingested", "kept", title="licences", title_justify="left")
        order = sorted(manifest.licenses.items(), key=lambda item: -item[1][0])
        for stated, (ingested, left) in order[:20]:
            licenses.add_row(Text(stated), f"{ingested:,}", f"{left:,}")
        console.print(licenses)
    else:
        console.print(
            "nothing is decided yet (curate select, dedup or decide)",
            highlight=False,
            soft_wrap=True,
        )


def _show_sample(console: Console, path: str, known: dict[str, Any]) -> None:
    console.print(
        f"uid {known['uid']}  shard {known['shard']} row {known['row']}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("what", "value", show_header=False)
    for name, value in known["index"].items():
        if value is not None:
            table.add_row(name, Text(_short(value)))
    for member in known["members"]:
        place = f"{known['tar']} at byte {member['offset']:,}, {member['size']:,} bytes"
        table.add_row(f"member {member['ext']}", Text(place))
    for operator, values in known["measures"].items():
        for name, value in values.items():
            if value is not None:
                table.add_row(f"{operator}.{name}", Text(_short(value)))
    for stage in known["stages"]:
        verdict = {k: v for k, v in stage["verdict"].items() if v is not None}
        for name in ("shard", "row", "uid"):
            verdict.pop(name, None)
        if "failed" in verdict:  # sentences of a new caption, counted from 1
            parts = [f"{f['sentence'] + 1} ({f['reason']})" for f in verdict.pop("failed")]
            verdict |= {"failed sentences": " ".join(parts)} if parts else {}
        text = ", ".join(f"{name} {value}" for name, value in verdict.items())
        table.add_row(f"stage {stage['stage']}", Text(text))
    console.print(table)
    if not is_blocked(known) and known["members"]:
        console.print(
            f"its image: curate inspect {path} --sample {known['uid']} --image FILE",
            highlight=False,
            soft_wrap=True,
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text):,} characters)"


@dataclass(frozen=True, kw_only=True)
class Verify(Working):
    """Check hashes, offsets, keys and ledger balance; exit 1 and a list if anything is wrong."""

    path: tyro.conf.Positional[str]
    """Run directory, corpus or export."""

    def run(self) -> int:
        opened = open_any(self.path)
        problems = 0
        with job(self, "", None) as work:
            for line in verify(opened, work.engine, work.progress):
                print(line)
                problems += 1
        if problems:
            print(f"{self.path}: {_KINDS[opened.kind]}, {problems:,} problems", file=sys.stderr)
            return 1
        print(f"{self.path}: {_KINDS[opened.kind]}, all is as its manifest says")
        return 0


@dataclass(frozen=True, kw_only=True)
class Diff(Working):
    """Show what changed between two corpora: recipe, counts, samples."""

    before: tyro.conf.Positional[str]
    """Run directory or corpus."""
    after: tyro.conf.Positional[str]
    """Run directory or corpus."""
    json: bool = False
    """Print JSON instead of tables."""
    show: int = 3
    """uids shown of each move."""

    def run(self) -> int:
        left, right = open_corpus(self.before), open_corpus(self.after)
        sides = ((self.before, left), (self.after, right))
        undecided = [path for path, corpus in sides if corpus.manifest.ledger is None]
        recipe = []
        if not undecided:
            recipe = recipe_changes(left.manifest.recipe, right.manifest.recipe)
        totals = changes(left.manifest.totals, right.manifest.totals)
        with job(self, "", None) as work:
            samples = moved(left, right, work.engine, self.show)
        if self.json:
            print(json.dumps({"recipe": recipe, "totals": totals, **samples}, indent=1))
            return 0
        console = Console()
        print(f"from {self.before} to {self.after}")
        for path in undecided:
            print(f"{path}: nothing is decided yet, every sample counts as kept")
        for title, rows in (("recipe", recipe), ("totals", totals)):
            print(f"{title}:{'' if rows else ' the same'}")
            for name, was, now in rows:
                print(f"  {change_text(name, was, now)}")
        table = Table("was", "is now", "samples", "such as", title="samples", title_justify="left")
        for move in samples["moves"]:
            uids = ", ".join(uid[:12] for uid in move["uids"])
            table.add_row(Text(move["was"]), Text(move["now"]), f"{move['samples']:,}", uids)
        console.print(table if samples["moves"] else "samples: every one has the same fate")
        console.print(
            f"{samples['same']:,} samples with the same fate", highlight=False, soft_wrap=True
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Status:
    """Say what is done, running and left."""

    path: tyro.conf.Positional[str]
    """Run directory, corpus or export."""

    def run(self) -> int:
        log = latest(log_target(self.path))
        try:
            opened = open_any(self.path)
        except CorpusError as error:
            if log is None:
                raise
            opened = None
            print(error)
        if opened is not None:
            _say_done(self.path, opened)
        if log is not None:
            _say_log(log)
        return 0


def _say_done(path: str, opened: Opened) -> None:
    print(f"{path}: {_KINDS[opened.kind]}")
    if opened.corpus is not None:
        manifest = opened.corpus.manifest
        shards = len(opened.corpus.shards)
        print(f"done: ingest, {opened.corpus.samples:,} samples in {shards:,} shards")
        for ref in manifest.layers:
            print(f"done: measure {ref.operator}")
        for stage in manifest.stages:
            print(f"done: {stage.stage}, kept {stage.kept:,} of {stage.entered:,}")
        if not manifest.layers:
            print("left: measure, decide, export")
        elif manifest.ledger is None:
            print("left: decide, export")
        elif undecided := _undecided(manifest):
            print(f"left: {', '.join(undecided)} (curate decide)")
        elif opened.kind == "run" and opened.export is None:
            print("left: export")
    if opened.export is not None:
        manifest_e = opened.export[1]
        print(f"done: export, {manifest_e.totals.kept:,} samples")
        if opened.corpus is not None and is_stale(opened.corpus.manifest, manifest_e):
            print(f"left: the export is {STALE}")


def _undecided(manifest: CorpusManifest) -> list[str]:
    """Stages of the family's recipe that were left out of the last decision."""
    decided = {stage.stage for stage in manifest.stages}
    stages = shipped_recipe(manifest.family).stages
    return [s.name for s in stages if s.name not in decided and s.off != NOT_ASKED]


def _say_log(log: dict[str, Any]) -> None:
    command = " ".join(log["command"])
    seconds = f" after {duration_text(log['seconds'])}" if "seconds" in log else ""
    print(f"last command: curate {command}: {log['state']}{seconds}")
    stages = [stage for stage in log["stages"] if stage["seconds"] is None]
    for stage in stages[-1:]:
        total = f" of {stage['total']:,}" if stage.get("total") else ""
        word = "running" if log["state"] == "running" else "stopped in"
        print(f"{word}: {stage['stage']}, {stage.get('done', 0):,}{total}")
    if log["state"] in ("interrupted", "stopped", "failed"):
        print("run the same command again: it continues where it stopped")


@dataclass(frozen=True, kw_only=True)
class Gc:
    """Remove layers and ledgers that the corpus's recipe no longer refers to."""

    path: tyro.conf.Positional[str]
    """Run directory or corpus."""
    dry_run: bool = False
    """Only say what would be removed."""

    def run(self) -> int:
        corpus = open_corpus(self.path)
        found = garbage(corpus) if self.dry_run else collect(corpus)
        for name in found:
            print(name)
        word = "would be removed" if self.dry_run else "removed"
        print(f"{len(found):,} {word}", file=sys.stderr)
        return 0
