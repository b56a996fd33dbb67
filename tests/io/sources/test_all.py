"""What all sources promise: the same content, the same names, bounded pieces, streaming."""

import json
import pickle

import pytest

from curation.core.errors import CorpusError, UsageError
from curation.io.sources import domain_of, open_source, parts
from curation.io.sources.record import Piece, SourceOptions
from curation.io.store import Store
from tests.io.images import encoded, scene
from tests.io.sources.pairs import (
    COUNT,
    FORMS,
    PAIRS,
    UIDS,
    columns,
    members,
    opened,
    read_all,
    uid,
    write_tar,
)


@pytest.fixture(params=FORMS)
def form(request, tmp_path):
    """A source of each kind: (kind, folder)."""
    kind, write = FORMS[request.param]
    return kind, write(tmp_path / "source")


def test_the_same_pairs_have_the_same_names_from_every_source(form, tmp_path):
    told, source = opened(form[1], tmp_path / "scratch", shard_samples=8)
    assert told == form[0]
    records = read_all(source)
    assert [uid(record) for record in records] == UIDS
    assert [record.error for record in records] == [None] * COUNT
    for n, record in enumerate(records):
        assert record.license == "CC0"
        assert domain_of(record.source_url) == f"site{n % 2}.example"
        assert str(record.source["columns"]["id"]) == str(n)
        assert not {"image", "text", "caption", "url", "license"} & set(record.source["columns"])


def test_a_source_says_what_it_consists_of_twice_alike(form, tmp_path):
    first, second = (opened(form[1], tmp_path / f"scratch{n}") for n in range(2))
    listing = list(first[1].listing())
    assert listing == list(second[1].listing())
    assert all(isinstance(name, str) and size > 0 for name, size in listing)
    assert list(first[1].plan()) == list(second[1].plan())
    assert first[1].notes() == second[1].notes()


def test_a_piece_travels_as_json_and_its_source_to_any_worker(form, tmp_path):
    _, source = opened(form[1], tmp_path / "scratch", shard_samples=6)
    pieces = list(source.plan())
    sent = pickle.loads(pickle.dumps(source))
    again = [Piece(p.samples, p.bytes, json.loads(json.dumps(p.where))) for p in pieces]
    assert again == pieces
    backwards = [list(sent.read(p, [True] * p.samples)) for p in reversed(again)]
    assert [uid(r) for part in reversed(backwards) for r in part] == UIDS


def test_only_the_wanted_records_are_read(form, tmp_path):
    _, source = opened(form[1], tmp_path / "scratch", shard_samples=6)
    position, expected, got = 0, [], []
    for piece in source.plan():
        mask = [(position + n) % 3 == 1 for n in range(piece.samples)]
        expected += [name for name, wanted in zip(UIDS[position:], mask, strict=False) if wanted]
        got += [uid(record) for record in source.read(piece, mask)]
        assert list(source.read(piece, [False] * piece.samples)) == []
        position += piece.samples
    assert got == expected
    assert position == COUNT


@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_pieces_hold_at_most_their_samples(form, tmp_path, limit):
    if form[0] == "corpus":
        limit = 7  # the shards of the corpus, as they lie
    _, source = opened(form[1], tmp_path / "scratch", shard_samples=limit)
    sizes = [piece.samples for piece in source.plan()]
    assert sum(sizes) == COUNT
    assert max(sizes) <= limit
    if form[0] in ("table", "folder"):
        assert sizes == [limit] * (COUNT // limit) + [COUNT % limit] * bool(COUNT % limit)


@pytest.mark.parametrize("limit", [1, 3000])
@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"corpus"}), indirect=True)
def test_pieces_hold_at_most_their_bytes(form, tmp_path, limit):
    _, source = opened(form[1], tmp_path / "scratch", shard_bytes=limit)
    pieces = list(source.plan())
    assert sum(piece.samples for piece in pieces) == COUNT
    if form[0] == "parquet":  # the file's own average is all that is known beforehand
        assert all(piece.bytes <= limit or piece.samples == 1 for piece in pieces)
    else:
        sizes = iter(len(made["data"]) for made in PAIRS)
        for piece in pieces:
            total = sum(next(sizes) for _ in range(piece.samples))
            assert total <= limit or piece.samples == 1
    assert len(pieces) > (COUNT - 1 if limit == 1 else 1)
    assert [uid(record) for record in read_all(source, pieces)] == UIDS


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"folder", "corpus"}), indirect=True)
def test_one_file_is_a_source_too(form, tmp_path):
    tables = (".jsonl", ".csv", ".tsv", ".tar", ".gz", ".arrow", ".parquet")
    (first, *_) = sorted(
        (p for p in form[1].iterdir() if p.suffix in tables), key=lambda p: tables.index(p.suffix)
    )
    told, source = opened(first, tmp_path / "scratch")
    assert told == form[0]
    names = [uid(record) for record in read_all(source)]
    assert names == UIDS[: len(names)]
    assert len(names) in (9, COUNT)


