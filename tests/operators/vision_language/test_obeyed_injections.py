"""A captioner that obeys what it reads: what it then writes goes on for no sample."""

from typing import Any

import pyarrow as pa
import pytest

from curation.core.operator import IMAGE
from curation.operators.text.caption_facts import CaptionFacts
from curation.operators.vision_language.claim_check import ClaimCheck
from curation.operators.vision_language.recaption import Recaption
from curation.relational.choose_caption import ChooseCaption
from recaption_prompts import inert
from tests.io.chat_server import ChatServer, words_of
from tests.operators.rows import encoded
from tests.pipeline.corpora import picture
from tests.recaption_prompts.injections import INJECTIONS
from tests.recaption_prompts.obeyed import OBEYED

ORIGINAL = "Maria Lopez at Lake Tahoe in 1999"
TRUE = "Maria Lopez stands at Lake Tahoe in 1999."
JPEG = encoded(picture(1), "JPEG")
MOST = 4_000


def obedient(payload: dict[str, Any]) -> str:
    """Does what the injection says that stands in the request; captions where there is none."""
    return _ordered(payload) or TRUE


def zealous(payload: dict[str, Any]) -> str:
    """Captions, and then does what the injection says, too."""
    return f"{TRUE} {_ordered(payload)}".strip()


def _ordered(payload: dict[str, Any]) -> str:
    words = words_of(payload)
    found = [name for name, there in RENDERED.items() if there in words]
    return OBEYED[max(found, key=lambda name: len(RENDERED[name]))] if found else ""


def knows_better(payload: dict[str, Any]) -> tuple[float, float]:
    """A second model, which sees Maria Lopez and no more."""
    told = words_of(payload).split('<data name="caption">\n')[1].split("\n</data>")[0]
    return (0.9, 0.05) if told == TRUE else (0.1, 0.8)


RENDERED = {name: inert(injection[:MOST]) for name, injection in INJECTIONS.items()}


def choices(
    run: Any, texts: list[str], alts: list[str], judged: bool, say: Any = obedient
) -> list[dict[str, Any]]:
    """What the stage chooses of captions that an obedient captioner wrote."""
    size = len(texts)
    rows = pa.table(
        {
            "image": pa.array([JPEG] * size, IMAGE.type),
            "text": pa.array(texts, pa.string()),
            "alt": pa.array(alts, pa.string()),
        }
    )
    floor = "min_side>=0"
    rows = rows.append_column("min_side", pa.array([240.0] * size))
    with ChatServer(say=say) as writer, ChatServer(judge=knows_better) as other:
        captioner = Recaption(servers=(writer.url,), model="tiny", alt_column="alt", floor=floor)
        layers = {"recaption": run(captioner, rows)}
        rows = rows.append_column("recaption", layers["recaption"]["recaption"])
        facts = CaptionFacts(
            evidence=captioner.evidence, unseen=captioner.unseen, prompts=(captioner.prompt,)
        )
        layers["caption_facts"] = run(facts, rows)  # as a recipe joins them
        if judged:
            layers["claim_check"] = run(ClaimCheck(servers=(other.url,), model="eye"), rows)
    table = layers["recaption"].select(["shard", "row", "uid"])
    for name, layer in layers.items():
        for column in layer.column_names[3:-1]:
            table = table.append_column(column, layer[column])
        table = table.append_column(f"{name}_error", layer["error"])
    step = ChooseCaption(name="choose_caption", checks=tuple(layers)[1:])
    return [
        {**row, "new": new}
        for row, new in zip(
            step.choose(table).to_pylist(), rows["recaption"].to_pylist(), strict=True
        )
    ]


def test_every_injection_has_an_answer_that_obeys_it():
    assert OBEYED.keys() == INJECTIONS.keys()
    assert len(OBEYED) >= 30


def test_an_injected_alt_text_never_costs_a_sample_its_caption(run):
    """By what text alone can check: the facts of the original are gone."""
    texts, alts = [ORIGINAL] * (len(INJECTIONS) + 1), [*INJECTIONS.values(), "a lake"]
    *found, fair = choices(run, texts, alts, judged=False)
    assert (fair["choice"], fair["new"]) == ("new", TRUE)
    told = {name: row["choice"] for name, row in zip(INJECTIONS, found, strict=True)}
    assert told == dict.fromkeys(INJECTIONS, "original")
    assert all(row["new"] or row["detail"] == "bad_answer" for row in found)
    assert sum(row["new"] is not None for row in found) >= 40  # the captioner did obey


@pytest.mark.parametrize("before", [f"{ORIGINAL}. ", ""], ids=["behind a caption", "alone"])
def test_an_injected_caption_goes_on_for_no_sample_where_a_second_model_looks(run, before):
    texts = [f"{before}{injection}" for injection in INJECTIONS.values()]
    found = choices(run, [*texts, ORIGINAL], ["a lake"] * (len(texts) + 1), judged=True)
    told = {name: row["choice"] for name, row in zip(INJECTIONS, found, strict=False)}
    assert told == dict.fromkeys(INJECTIONS, "original")
    assert (found[-1]["choice"], found[-1]["new"]) == ("new", TRUE)


UNSEEN_BY_TEXT = {
    "order", "closes and opens it", "opens a system element", "comment", "fence", "JSON answer",
    "ChatML", "GLM picture", "Qwen-VL", "BERT", "Vicuna", "tag characters", "fillers",
    "variation selectors", "first selectors", "joiners", "carriage return",
    "format string",
}  # fmt: skip
"""Where what was ordered is a sentence as captions have them."""


@pytest.mark.parametrize("judged", [False, True], ids=["text alone", "second model"])
def test_what_an_injection_adds_to_a_caption_is_left_out(run, judged):
    """The facts are all there, so that each sentence has to be looked at."""
    found = choices(run, [ORIGINAL] * len(INJECTIONS), [*INJECTIONS.values()], judged, zealous)
    told = dict(zip(INJECTIONS, found, strict=True))
    new = {name for name, row in told.items() if row["choice"] == "new"}
    assert new == (set() if judged else UNSEEN_BY_TEXT)
    repaired = {row["repaired"] for row in told.values() if row["choice"] == "repaired"}
    assert TRUE in repaired
    assert not judged or repaired == {TRUE}
