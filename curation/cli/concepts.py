"""`curate concepts build`: a vocabulary out of texts of one's own."""

from dataclasses import dataclass, fields
from typing import Annotated

import tyro

from curation.cli.common import job
from curation.cli.engine import Working
from curation.core.errors import UsageError
from curation.core.vocabulary import LANGUAGE, Vocabulary
from curation.io.store import check_folder_of, write_file
from curation.pipeline.concepts import VocabularyOptions, build_vocabulary


@dataclass(frozen=True, kw_only=True)
class Build(Working):
    """Build a vocabulary: frequent words, pairs that belong together, names, given lists.

    The same texts and options give the same bytes. To count several languages, build a file for
    each and join them.
    """

    source: tyro.conf.Positional[str]
    """Corpus, run directory, or file of texts: one a line, JSON lines, or a JSON list."""
    out: str
    """File to write."""
    language: str = LANGUAGE
    """Language of the entries; of a measured corpus, only captions in it are counted."""
    min_count: int = VocabularyOptions.min_count
    """How often a word is seen at least."""
    min_pmi: float = VocabularyOptions.min_pmi
    """Pointwise mutual information of a pair of words at least, in bits: log2(n(a b) N / (n(a)
    n(b))). No pair reaches more than log2(N), N being the words in all."""
    min_pairs: int = VocabularyOptions.min_pairs
    """How often a pair of words is seen at least."""
    min_names: int = VocabularyOptions.min_names
    """How often a name (capitalised words in mid-sentence) is seen at least."""
    max_entries: int = VocabularyOptions.max_entries
    """Entries kept at most."""
    text_column: str = VocabularyOptions.text_column
    """Of JSON objects: the field with the text."""
    words: str = VocabularyOptions.words
    """File of entries, one a line, that are in whatever their counts."""
    wordnet: str = VocabularyOptions.wordnet
    """WordNet's dict folder: its noun lemmas are in whatever their counts."""

    def run(self) -> int:
        check_folder_of(self.out)
        names = [field.name for field in fields(VocabularyOptions)]
        try:
            options = VocabularyOptions(**{name: getattr(self, name) for name in names})
        except ValueError as error:
            raise UsageError(f"--{str(error).replace('_', '-', 1)}") from error
        with job(self, "", None) as work:
            built = build_vocabulary(self.source, options, work.engine, work.progress)
        write_file(self.out, built.encoded(options.language))
        known = Vocabulary.at(self.out) if "://" not in self.out else None
        by = ", ".join(f"{name} {count:,}" for name, count in built.sources.items() if count)
        print(f"{self.out}: {len(built.entries):,} entries ({by})")
        print(
            f"from {built.words:,} words of {built.texts:,} texts"
            + (f"; {built.skipped:,} had none or could not be read" if built.skipped else "")
            + (f"; {built.dropped:,} entries beyond --max-entries" if built.dropped else "")
        )
        if known is not None:
            print(f"sha256 {known.sha256}; use it: --set concepts.vocabulary={self.out}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Concepts:
    """Vocabularies of concepts."""

    command: tyro.conf.OmitArgPrefixes[
        Annotated[Build, tyro.conf.subcommand(name="build", prefix_name=False)]
        | Annotated[None, tyro.conf.Suppress]
    ]

    def run(self) -> int:
        assert self.command is not None
        return self.command.run()
