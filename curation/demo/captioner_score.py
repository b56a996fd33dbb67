"""What the small captioner is worth on scenes that it never saw.

    python -m curation.demo score-captioner --model DIR

Facts are counted over all captions together, each by itself: those of an original with planted
faults, those of a caption from the picture alone, and those of a caption from both.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.core.progress import SILENT, Progress
from curation.demo.captions_facts import stated
from curation.demo.captions_noise import Noisy, Sentence, claim, noisy
from curation.demo.captions_pictures import Pixels, draw_pictures
from curation.demo.captions_tasks import MAX_CHARS, NO, YES, template
from curation.demo.pair import scene_of
from curation.demo.scene import Scene
from curation.demo.score_facts import FactTally, share
from curation.demo.train_captioner import METRICS_FILE, SEED
from curation.demo.train_clip import auc
from curation.engines.local import LocalEngine
from curation.models.captioner import Captioner, Request
from curation.models.clip import computing

HELD_OUT = 2_000
_PURPOSE = 104
"""Of the draws behind originals and claims to be judged on."""

_MOST = 160
"""Tokens of an answer."""


@dataclass(frozen=True, kw_only=True)
class Lot:
    """Held-out scenes, and what is said of them."""

    scenes: list[Scene]
    pictures: list[Pixels]
    originals: list[Noisy]
    claims: list[Sentence]

    @classmethod
    def drawn(cls, seed: int, count: int, engine: LocalEngine, progress: Progress) -> "Lot":
        pictures = draw_pictures(seed, count, engine, small=False, progress=progress)
        scenes = [scene_of(seed, n) for n in range(count)]
        rngs = [np.random.default_rng([seed, n, _PURPOSE]) for n in range(count)]
        originals = [noisy(scene, rng) for scene, rng in zip(scenes, rngs, strict=True)]
        claims = [claim(scene, rng) for scene, rng in zip(scenes, rngs, strict=True)]
        return cls(scenes=scenes, pictures=pictures, originals=originals, claims=claims)


def score_captioner(
    folder: Path,
    engine: LocalEngine,
    *,
    count: int = HELD_OUT,
    seed: int = SEED + 1,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Shares, all between 0 and 1, of the model of a folder."""
    lot = Lot.drawn(seed, count, engine, progress)
    engine.close()
    model = Captioner(folder)
    given: list[str | None] = [each.original for each in lot.originals]
    start = time.process_time()
    with computing(1):
        alone = _captions(model, lot, [None] * count)
        both = _captions(model, lot, given)
        seconds = time.process_time() - start
        yes = [_yes(model, *pair) for pair in zip(lot.claims, lot.pictures, strict=True)]
    true = np.array([sentence.true for sentence in lot.claims])
    chances = np.array(yes, np.float32)
    return {
        "scenes": count,
        "seed": seed,
        "facts": {
            "original": _counted(lot, [each.original for each in lot.originals]),
            "picture": _counted(lot, alone),
            "both": _counted(lot, both),
        },
        "kept": {"picture": _kept(lot, alone), "both": _kept(lot, both)},
        "claims": {"auc": round(auc(chances[true], chances[~true]), 4), "true": int(true.sum())},
        "captions_per_second_of_a_core": round(2 * count / seconds, 1),
    }


def _captions(model: Captioner, lot: Lot, given: Sequence[str | None]) -> list[str]:
    small = template("small")
    requests = [
        model.request(small, {"caption": text}, MAX_CHARS, picture)
        for text, picture in zip(given, lot.pictures, strict=True)
    ]
    return [answer.text for answer in model.answers(requests, _MOST) if answer is not None]


def _yes(model: Captioner, sentence: Sentence, picture: Pixels) -> float:
    """Share of yes in what the model gives yes and no."""
    values = {"caption": sentence.words}
    request: Request = model.request(template("small-claim"), values, MAX_CHARS, picture)
    yes, no = model.chances(request, (YES, NO))
    return yes / (yes + no)


def _counted(lot: Lot, captions: list[str]) -> dict[str, dict[str, float]]:
    tally = FactTally()
    for caption, scene in zip(captions, lot.scenes, strict=True):
        tally.add(stated(caption), scene)
    return tally.shares()


def _kept(lot: Lot, captions: list[str]) -> dict[str, float]:
    """What became of the facts of the originals in new captions."""
    counts: Counter[str] = Counter()
    for caption, original in zip(captions, lot.originals, strict=True):
        facts = stated(caption)
        counts["true"] += len(original.true)
        counts["true kept"] += len(original.true & facts)
        counts["false"] += len(original.false)
        counts["false dropped"] += len(original.false - facts)
        counts["extras"] += len(original.extras)
        counts["extras kept"] += sum(extra in caption for extra in original.extras)
    return {
        "true_facts_kept": share(counts["true kept"], counts["true"]),
        "false_facts_dropped": share(counts["false dropped"], counts["false"]),
        "names_and_numbers_kept": share(counts["extras kept"], counts["extras"]),
        "retention": share(
            counts["true kept"] + counts["extras kept"], counts["true"] + counts["extras"]
        ),
        "true_facts": counts["true"],
        "false_facts": counts["false"],
        "names_and_numbers": counts["extras"],
    }


def write_score(folder: Path, found: dict[str, Any]) -> None:
    """Puts the numbers beside those of the training, in the model's `metrics.json`."""
    path = folder / METRICS_FILE
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**told, "held_out": found}, indent=1) + "\n", encoding="utf-8")


def score_table(found: dict[str, Any]) -> str:
    """The numbers in Markdown, as the model's card has them."""
    facts, kept = found["facts"], found["kept"]
    lines = ["| precision / recall | original | picture alone | picture and original |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for kind in facts["original"]:
        cells = [
            f"{facts[sort][kind]['precision']:.3f} / {facts[sort][kind]['recall']:.3f}"
            for sort in ("original", "picture", "both")
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += ["", "| of the original's | picture alone | picture and original | there were |",
              "| --- | --- | --- | --- |"]  # fmt: skip
    for name, count in _KEPT.items():
        cells = [f"{kept[sort][name]:.3f}" for sort in ("picture", "both")]
        there = f"{kept['both'][count]:,}" if count else ""
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {there} |")
    claims = found["claims"]
    lines += ["", f"yes or no: AUC {claims['auc']:.3f} on {found['scenes']:,} sentences, "
              f"{claims['true']:,} of them true"]  # fmt: skip
    return "\n".join(lines)


_KEPT = {
    "true_facts_kept": "true_facts",
    "names_and_numbers_kept": "names_and_numbers",
    "retention": "",
    "false_facts_dropped": "false_facts",
}
"""Shares to the counts that they are of; retention is of true facts, names and numbers."""
