"""The manifest: what explains a corpus or an export. JSON, written last, keys sorted.

Nothing in it tells the time, the place or the machine: the same input and recipe give the same
bytes, so the SHA-256 of the file names the corpus.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class TableRef:
    """A Parquet table beside the manifest."""

    path: str
    """Relative to the corpus."""
    sha256: str
    """Of the file."""
    rows: int
    """In the table."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One source that was ingested, and the shards it became."""

    format: str
    """table, folder, tar, parquet or corpus."""
    options: dict[str, Any]
    """Reader options that decide bytes."""
    listing: str
    """SHA-256 over the names and sizes that the source consists of."""
    samples: int
    """Samples taken from it."""
    samples_in_source: int
    """Samples that it holds; more than taken after --limit or --sample."""
    bytes: int
    """Media bytes taken, as stored."""
    first_shard: int
    """First shard it became."""
    stop_shard: int
    """One past its last shard."""
    notes: list[str] = field(default_factory=list)
    """Columns chosen, files passed over, archives cut short."""
    sha256: str = ""
    """Of the manifest, where the source is a corpus of ours."""


@dataclass(frozen=True, kw_only=True)
class LayerRef:
    """An operator's output that the decisions read."""

    operator: str
    fingerprint: str
    parameters: dict[str, Any]
    """The operator's fields."""
    libraries: dict[str, str]
    """Versions that decide its values."""
    columns: list[str]
    """What it provides."""
    errors: dict[str, int]
    """Rows it could not read, by error code."""
    identity: dict[str, str] = field(default_factory=dict)
    """Of a model operator: hash of its weights, device class, dtype."""


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """What one stage did to the survivors of the stage before; entered = kept + the rest."""

    stage: str
    fingerprint: str
    entered: int
    kept: int
    dropped: int
    quarantined: int
    reasons: dict[str, int] = field(default_factory=dict)
    """Drops by reason."""
    errors: dict[str, int] = field(default_factory=dict)
    """Quarantined by `stage: error code`."""
    notes: dict[str, int] = field(default_factory=dict)
    """Other counts of the stage, as samples that could not be compared."""
    tables: dict[str, TableRef] = field(default_factory=dict)
    """Tables that explain its decisions, beside its ledger."""
    off: str = ""
    """Why the stage was switched off; empty where it ran."""
    choices: dict[str, int] = field(default_factory=dict)
    """Of a stage that chooses: kept samples by choice, as `new` or `repaired: contradicted`."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well a CLIP model tells true pairs of this corpus from shuffled ones."""

    fingerprint: str
    """Of the layer with its scores."""
    model: str
    """Name and pretrained tag, as `ViT-B-32 laion2b_s34b_b79k`."""
    seed: int
    """Of the pairs drawn and of their derangement."""
    pairs: int
    """True pairs scored."""
    shuffled: int
    """Pairs of an image with another sample's caption; equal captions are left out."""
    auc: float
    """Chance that a true pair scores above a shuffled one, 0-1; ties count half."""
    threshold: float
    """The 99th percentile of shuffled pairs: what the corpus itself suggests."""
    share_above: float
    """Share of true pairs above it; by chance 0.01."""
    share_above_low: float
    """Lower end of its 95% interval (Wilson); the guard asks for at least 0.10."""
    passed: bool
    """Whether the model may judge this corpus."""
    edges: list[float]
    """Bin edges of both histograms, cosine."""
    true_counts: list[int]
    """True pairs by bin."""
    shuffled_counts: list[int]
    """Shuffled pairs by bin."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """ingested = kept + dropped + quarantined."""

    ingested: int
    kept: int
    dropped: int
    quarantined: int


@dataclass(frozen=True, kw_only=True)
class CorpusManifest:
    """`manifest.json` of a corpus; one without it is unfinished."""

    kind: Literal["corpus"] = "corpus"
    format_version: int
    """Readers refuse a newer one."""
    code_version: str
    family: str
    recipe: dict[str, Any]
    """The whole recipe as decided so far: operators, stages and thresholds, by name."""
    seed: int
    inputs: list[Input]
    schemas: dict[str, str]
    """Hash of each Arrow schema in use."""
    tables: dict[str, TableRef]
    """`shards`: samples, bytes and hashes of every shard."""
    totals: Totals
    layers: list[LayerRef] = field(default_factory=list)
    stages: list[StageSummary] = field(default_factory=list)
    """In the order of the recipe."""
    ledger: str | None = None
    """Fingerprint of the final ledger, once decided."""
    licenses: dict[str, list[int]] = field(default_factory=dict)
    """Licence to samples ingested and kept; `(none stated)` where the source is silent."""
    sources: list[list[int]] = field(default_factory=list)
    """Samples ingested and kept of each input, in the order of `inputs`."""
    languages: dict[str, int] = field(default_factory=dict)
    """Samples kept by detected language."""
    calibration: Calibration | None = None
    """Of the recipe's CLIP; null where it has none or there were too few pairs."""
    warnings: list[str] = field(default_factory=list)
    """What a reader must know before using the corpus."""


@dataclass(frozen=True, kw_only=True)
class ExportManifest:
    """`manifest.json` of an export."""

    kind: Literal["export"] = "export"
    format_version: int
    code_version: str
    family: str
    name: str
    """Corpus name, as in the names of its shards."""
    fingerprint: str
    """What its bytes depend on, as in the names of its shards."""
    recipe: dict[str, Any]
    """The recipe of the corpus, with the export's own settings."""
    seed: int
    corpus: str
    """SHA-256 of the corpus's manifest."""
    corpus_totals: Totals
    stages: list[StageSummary]
    """How the corpus came to be, copied so that the export explains itself."""
    schemas: dict[str, str]
    tables: dict[str, TableRef]
    """`shards`: samples, bytes and hashes of every shard."""
    totals: Totals
    """Of the samples that the corpus kept: exported, and stopped at export by a blocklist."""
    blocked: dict[str, int]
    """Samples stopped at export, by list."""
    members: list[str]
    """Media extensions that occur, as `0.jpg`."""
    licenses: dict[str, list[int]]
    languages: dict[str, int]
    warnings: list[str] = field(default_factory=list)


Manifest = CorpusManifest | ExportManifest
