"""`curate view`: the corpus in a browser."""

from dataclasses import dataclass
from typing import Any

import tyro

from curation.cli.common import Files, blocklists
from curation.core.errors import UsageError

_MOVED = 48
"""uids shown of each move between two corpora."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Look at a corpus in the browser: funnel, samples, what-if thresholds; changes nothing."""

    path: tyro.conf.Positional[str]
    """Run directory or corpus."""
    against: str = ""
    """Another run directory or corpus: what moved from the first to this one."""
    host: str = "127.0.0.1"
    """Address to listen at; away from this machine alone, the printed address holds a token."""
    port: int = 8765
    """Port to listen at; 0 takes one that is free."""

    checkpoint: str = ""
    """Weights file or folder of the corpus's CLIP, where it was measured with one: to search by
    text or picture."""
    tokenizer: str = ""
    """Folder of a checkpoint or tokenizer that training samples are shown with; the small one that
    is shipped is taken if none is named."""

    blocklist: Files = ()
    """Blocklist whose file is at hand: every sample is held against it, so that the pictures are
    seen of those that fell before its stage and that it does not stop; can be given again."""

    def run(self) -> int:
        from curation.report.viewer.answers import Answers  # the web server, for this command only
        from curation.report.viewer.server import serve
        from curation.report.viewer.view import open_view

        if not 0 <= self.port < 65_536:
            raise UsageError(f"--port is 0 to 65535, got {self.port}")
        lists = blocklists(self.blocklist)
        views = {"a": open_view(self.path, self.checkpoint, self.tokenizer, lists)}
        compare = None
        if self.against:
            views["b"] = open_view(self.against, self.checkpoint, self.tokenizer, lists)
            compare = _Comparison(views["a"].corpus, views["b"].corpus)
        try:
            serve(
                Answers(views=views, compare=compare),
                self.host,
                self.port,
                lambda address: print(f"{self.path}: {address}   (Ctrl-C stops)", flush=True),
            )
        except KeyboardInterrupt:
            print()
        return 0


class _Comparison:
    """What moved between two corpora; asked of DuckDB once."""

    def __init__(self, before: Any, after: Any) -> None:
        self._before, self._after = before, after
        self._said: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        from curation.engines.local import LocalEngine
        from curation.report.diff import changes, moved, recipe_changes

        if self._said is None:
            before, after = self._before.manifest, self._after.manifest
            decided = before.ledger is not None and after.ledger is not None
            with LocalEngine(workers=1) as engine:
                samples = moved(self._before, self._after, engine, _MOVED)
            self._said = {
                "recipe": recipe_changes(before.recipe, after.recipe) if decided else [],
                "totals": changes(before.totals, after.totals),
                **samples,
            }
        return self._said
