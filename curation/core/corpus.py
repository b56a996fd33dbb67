"""Where things lie in a corpus. Names are computed, never listed."""

from dataclasses import dataclass

MANIFEST = "manifest.json"
FORMAT_VERSION = 1


def shard_name(shard: int) -> str:
    """Nine digits: what every file of a shard is called."""
    return f"{shard:09d}"


def sample_key(shard: int, row: int) -> str:
    """WebDataset key of an ingested sample; no dots, unique in the corpus."""
    return f"{shard:09d}{row:06d}"


MAX_ROWS = 1_000_000
"""Rows a shard can hold: the key has six digits for them."""


@dataclass(frozen=True)
class Layer:
    """An operator's output over the corpus, named by what made it."""

    operator: str
    fingerprint: str
    before: "Layer | None" = None
    """The layer that this one mends, where it or one that it reads asks again."""
    cause: "Layer | None" = None
    """Whose errors say which rows differ from `before`: null for those of `before` itself."""

    @property
    def folder(self) -> str:
        return f"layers/{self.operator}-{self.fingerprint}"

    def path(self, shard: int) -> str:
        return f"{self.folder}/{shard_name(shard)}.parquet"

    @property
    def fitted(self) -> str:
        """What an operator that is fitted to the corpus works with."""
        return f"{self.folder}/_fitted.bin"

    def done(self, shards_sha256: str) -> str:
        """Says that the layer is whole for the shards of that table."""
        return f"{self.folder}/_done-{shards_sha256[:16]}.json"


@dataclass(frozen=True)
class StageLedger:
    """A stage's verdicts over the corpus; `stage` is `final` for the one with a row a sample."""

    stage: str
    fingerprint: str

    @property
    def folder(self) -> str:
        return f"ledgers/{self.stage}-{self.fingerprint}"

    def path(self, shard: int) -> str:
        return f"{self.folder}/{shard_name(shard)}.parquet"

    def choices(self, shard: int) -> str:
        """What the stage chose for each sample of a shard, where it is one that chooses."""
        return f"{self.folder}/choices-{shard_name(shard)}.parquet"

    def table(self, name: str) -> str:
        """A table that explains the stage."""
        return f"{self.folder}/_{name}.parquet"

    @property
    def done(self) -> str:
        return f"{self.folder}/_done.json"


def benchmark_path(sha256: str) -> str:
    """Features of a benchmark that the corpus was held against, named by the hash of the file."""
    return f"tables/{BENCHMARK}{sha256}.parquet"


BENCHMARK = "benchmark-"
VOCABULARY = "vocabulary-"
"""How names of benchmarks' features begin."""


def tar_path(shard: int) -> str:
    return f"shards/{shard_name(shard)}.tar"


def index_path(shard: int) -> str:
    return f"index/{shard_name(shard)}.parquet"


def vocabulary_path(sha256: str) -> str:
    """A copy of the vocabulary that a corpus was held against."""
    return f"tables/{VOCABULARY}{sha256}.txt"
