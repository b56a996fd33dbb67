"""One command a stage: measure, select, dedup, decide, export, each on a corpus directory."""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass

import tyro
from rich.console import Console

from curation.cli.common import (
    Files,
    Job,
    Settings,
    blocklists,
    job,
    log_target,
    recipe_of,
)
from curation.cli.engine import Working
from curation.cli.tables import funnel, print_calibration, print_funnel
from curation.core.errors import UsageError
from curation.io.corpus import Corpus, open_corpus
from curation.io.store import TEMPORARY
from curation.pipeline.benchmarks import named_folders
from curation.pipeline.export import export
from curation.pipeline.guard import check_heads, clip_of, guard_text
from curation.pipeline.measure import measure, switched_on
from curation.pipeline.measure_again import how_again
from curation.pipeline.recipe import Recipe
from curation.pipeline.run import (
    calibrate_and_save,
    decide_and_save,
    decontaminated,
    note_layers,
)
from curation.relational.balance import Balance
from curation.relational.blocklist import Blocklist
from curation.relational.clip_select import ClipSelect
from curation.relational.select import Select

_ASKING = {
    "source_columns": "source_columns.columns=NAME",
    "linear_head": "linear_head.heads=FILE",
    "recaption": "recaption.servers=http://HOST:8000",
    "caption_facts": "recaption.servers=http://HOST:8000",
    "claim_check": "recaption.model=NAME --set claim_check.servers=http://HOST:8000",
    "caption_clip": "recaption.servers=http://HOST:8000",
}
"""How an operator is asked for that is off by itself."""


@dataclass(frozen=True, kw_only=True)
class Measure(Working):
    """Measure a corpus with one operator, or with all of its recipe."""

    operator: tyro.conf.Positional[str]
    """Name of an operator (image_probe, image_pixels, source_columns, caption_text, concepts, clip,
    visual_cluster, linear_head, recaption, caption_facts, claim_check, caption_clip), or all."""
    corpus: tyro.conf.Positional[str]
    """Corpus or run directory."""
    set: Settings = ()
    """Change a parameter, as image_pixels.max_pixels=50000000 (repeatable)."""

    def run(self) -> int:
        corpus = open_corpus(self.corpus)
        recipe = recipe_of(corpus, self.set)
        names = [operator.name for operator in recipe.operators]
        if self.operator not in ("all", *names):
            raise UsageError(f"no operator {self.operator!r} (there are: {', '.join(names)}, all)")
        only = "" if self.operator == "all" else self.operator
        if only and only not in [o.name for o in switched_on(recipe.operators)]:
            raise UsageError(
                f"{only} is off until it is told what to measure with (--set {_ASKING[only]})"
            )
        with job(self, log_target(self.corpus), corpus.store, recipe) as work:
            check_heads(recipe)
            layers = measure(corpus, recipe.operators, work.engine, work.progress, only)
            if self.set and corpus.manifest.ledger is not None:
                settings = " ".join(f"--set {shlex.quote(setting)}" for setting in self.set)
                work.progress.say(
                    "this corpus stays decided by what it was measured with before; to decide by "
                    f"this, and keep the setting: curate decide {self.corpus} {settings}"
                )
            note_layers(corpus, recipe, layers)
            corpus.store.remove(TEMPORARY)
        asked = [layer for layer in layers if self.operator in ("all", layer.operator)]
        for layer in asked:
            errors = ", ".join(f"{code} {count:,}" for code, count in layer.errors.items())
            said = f"{errors or 'no errors'}{how_again(layer)}"
            print(f"{layer.operator}-{layer.fingerprint}: {said}")
        return 0


@dataclass(frozen=True, kw_only=True)
class _Deciding(Working, ABC):
    corpus: tyro.conf.Positional[str]
    """Corpus or run directory, measured."""
    set: Settings = ()
    """Change a threshold, as heuristics.min_side=256 (repeatable)."""
    benchmark: Files = ()
    """NAME=FOLDER of images and texts that must not be in the corpus (repeatable)."""
    force: bool = False
    """Let a CLIP decide that cannot tell true pairs of this corpus from shuffled ones."""

    @abstractmethod
    def stages(self, recipe: Recipe) -> tuple[str, ...]:
        """Names of the stages that the command decides."""

    def run(self) -> int:
        corpus = open_corpus(self.corpus)
        recipe = recipe_of(corpus, self.set)
        benchmarks = named_folders(self.benchmark)
        with job(self, log_target(self.corpus), corpus.store, recipe) as work:
            recipe = decontaminated(corpus, recipe, benchmarks, work.engine, work.progress)
            corpus = _decide(corpus, recipe, self.stages(recipe), work, force=self.force)
        print_funnel(Console(), corpus.manifest, told=True)
        return 0


