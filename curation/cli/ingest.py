"""`curate ingest` and `curate run`: from a source to a corpus, and on to an export."""

import sys
from dataclasses import dataclass
from typing import Literal

import tyro
from rich.console import Console

from curation.cli.common import Files, Job, Settings, blocklists, job, source_options
from curation.cli.engine import Working
from curation.cli.tables import bytes_text, duration_text, print_funnel
from curation.core.blocklist import BlockFile
from curation.core.errors import UsageError
from curation.io.store import TEMPORARY, Store
from curation.pipeline.benchmarks import named_folders
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.ingest_shard import Taking
from curation.pipeline.run import run
from jobs import shipped_recipe
from schemas.manifest import Input


@dataclass(frozen=True, kw_only=True)
class Reading(Working):
    """How to read a source."""

    format: Literal["auto", "table", "folder", "tar", "parquet", "corpus"] = "auto"
    """table: JSONL, CSV, TSV or Parquet of image paths and texts. folder: images with same-named
    .txt or .json. tar: WebDataset, img2dataset's output. parquet: Parquet or Arrow with image
    bytes. corpus: one of ours. auto: told by looking."""
    image_column: str = ""
    """Column of image paths or bytes. Default: the first of image, image_path, file_name, path."""
    text_column: str = ""
    """Column of texts. Default: the first of text, caption, alt_text, alt."""
    shard_samples: int = 1_000
    """Samples a shard holds at most."""
    shard_bytes: int = 1 << 30
    """Bytes of media a shard holds at most."""
    limit: int = 0
    """Only the first N samples: a dry run, with an estimate for the whole. 0 takes all."""
    sample: float = 1.0
    """Only this share of the samples, drawn by --seed: a dry run, with an estimate."""
    seed: int = 0
    """Seed of --sample."""
    blocklist: Files = ()
    """File of sha256, pHash, URL, domain or uid entries that must not be stored (repeatable)."""

    def request(self, source: str, lists: tuple[BlockFile, ...], *, append: bool) -> IngestRequest:
        return IngestRequest(
            source=source,
            options=source_options(self),
            append=append,
            taking=Taking(limit=self.limit, sample=self.sample, seed=self.seed),
            blocklists=lists,
        )


@dataclass(frozen=True, kw_only=True)
class Ingest(Reading):
    """Read images and texts into a corpus: shards, index, manifest."""

    source: tyro.conf.Positional[str]
    """Folder, file or URL."""
    out: str
    """Folder or URL of the corpus."""
    append: bool = False
    """Add a new source to a finished corpus, as new shards; what was measured stays."""

    def run(self) -> int:
        request = self.request(self.source, blocklists(self.blocklist), append=self.append)
        store = Store(self.out)
        with job(self, self.out, store) as work:
            corpus = ingest(request, self.out, work.engine, work.progress)
            store.remove(TEMPORARY)
            made = corpus.manifest.inputs[-1]
            _estimate(work, made, work.log.seconds("plan", "ingest"))
        totals = corpus.manifest.totals
        errors = sum(_errors(corpus.store, corpus.manifest.tables["shards"].path))
        console = Console()
        console.print(
            f"{self.out}: {totals.ingested:,} samples in {len(corpus.shards):,} shards, "
            f"{bytes_text(sum(shard.bytes for shard in corpus.shards))}; "
            f"{errors:,} could not be read",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"next: curate measure all {self.out}", highlight=False, soft_wrap=True)
        return 0


def _errors(store: Store, path: str) -> list[int]:
    from curation.io.tables import read_table

    counts: list[int] = read_table(store, path, ["errors"])["errors"].to_pylist()
    return counts


@dataclass(frozen=True, kw_only=True)
class Run(Reading):
    """Run a whole recipe: ingest, measure, decide, export. Run it again to continue or change."""

    family: tyro.conf.Positional[Literal["image-text"]]
    """Recipe to run (jobs/)."""
    input: str
    """Source, as `curate ingest` takes it, or a corpus."""
    out: str
    """Folder of the run: OUT/corpus and OUT/export. Logs go to OUT.runs."""
    set: Settings = ()
    """Change a threshold or parameter, as heuristics.min_side=256 (repeatable)."""
    benchmark: Files = ()
    """NAME=FOLDER of images and texts that must not be in the corpus (repeatable)."""
    force: bool = False
    """Let a CLIP decide that cannot tell true pairs of this corpus from shuffled ones."""

    def run(self) -> int:
        recipe = shipped_recipe(self.family)
        benchmarks = named_folders(self.benchmark)
        settings = self.set
        if self.blocklist:
            settings = (f"blocklist.lists={','.join(self.blocklist)}", *settings)
        recipe = recipe.with_settings(settings)
        request = self.request(self.input, blocklists(self.blocklist), append=False)
        if "://" not in self.out and not self.out.strip("/"):
            raise UsageError("--out names a folder")
        with job(self, self.out, Store(f"{self.out.rstrip('/')}/corpus"), recipe) as work:
            result = run(
                recipe,
                request,
                self.out,
                work.engine,
                work.progress,
                benchmarks=benchmarks,
                force=self.force,
            )
            _estimate(work, result.corpus.inputs[-1], work.log.seconds())
        print_funnel(Console(), result.corpus, result.export, told=True)
        print(f"curate report {self.out} --out report.html   shows it", file=sys.stderr)
        return 0


def _estimate(work: Job, made: Input, seconds: float) -> None:
    """Says what the whole source would take, after a dry run on part of it."""
    if made.samples >= made.samples_in_source or not made.samples:
        return
    ratio = made.samples_in_source / made.samples
    work.progress.say(
        f"dry run on {made.samples:,} of {made.samples_in_source:,} samples; the whole would take "
        f"about {duration_text(seconds * ratio)} with {work.engine.workers} workers "
        f"and store about {bytes_text(int(made.bytes * ratio))} of media"
    )
