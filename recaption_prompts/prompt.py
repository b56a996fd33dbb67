"""Prompts: Markdown files whose front matter says what they take and what they give.

    ---
    name: factual              small letters, digits, - and _
    version: 1                 raised with every change of the words
    variables: caption, ocr    data that it is given; each stands in the text as {{caption}}
    image: yes                 whether the picture is sent along
    output: caption            the one string of the JSON object that it asks for; `text`: the
    ---                        whole answer is the new caption
    # System
    ...
    # User
    ...

Data is never an instruction: each value is rendered as an element of its own that it cannot end,
and in which no model's special tokens survive (`inert`).
"""

import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curation.core.errors import UsageError

VARIABLES = ("caption", "alt", "ocr", "synthetic")
"""Original caption, alternative text, words read in the picture, caption of another model.

To a prompt that asks whether a sentence is true, that sentence is the caption."""

SHIPPED = ("factual", "figure", "fusion", "claim", "small", "small-claim")
"""Prompts beside this file."""

ASKING = ("claim", "small-claim")
"""Those that ask whether a sentence is true, and write none."""

_KEYS = ("name", "version", "variables", "image", "output")
_MAX_BYTES = 64 << 10
_SPOT = re.compile(r"\{\{([^{}]*)\}\}")
_SECTIONS = re.compile(r"\A\s*# System\n(.*?)\n# User\n(.*)\Z", re.DOTALL)

_SIGNS = {"<": "&lt;", ">": "&gt;"}
_ESCAPED = re.compile("[<>\uff1c\uff1e\ufe64\ufe65\uff3b\uff3d]")
"""And their wide and small forms, which the normalisation of a tokenizer may turn into them."""
_ENTITY = re.compile("&(lt|gt|#91|#93|#65308|#65310|#65124|#65125|#65339|#65341);")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b"
    "\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]"
    "|(?<![0-9#*\xa9\xae\u203c-\u3299\U0001f000-\U0001faff])\ufe0f"
)
"""Controls, direction marks, fillers, spaces without width, tag characters and variation selectors:
words that a reader of the page never saw. A joiner within scripts that have them or emoji stays,
and the selector after a sign with a coloured form; none in runs, which could spell something."""
_BRACKETED = re.compile(r"\[(/?[A-Za-z]?[A-Z][A-Z_0-9]+|\|[^\[\]|]{1,40}\||control_\d{1,5})\]")
"""Special tokens in square brackets, as [gMASK], [INST], [/INST], [IMG], [CLS], [|user|]."""


def inert(text: str) -> str:
    """`text` as data: it ends no element, holds no special token and nothing that is not seen."""
    text = _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _ESCAPED.sub(lambda sign: _SIGNS.get(sign[0]) or f"&#{ord(sign[0])};", text)
    return _BRACKETED.sub(r"&#91;\1&#93;", text)


def restored(text: str) -> str:
    """What a model wrote, with the signs that `inert` had spelt out, which models copy.

    What is not seen is left out here, too.
    """
    return _UNSEEN.sub("", _ENTITY.sub(lambda entity: html.unescape(entity[0]), text))


