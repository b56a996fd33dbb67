"""Claim check: what is asked about each sentence, what is recorded, what faults cost."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from curation.core.errors import RunError, UsageError
from curation.core.fingerprint import operator_fingerprint, plain
from curation.core.operator import IMAGE
from curation.io import chat_client, chat_servers
from curation.io.chat_answer import BadAnswerError, parse_answer, word_probability
from curation.operators.text.facts_sentences import sentences
from curation.operators.vision_language.claim_check import ClaimCheck
from curation.pipeline.measure import switched_on
from jobs.image_text import recipe
from recaption_prompts import Prompt
from tests.io.chat_server import ChatServer, completion, judged, words_of
from tests.operators.rows import encoded
from tests.pipeline.corpora import picture as textured
from tests.recaption_prompts.injections import INJECTIONS

JPEG = encoded(textured(1), "JPEG")
TWO = "A red car stands in a yard. Two dogs run beside it."


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits of a test are short."""
    monkeypatch.setattr(chat_client, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(chat_servers, "_PROBE_FIRST", 0.05)


def rows(captions: list[str | None], images: list[bytes | None] | None = None) -> pa.Table:
    return pa.table(
        {
            "image": pa.array(images or [JPEG] * len(captions), IMAGE.type),
            "recaption": pa.array(captions, pa.string()),
        }
    )


def operator(*servers: str, **changed: Any) -> ClaimCheck:
    return ClaimCheck(servers=servers, **{"model": "tiny", "request_seconds": 2.0, **changed})


def sentence_of(payload: dict[str, Any]) -> str:
    return words_of(payload).split('<data name="caption">\n')[1].split("\n</data>")[0]


def dogs_are_wrong(payload: dict[str, Any]) -> tuple[float, float]:
    return (0.125, 0.75) if "dogs" in sentence_of(payload) else (0.875, 0.0625)


def test_both_probabilities_of_each_sentence_are_recorded(run):
    with ChatServer(judge=dogs_are_wrong) as server:
        found = run(operator(server.url), rows([TWO, None, "A red car"]))
        asked = [sentence_of(payload) for payload in server.asked]
    assert sorted(asked) == ["A red car", "A red car stands in a yard.", "Two dogs run beside it."]
    (first, second), nothing, (third,) = found["claims_checked"].to_pylist()
    assert nothing is None
    assert [TWO[part["start"] : part["end"]] for part in (first, second)] == [
        "A red car stands in a yard.",
        "Two dogs run beside it.",
    ]
    shares = [part[name] for part in (first, second, third) for name in ("p_yes", "p_no")]
    assert shares == pytest.approx([0.875, 0.0625, 0.125, 0.75, 0.875, 0.0625])
    assert found["claims_asked"].to_pylist() == [2, None, 1]
    assert found["error"].null_count == 3


def test_the_request_asks_for_one_word_and_its_rivals(run):
    with ChatServer(judge=dogs_are_wrong) as server:
        run(operator(server.url), rows(["A red car"]))
        (asked,) = server.asked
    wanted = {"logprobs": True, "top_logprobs": 20, "max_tokens": 1, "temperature": 0.0}
    assert {name: asked[name] for name in wanted} == wanted
    assert "response_format" not in asked
    assert [part["type"] for part in asked["messages"][1]["content"]] == ["image_url", "text"]


@pytest.mark.parametrize("name", INJECTIONS)
def test_a_sentence_is_data_and_never_an_instruction(name):
    template = Prompt.at("claim").load()
    _, plain_words = template.render({"caption": "@"}, 4000)
    before, after = plain_words.split("@")
    _, user = template.render({"caption": INJECTIONS[name]}, 4000)
    assert user.startswith(before)
    assert user.endswith(after)
    assert not set("<>") & set(user[len(before) : len(user) - len(after)])


def test_a_row_without_an_image_or_with_a_broken_one_is_not_asked_about(run):
    images = [None, b"no picture", JPEG[: len(JPEG) // 2]]
    with ChatServer(judge=dogs_are_wrong) as server:
        found = run(operator(server.url), rows([TWO] * 3, images))
        assert not server.asked
    assert found["error"].to_pylist() == [None, "unsupported_format", "truncated_image"]
    assert found["claims_checked"].null_count == 3


def test_equal_sentences_of_one_picture_are_asked_once(run):
    with ChatServer(judge=dogs_are_wrong) as server:
        found = run(operator(server.url), rows([TWO, TWO, "A red car stands in a yard."]))
        assert len(server.asked) == 2
    claims = found["claims_checked"].to_pylist()
    assert claims[0] == claims[1]
    assert claims[2] == claims[0][:1]


def test_one_sentence_without_an_answer_is_no_check_of_the_caption(run):
    def refusing(payload: dict[str, Any], seen: int) -> str:
        return "400" if "dogs" in sentence_of(payload) else "answer"

    with ChatServer(refusing, judge=dogs_are_wrong) as server:
        found = run(operator(server.url), rows([TWO, "A red car"]))
    assert found["error"].to_pylist() == ["refused_by_server", None]
    assert [claims is None for claims in found["claims_checked"].to_pylist()] == [True, False]


def test_faults_change_nothing_but_the_requests(run):
    faults = ("500", "half", "schema", "429:0", "reset", "cut off", "long")

    def misbehaving(payload: dict[str, Any], seen: int) -> str:
        return faults[len(sentence_of(payload)) % len(faults)] if seen == 1 else "answer"

    table = rows([f"A car{'!' * n} Two dogs{'?' * n} run." for n in range(1, 15)])
    with ChatServer(judge=dogs_are_wrong) as server:
        expected = run(operator(server.url), table)
    with ChatServer(misbehaving, judge=dogs_are_wrong) as server:
        found = run(operator(server.url), table)
    names = ["claims_checked", "error"]
    assert found.select(names).equals(expected.select(names))
    assert sum(found["claims_asked"].to_pylist()) > sum(expected["claims_asked"].to_pylist())


@pytest.mark.parametrize("plan", ["answer", "no logprobs"])
def test_a_server_without_log_probabilities_ends_the_run_with_a_line(run, plan):
    with (
        ChatServer(lambda payload, seen: plan) as server,
        pytest.raises(RunError, match=f"{server.url}/v1: a server gives no log-probab"),
    ):
        run(operator(server.url), rows([TWO]))


def test_a_caption_cannot_end_a_run_by_speaking_of_log_probabilities(run):
    """A server that quotes the request in its refusal, once it has given some."""

    def plan(payload: dict[str, Any], seen: int) -> str:
        return "no logprobs" if "dogs" in sentence_of(payload) else "answer"

    with ChatServer(plan, judge=dogs_are_wrong) as server:
        found = run(operator(server.url), rows([TWO]))
    assert found["error"].to_pylist() == ["refused_by_server"]


def body(logprobs: object) -> bytes:
    whole: dict[str, Any] = completion("yes")
    whole["choices"][0]["logprobs"] = logprobs
    return json.dumps(whole).encode()


def entry(token: object, logprob: object, *rivals: tuple[object, object]) -> dict[str, Any]:
    top = [{"token": t, "logprob": p} for t, p in rivals]
    return {"token": token, "logprob": logprob, "top_logprobs": top}


def test_the_first_token_that_is_more_than_space_counts():
    said = {"content": [entry("\n", -0.1, ("\n", -0.1)), entry("No", -0.5, ("No", -0.5))]}
    first = parse_answer(body(said)).first
    assert first is not None
    assert word_probability(first, "no") == pytest.approx(0.6065, abs=1e-4)
    assert word_probability(first, "yes") == 0


@pytest.mark.parametrize("said", [None, {}, {"content": None}])
def test_no_log_probabilities_are_none(said):
    assert parse_answer(body(said)).first is None


def test_an_answer_of_no_word_has_none_that_is_probable():
    assert parse_answer(body({"content": []})).first == ()


@pytest.mark.parametrize(
    "content",
    [
        [entry("yes", -1, ("yes", "much"))],
        [entry("yes", -1, ("yes", float("nan")))],
        [entry("yes", -1, ("yes", 3.0))],
        [entry("yes", -1, (7, -1.0))],
        [{"token": "yes"}],
        ["yes"],
        {"token": "yes"},
        7,
    ],
)
def test_log_probabilities_of_another_shape_are_no_answer(content):
    with pytest.raises(BadAnswerError, match="log-probabilities"):
        parse_answer(body({"content": content}))


def test_probabilities_never_exceed_one():
    said = judged(0.6, 0.4)["choices"][0]["logprobs"]["content"][0]
    said["top_logprobs"] = [{"token": "yes", "logprob": 0.0}, {"token": "Yes", "logprob": 0.0}]
    first = parse_answer(body({"content": [said]})).first
    assert first is not None
    assert word_probability(first, "yes") == 1


def test_it_is_off_until_it_is_told_whom_to_ask_and_where_there_are_no_new_captions():
    def on(*settings: str) -> set[str]:
        return {o.name for o in switched_on(recipe().with_settings(settings).operators)}

    asked, made = "claim_check.model=judge", "recaption.model=writer"
    assert "claim_check" not in on(asked)
    assert "claim_check" not in on(made)
    assert "claim_check" in on(made, asked)


def test_servers_are_no_part_of_the_fingerprint_and_the_prompt_is():
    one, other = operator("http://127.0.0.1:1"), operator("http://127.0.0.1:2")
    assert plain(one) == plain(other)
    assert operator_fingerprint(one, {}) == operator_fingerprint(other, {})
    changed = replace(one, prompt=Prompt.at("small-claim"))
    assert operator_fingerprint(changed, {}) != operator_fingerprint(one, {})


@pytest.mark.parametrize(
    "changed",
    [{"rivals": 0}, {"rivals": 21}, {"max_tokens": 0}, {"image_side": 5}, {"max_sentences": 0}],
)
def test_what_cannot_be_is_refused(changed):
    with pytest.raises(ValueError, match=next(iter(changed))):
        operator(**changed)


def test_a_prompt_of_captions_is_no_prompt_of_claims():
    with pytest.raises(ValueError, match="prompt factual does not take"):
        operator(prompt=Prompt.at("factual"))
    with pytest.raises(ValueError, match="prompt small asks for a caption"):
        operator(prompt=Prompt.at("small"))


def test_a_prompt_file_that_asks_for_an_object_is_no_prompt_of_claims(tmp_path):
    file = tmp_path / "mine.md"
    words = (
        "---\nname: mine\nversion: 1\nvariables: caption\nimage: yes\noutput: {output}\n---\n"
        "# System\n\n# User\n\n{{{{caption}}}}\nTrue?\n"
    )
    file.write_text(words.format(output="text"))
    assert operator(prompt=Prompt.at(str(file))).prompt.name == "mine"
    setting = (f"claim_check.prompt={file}",)
    recipe().with_settings(setting)
    file.write_text(words.format(output="caption"))
    with pytest.raises(UsageError, match="the prompt mine gives caption") as told:
        recipe().with_settings(setting)
    assert "\n" not in str(told.value)


def test_a_model_without_a_server_is_one_line():
    with pytest.raises(UsageError, match=r"claim_check.servers=http"):
        operator().open()


def test_no_more_sentences_are_asked_about_than_wanted(run):
    caption = " ".join(f"The car number {n} is red." for n in range(9))
    assert len(list(sentences(caption))) == 9
    with ChatServer(judge=dogs_are_wrong) as server:
        found = run(operator(server.url, max_sentences=4), rows([caption]))
        assert len(server.asked) == 4
    assert len(found["claims_checked"].to_pylist()[0]) == 4


def embedded(**changed: Any) -> ClaimCheck:
    return ClaimCheck(model="embedded", **changed)


def test_the_model_that_ships_needs_no_server_and_looks_at_the_picture(run):
    table = rows([TWO, None, TWO], [JPEG, JPEG, encoded(textured(2), "JPEG")])
    found = run(embedded(), table)
    first, nothing, other = found["claims_checked"].to_pylist()
    assert nothing is None
    assert [(c["start"], c["end"]) for c in first] == list(sentences(TWO))
    shares = [(c["p_yes"], c["p_no"]) for c in (*first, *other)]
    assert all(0 <= p <= 1 for pair in shares for p in pair)
    assert [c["p_yes"] for c in first] != [c["p_yes"] for c in other]
    assert found["claims_asked"].to_pylist() == [2, None, 2]


def test_what_the_model_that_ships_says_depends_neither_on_batches_nor_on_neighbours(run):
    pictures = [encoded(textured(n), "JPEG") for n in range(6)]
    table = rows([TWO, "A red car.", None, TWO, "Two dogs.", TWO], pictures)
    whole = run(embedded(), table)
    assert run(embedded(), table, batch_rows=2).equals(whole)


def test_a_broken_picture_costs_only_itself(run):
    found = run(embedded(), rows([TWO, TWO], [b"no picture", JPEG]))
    assert found["error"].to_pylist() == ["unsupported_format", None]
    assert [claims is None for claims in found["claims_checked"].to_pylist()] == [True, False]


def test_a_sentence_of_more_tokens_than_the_model_has_places_costs_only_its_row(run):
    found = run(embedded(), rows(["\u8349" * 4000, TWO]))
    assert found["error"].to_pylist() == ["too_large", None]
    assert [claims is None for claims in found["claims_checked"].to_pylist()] == [True, False]


def test_the_model_that_ships_is_known_by_its_weights_and_takes_its_own_prompt():
    assert embedded().prompt.name == "small-claim"
    assert set(embedded().identity()) >= {"weights", "device", "dtype", "torch"}
    assert operator("http://127.0.0.1:1").identity() == {}
    with pytest.raises(ValueError, match="one or the other"):
        embedded(servers=("http://127.0.0.1:1",))
    with pytest.raises(ValueError, match="takes the prompt small-claim, not small"):
        embedded(prompt=Prompt.at("small"))
