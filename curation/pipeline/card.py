"""The dataset card: README.md of an export, readable by people and by Hugging Face datasets."""

import json
from collections.abc import Sequence

from curation.core.funnel import funnel_lines
from curation.core.risks import clip_fails, measured_names, unmeasured
from curation.io.store import Store
from schemas.manifest import CorpusManifest, ExportManifest, StageSummary
from schemas.sample import dataset_features

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (10**9, "100M<n<1B"))  # fmt: skip


def write_card(store: Store, manifest: ExportManifest, corpus: CorpusManifest) -> None:
    """Writes README.md with YAML front matter."""
    store.write("README.md", (_front(manifest) + _body(manifest, corpus)).encode())


def _front(manifest: ExportManifest) -> str:
    size = next((name for limit, name in _SIZES if manifest.totals.kept < limit), "n>1B")
    languages = [code for code in manifest.languages if code.isalpha() and len(code) in (2, 3)]
    shards = {"split": "train", "path": "*.tar"}
    parts = {
        "pretty_name": manifest.name,
        "license": "other",
        "language": languages,
        "size_categories": [size],
        "task_categories": ["image-to-text", "image-text-to-text"],
        "configs": [{"config_name": "default", "data_files": [shards]}],
        "dataset_info": {"features": dataset_features(manifest.members)},
    }
    # Each value is JSON, which is YAML: nothing a source says can break out of it.
    lines = [f"{key}: {json.dumps(value)}" for key, value in parts.items()]
    return "\n".join(["---", *lines, "---", "", ""])


def _body(manifest: ExportManifest, corpus: CorpusManifest) -> str:
    totals, kept = manifest.corpus_totals, manifest.totals.kept
    parts = [
        f"# {manifest.name}",
        f"{kept:,} {manifest.family} training samples in {manifest.tables['shards'].rows:,} "
        f"shards, curated from {totals.ingested:,} ingested by curation {manifest.code_version}.",
        *(f"> **Warning.** {_plain(text)}" for text in manifest.warnings),
        "## How to read it",
        "```python\nimport webdataset as wds\n"
        f'samples = wds.WebDataset("{manifest.name}-{manifest.fingerprint[:8]}-'
        f'{{000000..{max(0, manifest.tables["shards"].rows - 1):06d}}}.tar")\n\n'
        "import datasets\n"
        'samples = datasets.load_dataset("PATH", split="train", streaming=True)\n\n'
        "from megatron.energon import get_train_dataset  # opens PATH as a CrudeWebdataset\n```",
        "Each sample is `<uid>.json` (family, segments in order, meta) with its media, "
        "as `<uid>.0.jpg`.",
        "## Sources",
        _table(
            ("format", "samples", "of", "bytes", "kept"),
            [
                (i.format, f"{i.samples:,}", f"{i.samples_in_source:,}", f"{i.bytes:,}", f"{k:,}")
                for i, (_, k) in zip(corpus.inputs, corpus.sources, strict=True)
            ],
        ),
        "## Licences",
        "As the sources state them; nothing here grants a right.",
        _table(
            ("licence", "ingested", "exported"),
            [(n, f"{a:,}", f"{b:,}") for n, (a, b) in _top(manifest.licenses)],
        ),
        "## Languages",
        _table(("language", "exported"), [(n, f"{c:,}") for n, c in manifest.languages.items()]),
        "## Recipe and drops",
        f"Ingested {totals.ingested:,} = kept {totals.kept:,} + dropped {totals.dropped:,} + "
        f"quarantined {totals.quarantined:,}. Every sample's fate is in the corpus's ledger.",
        _table(
            ("stage", "entered", "kept", "why not"),
            [
                (line.stage, f"{line.entered:,}", f"{line.kept:,}", _why(line))
                for line in funnel_lines(manifest.stages)
            ],
        ),
        *_blocked(manifest),
        "## Risks not measured",
        "\n".join(f"- {text}" for text in not_measured(corpus)),
    ]
    return "\n\n".join(parts) + "\n"


def not_measured(corpus: CorpusManifest) -> list[str]:
    """What no layer of the corpus says anything about; a CLIP that fails says nothing."""
    fails = clip_fails(corpus.recipe, corpus.stages, corpus.calibration)
    names = measured_names(corpus.layers, without_clip=fails)
    return [f"{text}: not measured" for text in unmeasured(names)]


def _blocked(manifest: ExportManifest) -> list[str]:
    if not manifest.blocked:
        return []
    rows = [(name, f"{count:,}") for name, count in manifest.blocked.items()]
    return ["Stopped at export by blocklists:", _table(("list", "samples"), rows)]


def _why(stage: StageSummary) -> str:
    lost = {**stage.reasons, **stage.errors}
    return ", ".join(f"{reason} {count:,}" for reason, count in lost.items()) or "-"


def _top(licenses: dict[str, list[int]]) -> list[tuple[str, list[int]]]:
    return sorted(licenses.items(), key=lambda item: (-item[1][1], item[0]))[:50]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that no Markdown or HTML reader takes for anything else."""
    one_line = " ".join(text.split())
    escaped = one_line.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
    return escaped.replace("<", "&lt;").replace("[", "\\[")
