"""The page as a browser parses it: whole, still, self-contained, the same every time."""

import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curation.cli.main import main
from curation.core.errors import CorpusError, StorageError, UsageError
from curation.io.corpus import open_any
from curation.report.page import write_report
from curation.report.plain_words import reason_title
from curation.report.wording import percent
from tests.pipeline.corpora import curate, ledger, picture, tree, write_pairs
from tests.report.test_cost import log

HOSTILE = (
    "<script>alert('caption')</script> A quiet harbour at dawn",
    '"><img src=x onerror=alert(1)> A copper kettle on a table',
    "</style></svg></title><iframe src='//evil.example'></iframe> A violin",
    "A tiger {{ 7 * 7 }} {% raw %} in the meadow &amp; &lt;b&gt;",
    "\u202eelpmaxe\u202c \u2066turned\u2069 A marble canyon by the river",
    "javascript:alert(1) A saddle of an orchid 'onmouseover='alert(2)",
)
LICENSE = '<b onclick="alert(3)">CC</b>'

VOID = {"meta", "img", "br", "hr", "link", "input"}
_TAGS = (
    "html head meta title style body main header section nav h1 h2 h3 p a ul ol li dl dt dd div "
    "span b i em strong small code bdi table caption thead tbody tr th td figure figcaption img "
    "svg rect line polyline text g"
)
_ATTRIBUTES = (
    "lang charset http-equiv content name class id href src alt title dir scope colspan "
    "role aria-label aria-labelledby aria-hidden viewbox preserveaspectratio x y x1 x2 y1 y2 "
    "width height text-anchor points"
)
TAGS, ATTRIBUTES = set(_TAGS.split()), set(_ATTRIBUTES.split())