@dataclass(frozen=True, kw_only=True)
class Template:
    """The words of a prompt."""

    name: str
    version: int
    variables: tuple[str, ...]
    image: bool
    output: str
    """Key of the answer's JSON object; `text` where the whole answer is the caption."""
    system: str
    user: str

    def render(self, values: Mapping[str, str | None], max_chars: int) -> tuple[str, str]:
        """System and user message; values are cut behind `max_chars` characters, null is none."""

        def element(spot: re.Match[str]) -> str:
            value = values.get(spot[1])
            if value is None or not value.strip():
                return f'<data name="{spot[1]}"/>'
            return f'<data name="{spot[1]}">\n{inert(value[:max_chars])}\n</data>'

        return self.system, _SPOT.sub(element, self.user)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt file: named and hashed by content; where it lies is part of no fingerprint."""

    name: str
    version: int
    sha256: str
    variables: tuple[str, ...]
    image: bool
    path: str = field(metadata={"hashed": False}, compare=False)

    @classmethod
    def at(cls, path: str) -> "Prompt":
        """A shipped prompt by its name, or the one in a file. Raises UsageError if it is none."""
        file = str(_shipped(path)) if path in SHIPPED else path
        data = _read(file)
        template = _parse(file, data)
        return cls(
            name=template.name,
            version=template.version,
            sha256=hashlib.sha256(data).hexdigest(),
            variables=template.variables,
            image=template.image,
            path="" if path in SHIPPED else path,  # found beside this file, on every machine
        )

    def load(self) -> Template:
        """Its words. Raises UsageError where they cannot be found, or changed since."""
        file = self.path or (str(_shipped(self.name)) if self.name in SHIPPED else "")
        data = _read(file) if file else b""
        if hashlib.sha256(data).hexdigest() == self.sha256:
            return _parse(file, data)
        if self.path:
            raise UsageError(f"{self.path}: the prompt changed during the run; start it again")
        raise UsageError(
            f"prompt {self.name} version {self.version} is known by its hash alone; name its file "
            "again (--set recaption.prompt=FILE)"
        )


def _shipped(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.md")


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{path}: prompt cannot be read ({said}); shipped are: {', '.join(SHIPPED)}"
        ) from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path}: no prompt; it is larger than {_MAX_BYTES >> 10} KB")
    return data


def _parse(path: str, data: bytes) -> Template:
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the prompt is not UTF-8") from error
    opening, _, rest = text.partition("---\n")
    front, closing, body = rest.partition("\n---\n")
    if opening or not closing:
        raise UsageError(f"{path}: a prompt begins with front matter between two lines of ---")
    said = _front_matter(path, front)
    sections = _SECTIONS.match(body)
    if sections is None:
        raise UsageError(f"{path}: behind its front matter a prompt has `# System`, then `# User`")
    variables = _variables(path, said["variables"])
    _check_spots(path, variables, sections[1], sections[2])
    return Template(
        name=_matching(path, said, "name", r"[a-z][a-z0-9_-]{0,63}"),
        version=int(_matching(path, said, "version", r"[1-9][0-9]{0,5}")),
        variables=variables,
        image=_matching(path, said, "image", "yes|no") == "yes",
        output=_matching(path, said, "output", r"[a-z][a-z0-9_]{0,31}"),
        system=sections[1].strip(),
        user=sections[2].strip(),
    )


def _front_matter(path: str, front: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for line in front.splitlines():
        key, colon, value = line.partition(":")
        if not colon or key not in _KEYS:
            raise UsageError(f"{path}: front matter has lines of {', '.join(_KEYS)}; got {line!r}")
        if key in said:
            raise UsageError(f"{path}: front matter says {key} twice")
        said[key] = value.strip()
    missing = [key for key in _KEYS if key not in said]
    if missing:
        raise UsageError(f"{path}: front matter lacks {', '.join(missing)}")
    return said


def _matching(path: str, said: dict[str, str], key: str, pattern: str) -> str:
    if not re.fullmatch(pattern, said[key]):
        raise UsageError(f"{path}: {key} is written as {pattern}, got {said[key]!r}")
    return said[key]


def _variables(path: str, said: str) -> tuple[str, ...]:
    names = tuple(word.strip() for word in said.split(",") if word.strip())
    for name in names:
        if name not in VARIABLES:
            raise UsageError(
                f"{path}: unknown variable {name!r} (there are: {', '.join(VARIABLES)})"
            )
    return names


def _check_spots(path: str, variables: tuple[str, ...], system: str, user: str) -> None:
    """Data stands in the user's part, each variable that was named and no other."""
    if _SPOT.search(system):
        raise UsageError(f"{path}: data belongs under `# User`, not under `# System`")
    spots = _SPOT.findall(user)
    for name in spots:
        if name not in variables:
            raise UsageError(f"{path}: {{{{{name}}}}} is not among its variables")
    unused = [name for name in variables if name not in spots]
    if unused:
        raise UsageError(f"{path}: variable {unused[0]} does not stand in its text")
