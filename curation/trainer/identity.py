"""What decides a plan, filed beside it: so that a run says which part of another plan differs.

PLAN/identity.json   names no place: the same wherever corpora and tokenizer lie
"""

import json
from collections.abc import Sequence
from typing import Any

from curation.core.errors import RunError
from curation.core.fingerprint import digest, plain
from curation.io.store import Store
from curation.models.glm4v.processor import Processor
from curation.trainer.mixture import CorpusShare
from curation.trainer.plan import PlanSettings
from curation.trainer.recipe import check_same
from curation.trainer.token_count import Export

IDENTITY_FILE = "identity.json"

PLAN_VERSION = 2
"""Raised when the same settings would give another plan."""


def plan_identity(
    exports: Sequence[Export],
    corpora: Sequence[CorpusShare],
    processor: Processor,
    settings: PlanSettings,
) -> dict[str, Any]:
    """What a plan's hash is of, as JSON holds it."""
    return {
        "version": PLAN_VERSION,
        "corpora": [
            {**export.identity, "share": corpus.share}
            for export, corpus in zip(exports, corpora, strict=True)
        ],
        "processor": processor.identity(),
        "settings": plain(settings),
    }


def write_identity(store: Store, identity: dict[str, Any]) -> None:
    store.write(IDENTITY_FILE, (json.dumps(identity, indent=1) + "\n").encode())


def check_begun(store: Store, begun: str, identity: dict[str, Any], place: str) -> None:
    """Raises UsageError where the plan that a run began with, by its hash, is another one."""
    if begun == digest(identity):
        return
    found = _filed(store)
    if digest(found) == begun:
        check_same(_told(found), _told(identity), place)
    check_same({"plan": begun}, {"plan": digest(identity)}, place)


def _filed(store: Store) -> dict[str, Any]:
    """What the plan there was made of; empty where that is not known."""
    try:
        found = json.loads(store.read(IDENTITY_FILE)) if store.exists(IDENTITY_FILE) else {}
    except (ValueError, RecursionError, RunError):
        return {}
    return found if isinstance(found, dict) else {}


def _told(identity: dict[str, Any]) -> dict[str, Any]:
    """The same in words that a person gave or knows."""
    corpora = identity["corpora"]
    named = [f"{c['name']}@{digest({**c, 'share': None})[:8]}" for c in corpora]
    shares = ["by size" if c["share"] is None else str(c["share"]) for c in corpora]
    return {
        "corpora": ", ".join(named),
        "shares": ", ".join(shares),
        "tokenizer": identity["processor"]["tokenizer"][:12],
        "version": identity["version"],
    }
