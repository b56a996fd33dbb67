"""What the viewer's server lets through, and what it never does."""

import hashlib
import ipaddress
import json
import re
import shutil
import socket
from pathlib import Path

import pytest

from curation.cli.main import main
from curation.core.errors import UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.pipeline.measure import measure
from curation.pipeline.run import decide_and_save
from curation.report.viewer import server
from curation.report.viewer.answers import Answers
from curation.report.viewer.server import serve
from tests.io.chat_server import ChatServer
from tests.pipeline.corpora import caption, curate, plain_recipe, write_pairs
from tests.report.viewer.corpora import (
    LONG,
    SCRIPT,
    asked,
    get,
    hostile_corpus,
    view_of,
    viewer,
)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return hostile_corpus(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module")
def app(out):
    return viewer(view_of(out))


def test_every_answer_carries_a_policy_that_runs_no_strangers_script(app):
    for path in ("/", "/main.js", "/style.css", "/api/overview", "/image?at=0", "/nothing"):
        _, headers, _ = get(app, path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_hold_no_inline_script_style_or_foreign_address(app):
    _, headers, body = get(app, "/")
    page = body.decode()
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert page.count("<script") == page.count('src="/main.js"') == 1
    assert "<style" not in page
    assert "style=" not in page
    assert "//" not in page.replace("<!doctype html>", "")


def test_an_export_of_earlier_decisions_is_told_and_not_shown(tmp_path):
    curate(write_pairs(tmp_path / "pairs", 8), tmp_path / "run")
    told = asked(viewer(view_of(tmp_path / "run")), "overview")
    assert told["exported"] == 8
    assert not any("made before" in line for line in told["warnings"])
    with LocalEngine(workers=0, memory="500MB") as engine:
        corpus = open_corpus(str(tmp_path / "run"))
        recipe = plain_recipe().with_settings(("heuristics.blur=9",))
        layers = measure(corpus, recipe.operators, engine, SILENT)
        decide_and_save(corpus, recipe, layers, engine, SILENT)
    told = asked(viewer(view_of(tmp_path / "run")), "overview")
    assert told["exported"] is None
    assert any("made before the corpus was last decided" in line for line in told["warnings"])


def test_only_names_of_this_machine_and_reads_are_answered(app):
    assert get(app, "/api/overview", host="localhost:8765")[0] == 200
    assert get(app, "/api/overview", host="evil.example")[0] == 421
    assert get(app, "/api/overview", host="")[0] == 421
    for method in ("POST", "PUT", "DELETE"):
        assert get(app, "/api/overview", method=method)[0] == 405


def test_away_from_loopback_a_token_opens_the_door_once(out):
    app = viewer(view_of(out), token="secret", hosts=frozenset())
    assert get(app, "/api/overview")[0] == 403
    assert get(app, "/api/overview?token=secret")[0] == 403
    assert get(app, "/?token=wrong")[0] == 403
    code, headers, _ = get(app, "/?token=secret")
    assert (code, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert get(app, "/api/overview", cookie=cookie.partition(";")[0])[0] == 200
    assert get(app, "/api/overview", cookie="seen=other")[0] == 403


def test_only_the_viewers_own_files_are_served(app):
    for path in ("/../view.py", "/static/main.js", "/pages/../../view.py", "/manifest.json"):
        assert get(app, path)[0] == 404


def test_images_are_jpegs_of_our_own_making(app, out):
    code, headers, body = get(app, "/image?at=0&side=240")
    assert (code, headers["content-type"]) == (200, "image/jpeg")
    stored = next((out / "corpus" / "shards").glob("*.tar")).read_bytes()
    assert body[:3] == b"\xff\xd8\xff"
    assert body not in stored
    assert get(app, "/image?at=7")[0] == 404  # an empty file
    assert json.loads(get(app, "/image?at=7")[2]) == {"error": "empty file"}
    assert get(app, "/image?at=0&side=241")[0] == 400
    assert get(app, "/image?at=16")[0] == 400
    assert get(app, "/image?at=x")[0] == 400


def test_questions_that_mean_nothing_get_one_line(app):
    for path, said in {
        "samples?range=nothing:1:2": "no measure is called nothing",
        "samples?range=blur:a:2": "not a number: 'a'",
        "samples?family=nothing": "no family is called nothing",
        "samples?limit=100000": "limit is a whole number up to 240",
        "samples?concept=none": "a concept is language:id, got 'none'",
        "recount?moved=heuristics.nothing": "the recipe has no threshold heuristics.nothing",
        "recount?moved=heuristics.blur&set=heuristics.blur:nan": "a number is missing",
        "histogram?measure=language": "no measure is called language",
        "overview?of=b": "no such corpus is open",
    }.items():
        code, _, body = get(app, f"/api/{path}")
        assert (code, json.loads(body)) == (400, {"error": said})


def test_captions_come_as_text_and_a_long_one_only_when_asked(app):
    script = asked(app, "sample?at=1")
    assert (script["text"], script["whole"]) == (SCRIPT, True)
    long = asked(app, "sample?at=3")
    assert (len(long["text"]), long["length"], long["whole"]) == (1000, len(LONG), False)
    assert asked(app, "caption?at=3")["text"] == LONG
    tiles = asked(app, "samples?limit=4")["tiles"]
    assert max(len(tile["caption"]) for tile in tiles) < 260


def test_a_sample_is_told_whole(app):
    said = asked(app, "sample?at=4")
    assert (said["tile"]["status"], said["tile"]["cause"]) == ("dropped", "min_side")
    assert said["tile"]["verdict"] == "min_side 180 < 200"
    side = next(m for m in said["measures"] if m["name"] == "min_side")
    assert side["value"] == 180
    assert side["rules"] == [
        {"name": "heuristics.min_side", "kind": "at_least", "threshold": 200, "fails": True}
    ]
    fates = {stage["stage"]: stage["fate"] for stage in said["stages"]}
    assert (fates["heuristics"], fates["near_dedup"]) == ("fell", "not reached")
    kept = asked(app, "sample?at=6")
    assert json.loads(kept["training"]["json"])["family"] == "image-text"
    assert kept["blocks"] == [
        {"kind": "picture", "nth": 0, "width": 520, "height": 480, "boxes": [], "why_not": None}
    ]
    assert ("table", "pairs.jsonl") in map(tuple, kept["facts"])
    assert [tile["at"] for tile in kept["twins"]["members"]] == [5]


def test_filters_find_what_they_say(app):
    def found(question: str) -> list[int]:
        return [tile["at"] for tile in asked(app, f"samples?{question}")["tiles"]]

    assert found("status=dropped") == [4, 5]
    assert found("status=dropped&stage=near_dedup") == [5]
    assert found("status=quarantined") == [7]
    assert found("text=RED%20BARN") == [1]
    assert found("text=100%25") == []
    assert found("range=min_side:0:199") == [4]
    assert found("family=image-text&status=dropped") == [4, 5]
    assert found("family=ocr") == []
    uid = asked(app, "sample?at=9")["tile"]["uid"]
    assert found(f"uid={uid[:10]}") == [9]
    assert set(found("order=-caption_chars")[:1]) == {3}
    assert sorted(found("order=?")) == list(range(16))
    assert found("order=?") != list(range(16))
    beside = asked(app, "neighbours?status=dropped&at=5")
    assert (beside["nth"], beside["before"], beside["after"]) == (1, 4, None)


def test_a_group_of_twins_says_what_ranked_them(app):
    (group,) = asked(app, "groups?stage=near_dedup")
    (twin,) = group["members"]
    assert (group["best"]["at"], twin["at"]) == (6, 5)
    assert group["best"]["ranked"] == [{"name": "area", "value": 520 * 480}]
    assert twin["ranked"] == [{"name": "area", "value": 260 * 240}]


def test_a_corpus_has_one_name_however_it_is_decided(tmp_path):
    source = write_pairs(tmp_path / "source", 4)
    curate(source, tmp_path / "a")
    curate(source, tmp_path / "b", "heuristics.blur=1e99")
    first, again = (asked(viewer(view_of(tmp_path / of)), "overview") for of in "ab")
    assert (first["kept"], again["kept"]) == (4, 0)
    assert first["sha256"] != again["sha256"]
    assert first["corpus"] == again["corpus"]
    curate(write_pairs(tmp_path / "other", 5), tmp_path / "c")
    assert asked(viewer(view_of(tmp_path / "c")), "overview")["corpus"] != first["corpus"]


def test_what_a_list_names_is_nowhere(tmp_path):
    source = tmp_path / "source"
    hostile_corpus(tmp_path)
    shutil.rmtree(tmp_path / "out")
    listed = tmp_path / "abuse.txt"
    listed.write_text(hashlib.sha256((source / "images" / "9.jpg").read_bytes()).hexdigest())
    run = ["run", "image-text", "--input", source, "--out", tmp_path / "b", "--workers", "0"]
    assert main([*map(str, run), "--set", f"blocklist.lists={listed}"]) == 0
    app = viewer(view_of(tmp_path / "b"))
    everything = asked(app, "samples?limit=60")
    assert 9 not in [tile["at"] for tile in everything["tiles"]]
    assert asked(app, f"samples?text={caption(9).replace(' ', '%20')}")["total"] == 0
    assert asked(app, "sample?at=9") == {
        "hidden": True, "stage": "blocklist", "reason": "blocked_sha256",
    }  # fmt: skip
    assert asked(app, "caption?at=9") == {"text": ""}
    assert get(app, "/image?at=9")[0] == 404
    # What fell before the list was looked at is listed without its picture.
    assert get(app, "/image?at=4")[0] == 404
    (block,) = asked(app, "sample?at=4")["blocks"]
    assert block["why_not"] == "withheld: abuse was not held against it"
    assert get(app, "/image?at=10")[0] == 200
    (warning,) = (w for w in asked(app, "overview")["warnings"] if "blocklist" in w)
    early = asked(app, "samples?status=dropped&stage=heuristics")["total"]
    unread = asked(app, "samples?status=quarantined")["total"]
    assert warning.startswith(f"{early + unread} samples are listed without pictures: no stage")
    assert "--blocklist FILE" in warning


def test_every_address_of_the_machine_is_printed(monkeypatch, out):
    said = []
    monkeypatch.setattr(server._Server, "run", lambda self, sockets: None)
    serve(Answers(views={"a": view_of(out)}), "0.0.0.0", 0, said.append)
    hosts = [re.fullmatch(r"http://(.+):\d+/\?token=.+", line)[1] for line in said]
    assert "0.0.0.0" not in hosts
    assert hosts == ["127.0.0.1"] or hosts[-1] == socket.gethostname()
    for host in hosts[:-1]:
        assert not ipaddress.ip_address(host).is_unspecified
    said.clear()
    serve(Answers(views={"a": view_of(out)}), "127.0.0.1", 0, said.append)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", said[0])


def test_files_that_are_not_there_are_refused(out, tmp_path, capsys):
    for flag in ("--tokenizer", "--checkpoint", "--blocklist"):
        assert main(["view", str(out), "--port", "0", flag, str(tmp_path / "none")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("curate: ")
        assert "none" in line


def test_personal_data_is_unreadable_wherever_it_stands(tmp_path):
    source = write_pairs(tmp_path / "source", 6)
    lines = [json.loads(line) for line in (source / "pairs.jsonl").read_text().splitlines()]
    lines[2]["text"] = "Write to the painter at ann.lee@example.com or 020 7946 0958"
    lines[2]["alt"] = lines[2]["text"]
    (source / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with ChatServer(say=lambda _: lines[2]["text"]) as server:  # a model repeats what it read
        named = ("recaption.model=tiny", f"recaption.servers={server.url}", "recaption.floor=")
        curate(source, tmp_path / "out", *named)
    app = viewer(view_of(tmp_path / "out"))
    assert asked(app, "sample?at=1")["captions"] is not None
    said = asked(app, "sample?at=2")
    assert said["captions"] is None
    assert said["tile"]["cause"] == "email"
    assert said["text"] == "Write to the painter at •••@••• or ••• •••• ••••"
    answers = [get(app, f"/api/{path}")[2].decode() for path in (
        "sample?at=2", "caption?at=2", "samples?status=dropped", "strip?moved=heuristics.email",
    )]  # fmt: skip
    assert not [answer for answer in answers if "ann.lee" in answer or "7946" in answer]
    assert sum("painter" in answer for answer in answers) >= 3


def test_an_undecided_corpus_can_be_seen_too(tmp_path):
    hostile_corpus(tmp_path)
    corpus = tmp_path / "bare"
    assert main(["ingest", str(tmp_path / "source"), "--out", str(corpus), "--workers", "0"]) == 0
    app = viewer(view_of(corpus))
    said = asked(app, "overview")
    assert (said["decided"], said["kept"], said["quarantined"]) == (False, 15, 1)
    assert asked(app, "samples?status=ingested")["total"] == 15
    assert asked(app, "twins") == []
    assert get(app, "/api/map")[0] == 400


def test_what_cannot_be_viewed_is_one_line(out, capsys, tmp_path):
    assert main(["view", str(out / "export")]) == 2
    assert main(["view", str(tmp_path)]) == 1
    assert main(["view", str(out), "--port", "70000"]) == 2
    assert main(["view", str(out), "--host", "no.such.host.example", "--port", "0"]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("curate: ")


def test_an_address_that_is_none_is_refused():
    with pytest.raises(UsageError, match="not an address"):
        serve(None, "no.such.host.example", 0, print)  # type: ignore[arg-type]