class Page(HTMLParser):
    """Checks that every element is closed in order, and gathers what it is made of."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def values(self, name: str) -> list[str]:
        return [value or "" for _, attrs in self.tags for n, value in attrs.items() if n == name]


def page(path: Path, out: Path) -> Page:
    write_report(str(path), str(out))
    return Page(out.read_text())


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """24 pairs, half of them with hostile captions, some to be dropped or unreadable."""
    folder = write_pairs(tmp_path_factory.mktemp("source") / "pairs", 24)
    images = folder / "images"
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    for n, text in enumerate(HOSTILE * 2):
        lines[n]["text"] = text
        lines[n]["license"] = LICENSE
        if n >= len(HOSTILE):
            picture(n, (150, 140)).save(images / f"{n}.jpg")
    picture(20).resize((520, 480)).save(images / "21.jpg", quality=90)
    (images / "22.jpg").write_bytes(b"<html><script>alert(4)</script>")
    lines[23]["text"] = "Ring the bell keeper at 555-123-4567, or mail bell@example.com"
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def done(source: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    curate(source, out, shard_samples=10)
    return out


@pytest.fixture(scope="module")
def html(done: Path, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("html") / "report.html"
    write_report(str(done), str(out))
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]
    return out.read_text()


def test_nothing_that_strangers_wrote_becomes_markup(html):
    parsed = Page(html)
    assert {tag for tag, _ in parsed.tags} <= TAGS
    assert {name for _, attrs in parsed.tags for name in attrs} <= ATTRIBUTES
    assert "<script" not in html.lower()
    for text in HOSTILE[:4]:
        assert text in parsed.words()
        assert text not in html
    assert LICENSE in parsed.words()
    assert "elpmaxe turned A marble canyon by the river" in parsed.words()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", html)


def test_captions_and_licences_cannot_turn_the_text_around_them(html):
    assert re.search(r"<bdi>&lt;b onclick=", html)
    captions = re.findall(r"<p class=\"caption\"([^>]*)>", html)
    assert len(captions) > 20
    assert set(captions) == {' dir="auto"'}


def test_the_page_fetches_and_runs_nothing(html):
    parsed = Page(html)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert any(value.startswith(policy) for value in parsed.values("content"))
    images = parsed.values("src")
    assert len(images) > 20
    assert all(re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", uri) for uri in images)
    assert all(link.startswith("#") for link in parsed.values("href"))
    assert set(parsed.values("href")) <= {f"#{name}" for name in parsed.values("id")}
    assert len(parsed.values("id")) == len(set(parsed.values("id")))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert len(html.encode()) < 5_000_000


def test_the_first_screen_balances_and_says_what_was_not_measured(html, done):
    opened = open_any(str(done))
    assert opened.corpus is not None
    totals = opened.corpus.manifest.totals
    assert totals.dropped > 0 < totals.quarantined
    said = Page(html).words()
    first = said[: said.index("Each stage decides")]
    assert (
        f"{totals.ingested} pairs went in, {totals.kept} came out: "
        f"{percent(totals.kept, totals.ingested)}"
    ) in first
    assert f"{totals.dropped} were dropped and {totals.quarantined} set aside" in first
    assert (
        f"{totals.ingested} ingested = {totals.kept} kept + {totals.dropped} dropped + "
        f"{totals.quarantined} quarantined."
    ) in first
    assert "NSFW and other unsafe content" in first[first.index("What nobody measured") :]
    assert "Licences" in first
    assert "pairs.jsonl: images from column 'image'" in first


def test_the_numbers_are_those_of_the_ledger(html, done):
    opened = open_any(str(done))
    assert opened.corpus is not None
    rows = ledger(opened.corpus).to_pylist()
    fates = Counter(row["status"] for row in rows)
    reasons = Counter(row["reason"] or row["error"] for row in rows if row["status"] != "kept")
    figures = re.findall(r"<div[^>]*><dt>([^<]*)</dt><dd>([\d,]+)", html)
    assert dict(figures) | {
        "went in": str(len(rows)),
        "came out": str(fates["kept"]),
        "dropped": str(fates["dropped"]),
        "quarantined": str(fates["quarantined"]),
        "written for training": str(fates["kept"]),
    } == dict(figures)
    table = html[html.index('<table class="reasons">') :].partition("</table>")[0]
    said = re.findall(r'<code><bdi>([^<]*)</bdi></code>.*?<td class="n">([\d,]+)<', table, re.S)
    assert {reason.rpartition(": ")[2]: int(n) for reason, n in said} == reasons
    assert [int(n) for _, n in said] == sorted(reasons.values(), reverse=True)
    panels = re.findall(r'<h3><bdi>[^<]*</bdi> <span class="amount">([\d,]+)</span></h3>\s*'
                        r'<p class="about"><code><bdi>([^<]*)<', html)  # fmt: skip
    assert {reason: int(n) for n, reason in panels} == reasons


def test_every_reason_and_error_has_a_panel_with_its_count(html, done):
    opened = open_any(str(done))
    assert opened.corpus is not None
    said = Page(html).words()
    panels = said[said.index("What was dropped, and why") :]
    lost = [pair for s in opened.corpus.manifest.stages for pair in s.reasons.items()]
    lost += [
        (error.partition(": ")[2], n)
        for s in opened.corpus.manifest.stages
        for error, n in s.errors.items()
    ]
    wanted = {"min_side", "html_tag", "email", "near_image", "unsupported_format"}
    assert {reason for reason, _ in lost} == wanted
    for reason, count in lost:
        assert f"{reason_title(reason)} {count} {reason} in " in panels


def test_personal_data_is_not_quoted(html):
    assert "bell@example.com" not in html
    assert "4567" not in html
    assert "Ring the bell keeper at •••-•••-••••" in html


def test_thresholds_are_drawn_and_every_rule_is_listed(html, done):
    opened = open_any(str(done))
    assert opened.corpus is not None
    rules = opened.corpus.manifest.recipe["stages"][0]["rules"]
    said = Page(html).words()
    for rule in rules:
        assert rule["reason"] in said
        assert rule["source"] in said
    drawn = re.findall(r'<text class="limit"[^>]*>([^<]*)<', html)
    assert "min_side ≥ 200" in drawn
    assert html.count('<line class="limit"') >= 5
    assert html.count('class="fails"') >= 5


def test_the_same_corpus_gives_the_same_bytes_anywhere(html, done, source, tmp_path):
    again = page_bytes(done, tmp_path / "again.html")
    shutil.copytree(done, tmp_path / "elsewhere")
    curate(source, tmp_path / "made-again", shard_samples=10)
    assert again == html.encode()
    assert page_bytes(tmp_path / "elsewhere", tmp_path / "moved.html") == again
    assert page_bytes(tmp_path / "made-again", tmp_path / "b.html") == again


def page_bytes(path: Path, out: Path) -> bytes:
    write_report(str(path), str(out))
    return out.read_bytes()


def test_the_corpus_is_only_read(done, tmp_path):
    before = tree(done)
    write_report(str(done), str(tmp_path / "r.html"))
    assert tree(done) == before


def test_the_log_is_the_only_part_that_tells_of_a_machine(done, tmp_path, html):
    shutil.copytree(done, tmp_path / "out")
    logs = tmp_path / "out.runs"
    logs.mkdir()
    record = {
        "command": ["run", "<script>x</script>"], "version": "1", "host": "<b>host</b>",
        "python": "3", "cpus": 4, "started": "2020-01-01T00:00:00+00:00", "state": "finished",
        "seconds": 90.0, "peak_memory_bytes": 5_000_000,
        "stages": [{"stage": "ingest", "seconds": 2.0, "done": 24, "total": 24}],
    }  # fmt: skip
    (logs / "20200101T000000-1.json").write_text(json.dumps(record))
    (logs / "20210101T000000-1.json").write_text('{"command": "cut o')
    (logs / "20220101T000000-1.json").write_text("[]")
    for path in (tmp_path / "out", tmp_path / "out" / "corpus", tmp_path / "out" / "export"):
        found = page(path, tmp_path / "r.html")
        assert "<b>host</b> , 4 CPUs" in found.words()
        assert "0.1000 CPU hours" in found.words()
        assert "Not reproducible" in found.words()
    assert "Not reproducible" not in html


def test_the_first_screen_names_the_corpus_by_what_it_holds(done, tmp_path, html):
    """No clock and no path: the day is told with the cost, which the logs tell of."""
    sha256 = hashlib.sha256((done / "corpus" / "manifest.json").read_bytes()).hexdigest()
    first = Page(html).words().partition("What it cost")[0]
    assert f"image-text corpus {sha256[:12]}" in first
    assert str(done) not in html
    shutil.copytree(done, tmp_path / "out")
    log(tmp_path / "out.runs", "1", started="2020-02-03T23:30:00+00:00")
    log(tmp_path / "out.runs", "2", started="2021-04-05T06:07:08+00:00")
    dated = page(tmp_path / "out", tmp_path / "r.html").words()
    assert "newest command 2021-04-05" in dated
    assert dated.partition("What it cost")[0] == first
    log(tmp_path / "out.runs", "3", started="<b>today</b>")
    assert (
        "newest command"
        not in page(tmp_path / "out", tmp_path / "r.html")
        .words()
        .partition("Where the time went")[0]
    )


def test_an_export_with_a_name_of_its_own_is_called_by_it(done, tmp_path):
    out = tmp_path / "named"
    named = ["--set", "export.name=harbour-2", "--workers", "0"]
    shutil.copytree(done / "corpus", tmp_path / "corpus")  # whose log lies beside the copy
    assert main(["export", str(tmp_path / "corpus"), "--out", str(out), *named]) == 0
    fingerprint = json.loads((out / "manifest.json").read_text())["fingerprint"]
    words = page(out, tmp_path / "r.html").words()
    assert f"image-text harbour-2 export {fingerprint[:12]}" in words


def test_a_corpus_of_which_nothing_is_decided(source, tmp_path):
    corpus = tmp_path / "corpus"
    main(["ingest", str(source), "--out", str(corpus), "--workers", "0"])
    found = page(corpus, tmp_path / "r.html").words()
    assert "24 pairs went in, nothing is decided yet" in found
    assert "24 ingested = 24 undecided + 0 stopped by a blocklist + 0 quarantined." in found
    assert "Nothing has been measured yet." in found
    main(["measure", "all", str(corpus), "--workers", "0"])
    measured = page(corpus, tmp_path / "r.html")
    assert "shorter side, pixels" in measured.words()
    assert len(measured.values("src")) == 23


def test_a_corpus_of_which_nothing_is_left(source, tmp_path):
    curate(source, tmp_path / "out", "heuristics.min_side=9999")
    found = page(tmp_path / "out", tmp_path / "r.html").words()
    assert "24 pairs went in, 0 came out: 0%" in found
    assert "Nothing is left: every sample was dropped or quarantined." in found


def test_a_corpus_without_a_readable_sample(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "pairs.jsonl").write_text('{"image": "none.jpg", "text": "A picture of nothing"}\n')
    curate(source, tmp_path / "out")
    found = page(tmp_path / "out", tmp_path / "r.html").words()
    assert "1 ingested = 0 kept + 0 dropped + 1 quarantined." in found
    assert "missing_file" in found


def test_an_export_alone_explains_itself(done, tmp_path):
    shutil.copytree(done / "export", tmp_path / "alone")
    found = page(tmp_path / "alone", tmp_path / "r.html")
    opened = open_any(str(done))
    assert opened.corpus is not None
    totals = opened.corpus.manifest.totals
    assert f"24 pairs went in, {totals.kept} came out" in found.words()
    assert "min_side ≥ 200" in found.words()
    assert len(found.values("src")) == totals.kept
    assert {tag for tag, _ in found.tags} <= TAGS


def test_an_export_older_than_the_decision_is_told(done, tmp_path):
    shutil.copytree(done, tmp_path / "out")
    main(["decide", str(tmp_path / "out" / "corpus"), "--set", "heuristics.blur=12", "--workers",
          "0"])  # fmt: skip
    said = page(tmp_path / "out", tmp_path / "r.html").words()
    assert "The export beside was made before the corpus was last decided" in said


def test_a_stage_that_was_switched_off_is_told(source, tmp_path):
    curate(source, tmp_path / "out", "near_dedup.off=<i>not now</i>")
    found = page(tmp_path / "out", tmp_path / "r.html")
    assert "Stage near_dedup was switched off: <i>not now</i>" in found.words()


@pytest.mark.parametrize(
    ("path", "out", "error", "told"),
    [
        ("nothing", "r.html", CorpusError, "no manifest.json"),
        ("done", "", UsageError, "takes the name of a file"),
        ("done", "folder", UsageError, "a folder"),
        ("done", "none/r.html", UsageError, "the folder .*/none does not exist"),
        ("done", "file/r.html", StorageError, "a parent of this path is a file"),
    ],
)
def test_bad_paths_are_one_line(path, out, error, told, done, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match=told) as raised:
        write_report(
            str(done if path == "done" else tmp_path / path), str(tmp_path / out) if out else ""
        )
    assert "\n" not in str(raised.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_damage_is_a_corpus_error(done, tmp_path):
    shutil.copytree(done, tmp_path / "out")
    victim = next((tmp_path / "out" / "corpus" / "ledgers").glob("final-*/000000001.parquet"))
    victim.write_bytes(victim.read_bytes()[:-40])
    with pytest.raises(CorpusError, match="damaged"):
        write_report(str(tmp_path / "out"), str(tmp_path / "r.html"))
    assert not (tmp_path / "r.html").exists()


def test_the_command_writes_the_page_and_says_where(done, tmp_path, capsys, html):
    out = tmp_path / "r.html"
    assert main(["report", str(done), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_text() == html
    assert main(["report", str(tmp_path), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("curate: ")
