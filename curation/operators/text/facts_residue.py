"""What a model says beside the caption: refusals, talk, its own prompt."""

import re
from collections.abc import Iterable

_REFUSAL = re.compile(
    r"\b(?:as an ai\b|as a (?:large )?(?:language|vision) model"
    r"|i(?:['’]m| am) (?:sorry|afraid|unable|not able to)"  # noqa: RUF001
    r"|i (?:cannot|can['’]?t|can not|could not|couldn['’]t)"  # noqa: RUF001
    r" (?:assist|help|provide|describe|see|view|identify|determine|comply|fulfil|generate)"
    r"|i (?:won['’]t|will not|would rather not|prefer not to)"  # noqa: RUF001
    r" (?:assist|help|provide|describe|identify|comply|generate|write|name|speculate)"
    r"|i (?:must|have to) (?:decline|refuse)\b|i apologi[sz]e\b|^\W*my apologies\b"
    r"|i(?:['’]m| am) not (?:comfortable|allowed|permitted)"  # noqa: RUF001
    r"|unable to (?:view|see|access|process|display) (?:the|this|any|images?)"
    r"|no image (?:was|is|has been) (?:provided|attached|given)|i do(?: not|n['’]t) have access)",  # noqa: RUF001
    re.IGNORECASE,
)
_TALK = re.compile(
    r"^\W*(?:(?:sure|certainly|absolutely|of course|okay|understood)\s*[!,.:]"
    r"|here(?:['’]s| is| are)\b[^.!?]{0,60}"  # noqa: RUF001
    r"\b(?:captions?|description|sentence|version|rewrite|summary|answer|output"
    r"|(?:rewritten|revised|refined|merged|combined|rephrased) \w+)\b"
    r"|as (?:you )?requested\b"
    r"|(?:hello|hi|hey)\b[\w\s,]{0,20}\W*$|(?:yes|no|ok(?:ay)?)\W*$"
    r"|(?:i|we) (?:will |shall |must |am to )?(?:now )?"
    r"(?:obey|comply|follow|ignored?|disregard(?:ed)?|answer)\b"
    r"|(?:based on|according to|judging by) the (?:given |provided )?"
    r"(?:image|picture|photo|caption|data|text|information|description)\b"
    r"|(?:rewritten|refined|improved|new|final|original|synthetic)?\s?"
    r"(?:caption|description|answer|output|assistant|user|note)\s?:)"
    r"|\b(?:let me know if|i hope this helps|hope this helps|feel free to ask|would you like me to"
    r"|please (?:provide|share|upload|give me)|can you (?:please )?provide)\b",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"\b(?:sentence|caption) [12]\b"
    r"|\b(?:original|given|provided|input|synthetic|merged|raw) caption\b"
    r"|\bthe (?:above|previous) (?:instructions?|prompt|caption)\b|\bsystem prompt\b"
    r"|\byou (?:re-?write|write|merge) (?:a )?captions?\b|\{\{\s*\w{1,20}\s*\}\}"
    r"|<\|[^|<>]{1,40}\|>|</?[a-z]\w{0,20}(?:\s[^<>]{0,200})?/?>",
    re.IGNORECASE,
)

RESIDUES = ("refusal", "talk", "task")
"""What a sentence may be instead of a caption: "I cannot see", "Sure!", "Sentence 2", "<b>"."""


def residue(sentence: str) -> str | None:
    """Which of `RESIDUES` a sentence is, the first that fits; None for a caption."""
    for name, pattern in zip(RESIDUES, (_REFUSAL, _TALK, _TASK), strict=True):
        if pattern.search(sentence):
            return name
    return None


def shingles(words: list[str], n: int) -> list[tuple[str, ...]]:
    """Runs of `n` words, in order."""
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def copied(words: list[str], known: frozenset[tuple[str, ...]], n: int) -> float:
    """Share of the words that stand in a run of `n` that is among `known`; 0 for no words."""
    covered = bytearray(len(words))
    for at, run in enumerate(shingles(words, n)):
        if run in known:
            covered[at : at + n] = b"\1" * n
    return sum(covered) / len(words) if words else 0.0


def prompt_runs(prompts: Iterable[list[str]], n: int) -> frozenset[tuple[str, ...]]:
    """Every run of `n` words of the prompts."""
    return frozenset(run for words in prompts for run in shingles(words, n))
