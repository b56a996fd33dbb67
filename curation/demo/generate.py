"""Writes the demo corpus: DIR/source for the product to read, DIR/truth.parquet kept apart.

Pair n depends on the seed and n alone, so any number of processes makes the same bytes, and a
larger corpus begins with a smaller one.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.progress import SILENT, Progress
from curation.demo.pair import make_pair
from curation.engines.local import LocalEngine
from curation.io.store import TEMPORARY, Store
from curation.io.tables import read_footer, write_table
from schemas._field import documented

SEED = 2
"""Of the corpus that figures are reported on. Thresholds are tuned on seed 1, never on this one."""

PAIRS = 5_000

VERSION = 1
"""Raised when the same seed and size would give other bytes."""

_BLOCK = 100
"""Pairs made by one task."""

TRUTH_FILE = "truth.parquet"
_PLAN_FILE = "demo.json"

TRUTH = pa.schema(
    [
        documented("row", pa.int64(), "Line of pairs.jsonl, from 0.", nullable=False),
        documented("image", pa.string(), "Path in the source.", nullable=False),
        documented("defect", pa.string(), "Planted defect; null for a clean pair."),
        documented("detail", pa.string(), "Variant of the defect, where it has several."),
        documented("original", pa.int64(), "Row of the clean pair that a duplicate copies."),
        documented("true_caption", pa.string(), "A caption that the picture, unspoilt, deserves."),
        documented("things", pa.list_(pa.string()), "Names of what the scene shows."),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the bytes of a demo corpus."""

    seed: int = SEED
    pairs: int = PAIRS
    version: int = VERSION


@dataclass(frozen=True)
class _Block:
    source: str
    seed: int
    start: int
    stop: int


def generate(out: Path, plan: Plan, engine: LocalEngine, progress: Progress = SILENT) -> bool:
    """Makes the corpus under `out`, unless it is there already; says whether it had to.

    Raises UsageError for a size below 1, or a `source` folder that is not of this generator's.
    """
    if plan.pairs < 1:
        raise UsageError(f"--pairs must be at least 1, got {plan.pairs}")
    store = Store(str(out))
    told = json.dumps(asdict(plan), sort_keys=True)
    if read_footer(store, TRUTH_FILE) == {"demo": told}:
        return False
    _clear(out)
    store.write(_PLAN_FILE, (told + "\n").encode())
    source = out / "source"
    blocks = [
        _Block(str(source), plan.seed, start, min(start + _BLOCK, plan.pairs))
        for start in range(0, plan.pairs, _BLOCK)
    ]
    truth = []
    source.mkdir()
    with (
        (source / "pairs.jsonl").open("w", encoding="utf-8") as lines,
        progress.track("generate", plan.pairs, "pairs") as tracker,
    ):
        for rows, truths in _in_order(blocks, engine, tracker.advance):
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            truth.append(pa.Table.from_pylist(truths, TRUTH))
    write_table(store, TRUTH_FILE, pa.concat_tables(truth), TRUTH, {"demo": told})
    store.remove(TEMPORARY)
    return True


def seed_of(out: Path) -> int:
    """Seed of the corpus that lies under `out`."""
    return int(json.loads(Store(str(out)).read(_PLAN_FILE))["seed"])


def _clear(out: Path) -> None:
    """Removes a corpus of another seed or size with its run, and what a killed generator left."""
    ours = (out / _PLAN_FILE).exists()
    if (out / "source").exists():
        if not ours:
            raise UsageError(f"{out / 'source'}: not made by the demo; choose another --out")
        shutil.rmtree(out / "source")
        shutil.rmtree(out / "run", ignore_errors=True)
    (out / TRUTH_FILE).unlink(missing_ok=True)


Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Lines of pairs.jsonl and rows of the truth table."""


def _in_order(blocks: list[_Block], engine: LocalEngine, advance: Any) -> Iterator[Rows]:
    """Each block's rows, in order; they are made in whatever order workers get free."""
    ready: dict[int, Rows] = {}
    following = 0
    for start, rows in engine.map(_make_block, blocks):
        ready[start] = rows
        advance(len(rows[0]))
        while following in ready:
            given = ready.pop(following)
            following += len(given[0])
            yield given


def _make_block(block: _Block) -> tuple[int, Rows]:
    rows, truths = [], []
    for n in range(block.start, block.stop):
        pair = make_pair(block.seed, n)
        if pair.data is not None:
            path = Path(block.source) / pair.row["image"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pair.data)
        rows.append(pair.row)
        truths.append(pair.truth)
    return block.start, (rows, truths)