def _decide(
    corpus: Corpus, recipe: Recipe, stages: tuple[str, ...], work: Job, *, force: bool
) -> Corpus:
    limited = recipe.limited(stages)
    layers = measure(corpus, recipe.operators, work.engine, work.progress)
    corpus = decide_and_save(
        corpus, limited, layers, work.engine, work.progress, asked=recipe, force=force
    )
    corpus.store.remove(TEMPORARY)
    return corpus


@dataclass(frozen=True, kw_only=True)
class Selecting(_Deciding):
    """Decide thresholds, blocklists and CLIP selection: every stage but twins and balance."""

    def stages(self, recipe: Recipe) -> tuple[str, ...]:
        return tuple(
            s.name for s in recipe.stages if isinstance(s, Select | Blocklist | ClipSelect)
        )


@dataclass(frozen=True, kw_only=True)
class Dedup(_Deciding):
    """Decide everything up to the last de-duplicating stage of the recipe."""

    only: tuple[str, ...] = ()
    """Only these stages, on all readable samples, as --only near_dedup."""

    def stages(self, recipe: Recipe) -> tuple[str, ...]:
        names = tuple(step.name for step in recipe.stages)
        last = max(n for n, name in enumerate(names) if name.endswith("dedup"))
        return self.only or names[: last + 1]


@dataclass(frozen=True, kw_only=True)
class Balancing(_Deciding):
    """Decide everything up to the concept balance of the recipe."""

    only: bool = False
    """Only the balance, on all readable samples."""

    def stages(self, recipe: Recipe) -> tuple[str, ...]:
        names = tuple(step.name for step in recipe.stages)
        last = next(n for n, s in enumerate(recipe.stages) if isinstance(s, Balance))
        return names[last : last + 1] if self.only else names[: last + 1]


@dataclass(frozen=True, kw_only=True)
class Calibrating(Working):
    """Score true against shuffled pairs: can this CLIP judge this corpus, and from where on?"""

    corpus: tyro.conf.Positional[str]
    """Corpus or run directory; what is not measured yet is measured."""
    set: Settings = ()
    """Change a parameter, as clip.model=ViT-B-32 (repeatable)."""

    def run(self) -> int:
        corpus = open_corpus(self.corpus)
        recipe = recipe_of(corpus, self.set)
        clip = clip_of(recipe)
        if clip is None:
            raise UsageError(f"{self.corpus}: its recipe has no clip operator")
        with job(self, log_target(self.corpus), corpus.store, recipe) as work:
            layers = measure(corpus, recipe.operators, work.engine, work.progress, clip.name)
            _, found = calibrate_and_save(corpus, recipe, layers, work.progress)
            corpus.store.remove(TEMPORARY)
        print_calibration(Console(), found)
        if not found.passed:
            print(guard_text(clip, found))
        return 0 if found.passed else 1


@dataclass(frozen=True, kw_only=True)
class Deciding(_Deciding):
    """Decide every stage of the recipe, or those that are named."""

    only: tuple[str, ...] = ()
    """Only these stages, in the recipe's order."""

    def stages(self, recipe: Recipe) -> tuple[str, ...]:
        return self.only or tuple(step.name for step in recipe.stages)


@dataclass(frozen=True, kw_only=True)
class Export(Working):
    """Write what a decided corpus kept as training shards."""

    corpus: tyro.conf.Positional[str]
    """Corpus or run directory, decided."""
    out: str
    """Folder or URL of the export."""
    set: Settings = ()
    """Change an export setting, as export.shard_samples=5000 (repeatable)."""
    blocklist: Files = ()
    """List checked once more before anything is written (repeatable)."""

    def run(self) -> int:
        corpus = open_corpus(self.corpus)
        settings = tuple(s if s.startswith("export.") else f"export.{s}" for s in self.set)
        if self.blocklist:
            blocklists(self.blocklist)
            settings += (f"export.blocklists={','.join(self.blocklist)}",)
        recipe = recipe_of(corpus, settings)
        with job(self, log_target(self.corpus), corpus.store, recipe) as work:
            made = export(corpus, self.out, recipe.export, work.engine, work.progress)
            corpus.store.remove(TEMPORARY)
        console = Console()
        funnel(console, made.stages, made.corpus_totals)
        console.print(
            f"{self.out}: {made.totals.kept:,} samples exported", highlight=False, soft_wrap=True
        )
        for name, count in made.blocked.items():
            console.print(
                f"stopped by blocklist {name}: {count:,}", highlight=False, soft_wrap=True
            )
        return 0
