"""Builds a vocabulary out of any texts, as MetaCLIP built its own (arXiv 2309.16671, section 3.1).

Sources, in the order in which entries are numbered; one that comes again is not repeated:
1. a word list and a WordNet folder, where they are given;
2. words seen at least `min_count` times, the most frequent first;
3. pairs of words in a row by pointwise mutual information, the highest first. As nltk has it (which
   MetaCLIP used): log2(n(a b) * N / (n(a) * n(b))), N being the number of words. No pair reaches
   more than log2(N), so 30 asks for a billion words; smaller corpora want a lower threshold;
4. names: runs of capitalised words in mid-sentence, seen at least `min_names` times. They stand for
   the page titles that MetaCLIP took from Wikipedia.

Where a language has no spaces, words are characters (no segmenter is bundled): of single ones only
ideographs are entries, and pairs are written without a space.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from curation.core.corpus import Layer
from curation.core.engine import Engine, StepSession
from curation.core.errors import CorpusError, UsageError
from curation.core.progress import Progress
from curation.core.vocabulary import LANGUAGE, MAX_ENTRIES, MAX_ENTRY, is_language, is_section
from curation.io.corpus import Corpus, open_corpus
from curation.io.store import Store
from curation.operators.text.matcher import UNSPACED
from curation.operators.text.phrases import as_matched, stands_alone
from curation.pipeline.concept_counts import Counted, CountPart, Part


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    """What becomes an entry."""

    language: str = LANGUAGE
    """Language of the entries (ISO 639). Of a measured corpus, captions in that language count."""
    min_count: int = 100
    """How often a word is seen at least (MetaCLIP, on Wikipedia: 100)."""
    min_pmi: float = 30.0
    """Mutual information of a pair at least, in bits (MetaCLIP, on Wikipedia: 30)."""
    min_pairs: int = 1
    """How often a pair is seen at least; the higher PMI is asked for, the rarer pairs are."""
    min_names: int = 100
    """How often a name is seen at least."""
    max_entries: int = 500_000
    """Entries kept at most, the last ones dropped (MetaCLIP: 500,000)."""
    text_column: str = ""
    """Of JSON objects: the field with the text; by default text, caption, alt_text or alt."""
    words: str = ""
    """File of entries, one a line, that are in whatever their counts."""
    wordnet: str = ""
    """WordNet's dict folder: every noun lemma (data.noun, or index.noun)."""

    def __post_init__(self) -> None:
        for name in ("min_count", "min_pairs", "min_names", "max_entries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not is_language(self.language):
            raise ValueError(f"language takes a code as en or zh, got {self.language!r}")
        if self.max_entries > MAX_ENTRIES:
            raise ValueError(f"max_entries must be at most {MAX_ENTRIES}, got {self.max_entries}")
        if not math.isfinite(self.min_pmi) or abs(self.min_pmi) > 1000:
            raise ValueError(f"min_pmi must be a number of bits, got {self.min_pmi}")


@dataclass(frozen=True, kw_only=True)
class Built:
    """A vocabulary, and where it comes from."""

    entries: list[str]
    texts: int
    skipped: int
    words: int
    sources: dict[str, int]
    """New entries by source."""
    dropped: int
    """Entries beyond `max_entries`."""

    def encoded(self, language: str) -> bytes:
        """The vocabulary file."""
        return "".join(f"{line}\n" for line in (f"# lang: {language}", *self.entries)).encode()


def build_vocabulary(
    source: str, options: VocabularyOptions, engine: Engine, progress: Progress
) -> Built:
    """The vocabulary of a corpus, a run directory or a file of texts.

    Counting spills to disk, as does adding counts up; only the entries are held in memory.
    Raises UsageError where nothing becomes an entry.
    """
    given = {"word list": _word_list(options.words), "WordNet": _wordnet(options.wordnet)}
    with ExitStack() as stack:
        scratch = stack.enter_context(engine.folder())
        counted = _count(source, options, scratch, engine, progress)
        session = stack.enter_context(engine.session())
        with progress.track("vocabulary", None, "entries") as tracker:
            total = sum(part.words for part in counted)
            _add_up(session, counted, options, total)
            streams = {name: iter(entries) for name, entries in given.items()}
            streams |= {name: _entries(session, name, options) for name in _COUNTED}
            entries, sources, dropped = _merged(streams, options)
            tracker.advance(len(entries))
    texts = sum(part.texts for part in counted)
    if not texts and not entries:
        raise UsageError(
            f"{source}: no texts to count (of a measured corpus, only captions in "
            f"{options.language} are: --language)"
        )
    if not entries:
        raise UsageError(
            f"{source}: no entry: of {total:,} words in {texts:,} {options.language} texts none "
            f"is seen {options.min_count} times; lower --min-count"
        )
    highest = math.log2(total) if total else 0.0
    if highest < options.min_pmi:
        progress.say(
            f"no pair of words can reach {options.min_pmi:g} bits in {total:,} words (at most "
            f"{highest:.1f}); lower --min-pmi to have pairs"
        )
    return Built(
        entries=entries,
        texts=texts,
        skipped=sum(part.skipped for part in counted),
        words=total,
        sources=sources,
        dropped=dropped,
    )


def _count(
    source: str, options: VocabularyOptions, scratch: str, engine: Engine, progress: Progress
) -> list[Counted]:
    store, parts, layer = _parts(source)
    task = CountPart(store, scratch, options.language, layer, options.text_column)
    counted = []
    with progress.track("count", None, "texts") as tracker:
        for result in engine.map(task, parts):
            tracker.advance(result.texts)
            counted.append(result)
    return counted


def _parts(source: str) -> tuple[Store, list[Part], Layer | None]:
    """What to count, and the layer that says the language of a corpus's captions."""
    folder, _, name = source.rstrip("/").rpartition("/")
    alone = Store(folder or ("/" if source.startswith("/") else "."))
    if _is_file(source, alone, name):
        return alone, [Part(0, file=name)], None
    corpus = open_corpus(source)
    parts = [Part(n, shard=shard.shard) for n, shard in enumerate(corpus.shards)]
    return corpus.store, parts, _language_layer(corpus)


def _is_file(source: str, store: Store, name: str) -> bool:
    if not store.exists(name):
        raise UsageError(f"{source}: no such file or corpus")
    return Path(source).is_file() if store.is_local else "." in name


def _language_layer(corpus: Corpus) -> Layer | None:
    for layer in corpus.manifest.layers:
        if "language" in layer.columns:
            known = Layer(layer.operator, layer.fingerprint)
            if corpus.store.exists(known.done(corpus.shards_sha256)):
                return known
    return None


# Entries that were counted

_COUNTED = ("words", "pairs", "names")


def _add_up(
    session: StepSession, counted: list[Counted], options: VocabularyOptions, total: int
) -> None:
    files = [file for part in counted for file in part.files]
    if not files:
        raise CorpusError("a corpus without shards has no texts")
    session.read_files("parts", files)
    session.create(
        "counts",
        "SELECT kind, first, second, CAST(sum(n) AS BIGINT) AS n FROM parts GROUP BY ALL",
    )
    session.create("seen", "SELECT first AS word, n FROM counts WHERE kind = 'word'")
    session.create(
        "words",
        f"SELECT word AS entry, CAST(n AS DOUBLE) AS rank FROM seen WHERE n >= {options.min_count}",
    )
    between = "" if options.language in UNSPACED else " "
    # products of integers, compared as doubles: no logarithm, whose last bit differs by library
    session.create(
        "ranked",
        f"SELECT p.first || '{between}' || p.second AS entry, CAST(p.n AS DOUBLE) * {total} "
        "/ (CAST(a.n AS DOUBLE) * CAST(b.n AS DOUBLE)) AS rank "
        "FROM counts AS p JOIN seen AS a ON a.word = p.first JOIN seen AS b ON b.word = p.second "
        f"WHERE p.kind = 'pair' AND p.n >= {options.min_pairs}",
    )
    session.create("pairs", f"SELECT * FROM ranked WHERE rank >= {2.0**options.min_pmi!r}")
    session.create(
        "names",
        "SELECT first AS entry, CAST(n AS DOUBLE) AS rank FROM counts "
        f"WHERE kind = 'name' AND n >= {options.min_names}",
    )


def _entries(session: StepSession, table: str, options: VocabularyOptions) -> Iterator[str]:
    """The entries of a table, the highest rank first, ties in the order of their bytes."""
    query = f"SELECT entry FROM {table} ORDER BY rank DESC NULLS LAST, entry ASC NULLS LAST"
    for batch in session.stream(query):
        for entry in batch["entry"].to_pylist():
            if stands_alone(entry, options.language):
                yield entry


# Entries that are given


def _word_list(path: str) -> list[str]:
    return [line.strip() for line in _read(path).split("\n")] if path else []


def _wordnet(folder: str) -> list[str]:
    """Noun lemmas of a WordNet dict folder, as wndb(5WN) describes its files, in their order."""
    if not folder:
        return []
    data, index = Path(folder) / "data.noun", Path(folder) / "index.noun"
    if not data.is_file() and not index.is_file():
        raise UsageError(f"{folder}: neither data.noun nor index.noun; name WordNet's dict folder")
    path = data if data.is_file() else index
    lemmas: list[str] = []
    for number, line in enumerate(_read(str(path)).split("\n"), 1):
        fields = line.split()
        if line.startswith("  ") or not fields:  # the licence
            continue
        try:
            found = fields[4 : 4 + 2 * int(fields[3], 16) : 2] if path == data else fields[:1]
        except (ValueError, IndexError) as error:
            raise UsageError(f"{path}:{number}: not a line of WordNet") from error
        lemmas += (lemma.replace("_", " ") for lemma in found)
    return lemmas


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _merged(
    streams: dict[str, Iterator[str]], options: VocabularyOptions
) -> tuple[list[str], dict[str, int], int]:
    """Distinct entries of all sources, how many each brought, and how many were too many."""
    entries: dict[str, None] = {}
    sources = dict.fromkeys(streams, 0)
    dropped = 0
    for name, stream in streams.items():
        for entry in stream:
            matched = as_matched(entry, options.language)
            usable = matched.isprintable() and any(c.isalnum() for c in matched)
            if not usable or is_section(entry) or len(matched) > MAX_ENTRY or matched in entries:
                continue
            if len(entries) >= options.max_entries:
                dropped += 1
                continue
            entries[matched] = None
            sources[name] += 1
    return list(entries), sources, dropped
