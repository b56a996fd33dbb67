"""Prompt files are checked, and no caption becomes more than data."""

import pickle
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import curation.models
from curation.core.errors import UsageError
from recaption_prompts import SHIPPED, VARIABLES, Prompt, inert, restored
from tests.recaption_prompts.injections import INJECTIONS

ELEMENT = re.compile(r'<data name="([a-z]+)">\n(.*?)\n</data>|<data name="([a-z]+)"/>', re.DOTALL)
MOST = 4_000
GOOD = """---
name: mine
version: 2
variables: caption
image: no
output: text
---
# System

Be brief.

# User

{{caption}} Shorten it.
"""


def rendered(name: str, value: str | None) -> tuple[str, str]:
    template = Prompt.at(name).load()
    return template.render(dict.fromkeys(VARIABLES, value), MOST)


@pytest.mark.parametrize("prompt", SHIPPED)
@pytest.mark.parametrize("name", INJECTIONS)
def test_an_injection_stays_in_its_element(prompt, name):
    injection = INJECTIONS[name]
    system, user = rendered(prompt, injection)
    plain_system, plain_user = rendered(prompt, "a plain caption")
    assert system == plain_system
    found = ELEMENT.findall(user)
    assert [element[0] for element in found] == list(Prompt.at(prompt).variables)
    assert ELEMENT.sub("@", user) == ELEMENT.sub("@", plain_user)
    for _, data, _ in found:
        assert data == inert(injection[:MOST])
        assert not set("<>\uff1c\uff1e\ufe64\ufe65") & set(data)
        assert not re.search(
            r"\[/?[A-Z_]{3,}\]|\[gMASK\]|<\||\|>|\[\||\[control|[\uff3b\uff3d]", data
        )
        assert all(c in "\n\t\u2581" or c.isprintable() for c in data)


def test_there_are_thirty_injections_and_more():
    assert len(set(INJECTIONS.values())) >= 30


@pytest.mark.parametrize("name", INJECTIONS)
def test_no_caption_makes_a_special_token_of_a_tokenizer_that_reads_them_in_text(name):
    path = Path(curation.models.__file__).with_name("demo_tokenizer") / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    special = {n for n, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    assert special & set(tokenizer.encode(INJECTIONS["GLM"], add_special_tokens=False).ids)
    _, user = rendered("factual", INJECTIONS[name])
    assert not special & set(tokenizer.encode(user, add_special_tokens=False).ids)


@pytest.mark.parametrize(
    "text",
    ["AT&T, 3 < 4 > 2", "a [gMASK] b", "\uff1cwide\uff1e [INST]", "rock & roll; fish &amp; chips"],
)
def test_what_was_spelt_out_is_written_back(text):
    assert restored(inert(text)) == text


@pytest.mark.parametrize(
    "text", ["❤\ufe0f ©\ufe0f 1\ufe0f⃣ 👩\u200d🔬", "می\u200cخ", "क्\u200dष", "ﷲ किताब 한국어 葛"]
)
def test_scripts_and_emoji_stay_as_they_are(text):
    assert restored(inert(text)) == text


@pytest.mark.parametrize(
    "name", ["tag characters", "variation selectors", "first selectors", "joiners", "fillers"]
)
def test_nothing_is_left_of_what_no_reader_sees(name):
    left = inert(INJECTIONS[name])
    assert left == "A cat."


def test_a_value_is_cut_and_one_without_words_is_none():
    template = Prompt.at("factual").load()
    _, user = template.render({"caption": "x" * 50, "alt": "  ", "ocr": None}, 10)
    assert '<data name="caption">\nxxxxxxxxxx\n</data>' in user
    assert '<data name="alt"/>' in user
    assert '<data name="ocr"/>' in user


def test_a_prompt_is_named_by_its_content_on_every_machine():
    factual = Prompt.at("factual")
    assert factual.path == ""
    assert pickle.loads(pickle.dumps(factual)).load().name == "factual"
    assert len({Prompt.at(name).sha256 for name in SHIPPED}) == len(SHIPPED)


def test_a_prompt_of_ones_own_is_read(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text(GOOD)
    prompt = Prompt.at(str(path))
    assert (prompt.name, prompt.version, prompt.variables, prompt.image) == (
        "mine", 2, ("caption",), False,
    )  # fmt: skip
    assert prompt.load().render({"caption": "a"}, MOST) == (
        "Be brief.",
        '<data name="caption">\na\n</data> Shorten it.',
    )


def test_a_prompt_that_changed_is_not_used(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text(GOOD)
    prompt = Prompt.at(str(path))
    path.write_text(GOOD.replace("brief", "long"))
    with pytest.raises(UsageError, match="changed during the run"):
        prompt.load()
    known = Prompt(
        name="mine", version=2, sha256=prompt.sha256, variables=("caption",), image=False, path=""
    )
    with pytest.raises(UsageError, match="name its file again"):
        known.load()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("---\nname", "name", "begins with front matter"),
        ("output: text\n---\n", "output: text\n", "between two lines of ---"),
        ("image: no", "image: perhaps", "image is written as yes|no"),
        ("version: 2", "version: two", "version is written as"),
        ("name: mine", "name: Mine!", "name is written as"),
        ("output: text", "output: A b", "output is written as"),
        ("output: text", "colour: red", "got 'colour: red'"),
        ("output: text", "output: text\noutput: text", "says output twice"),
        ("output: text\n", "", "lacks output"),
        ("variables: caption", "variables: caption, mood", "unknown variable 'mood'"),
        ("variables: caption", "variables: caption, ocr", "variable ocr does not stand"),
        ("{{caption}}", "{{caption}} {{ocr}}", "{{ocr}} is not among its variables"),
        ("Be brief.", "Be brief: {{caption}}", "not under `# System`"),
        ("# User", "# Reader", "then `# User`"),
    ],
)
def test_a_bad_prompt_file_is_one_line(tmp_path, old, new, words):
    path = tmp_path / "bad.md"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as fault:
        Prompt.at(str(path))
    assert words in str(fault.value)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * 70_000, b""])
def test_a_file_that_is_no_prompt_is_one_line(tmp_path, data):
    path = tmp_path / "bad.md"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=re.escape(str(path))):
        Prompt.at(str(path))


@pytest.mark.parametrize("name", ["nowhere.md", "no\x00where", ""])
def test_a_prompt_that_is_not_there_is_one_line(name):
    with pytest.raises(UsageError, match="shipped are: factual, figure, fusion"):
        Prompt.at(name)