@pytest.mark.parametrize("write", [str.upper, str.title])
@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"corpus"}), indirect=True)
def test_endings_may_be_written_in_any_case(form, write, tmp_path):
    for path in sorted(form[1].rglob("*")):
        if path.is_file() and path.parent.name != "images":  # which rows of tables name
            stem, dot, ending = path.name.partition(".")
            path.rename(path.with_name(stem + dot + write(ending)))
    told, source = opened(form[1], tmp_path / "scratch")
    assert told == form[0]
    assert [uid(record) for record in read_all(source)] == UIDS
    found, unread = parts(str(form[1]))
    assert form[0] in ("table", *(kind for _, kind in found))
    assert unread == []


@pytest.mark.parametrize("name", ["jsonl", "folder", "tars", "parquet of structs", "tar.gz"])
def test_an_object_store_holds_the_same_samples(name, tmp_path):
    kind, write = FORMS[name]
    local = write(tmp_path / "source")
    remote = Store(f"memory://{tmp_path.name}/{name.replace(' ', '-')}")
    for path in sorted(local.rglob("*")):
        if path.is_file():
            remote.write(str(path.relative_to(local)), path.read_bytes())
    remote.remove(".tmp")
    told, source = open_source(
        remote.url, SourceOptions(shard_samples=5), Store(str(tmp_path / "s"))
    )
    assert told == kind
    assert [uid(record) for record in read_all(source)] == UIDS


# --- telling what a source is ---


def test_what_is_no_source_is_one_line_that_says_what_is_there(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.md").write_text("x")
    (tmp_path / "a" / "words.txt").write_text("x")
    with pytest.raises(UsageError, match=r"there is: notes.md, words.txt"):
        opened(tmp_path / "a", tmp_path / "s")
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="there is: nothing"):
        opened(tmp_path / "b", tmp_path / "s")
    with pytest.raises(UsageError, match="no such file or folder"):
        opened(tmp_path / "c", tmp_path / "s")
    with pytest.raises(UsageError, match="not a source"):
        opened(tmp_path / "a" / "notes.md", tmp_path / "s")


@pytest.mark.parametrize("format_", ["tar", "parquet", "table"])
def test_a_format_that_is_not_there_is_one_line(tmp_path, format_):
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match=f"no {format_} files in it"):
        opened(tmp_path / "a", tmp_path / "s", format=format_)


def test_a_format_that_is_asked_for_is_taken(tmp_path):
    tar = write_tar(tmp_path / "a" / "data.bin", members(0, 3))
    told, source = opened(tar, tmp_path / "s", format="tar")
    assert told == "tar"
    assert [uid(record) for record in read_all(source)] == UIDS[:3]


@pytest.mark.parametrize(
    "manifest", [None, "", "{}", "[]", '{"kind": "corpus", "format_version": 99}']
)
def test_what_is_no_corpus_is_one_line(tmp_path, manifest):
    (tmp_path / "a" / "shards").mkdir(parents=True)
    if manifest is not None:
        (tmp_path / "a" / "manifest.json").write_text(manifest)
    _told, source = opened(tmp_path / "a", tmp_path / "s", format="corpus")
    for ask in (source.listing, source.plan):
        with pytest.raises(CorpusError):
            list(ask())


def test_a_corpus_whose_shard_is_cut_costs_the_samples_that_are_gone(tmp_path):
    path = FORMS["corpus"][1](tmp_path / "source")
    tar = path / "shards" / "000000000.tar"
    tar.write_bytes(tar.read_bytes()[:8000])
    records = read_all(opened(path, tmp_path / "s")[1])
    errors = [record.error for record in records]
    assert set(errors) == {None, "truncated_record"}
    for record, name in zip(records, UIDS, strict=True):
        assert record.error or uid(record) == name


def test_options_are_checked():
    for wrong in (
        {"format": "zip"},
        {"shard_samples": 0},
        {"shard_samples": 10**7},
        {"shard_bytes": 0},
    ):
        with pytest.raises(ValueError, match="must be"):
            SourceOptions(**wrong)


def test_tars_win_over_tables_and_tables_over_images(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "x.jpg").write_bytes(encoded(scene((9, 9)), "JPEG"))
    assert opened(folder, tmp_path / "s")[0] == "folder"
    (folder / "deep").mkdir()
    (folder / "deep" / "pairs.csv").write_text("image,text\n")
    assert opened(folder, tmp_path / "s")[0] == "folder"
    (folder / "metadata.jsonl").write_text('{"file_name": "x.jpg"}\n')
    assert opened(folder, tmp_path / "s")[0] == "table"
    write_tar(folder / "x.tar", members(0, 1))
    assert opened(folder, tmp_path / "s")[0] == "tar"


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://Example.ORG./a", "example.org"),
        ("http://user:pass@host.example:80/", "host.example"),
        ("//cdn.example/x.jpg", "cdn.example"),
        ("http://[::1]/x", "::1"),
        ("example.org/x.jpg", None),
        ("http://[bad", None),
        ("https://./", None),
        ("", None),
        (None, None),
    ],
)
def test_the_domain_of_a_url(url, domain):
    assert domain_of(url) == domain


def test_the_columns_of_a_row_stay_with_it(tmp_path):
    _, source = opened(FORMS["tars"][1](tmp_path / "source"), tmp_path / "s")
    record = read_all(source)[3]
    assert record.source == {
        "path": "00000.tar",
        "key": "0003",
        "columns": {"id": columns(3)["id"], "key": "0003"},
    }
