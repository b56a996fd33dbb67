"""`curate recaption-report`: originals and new captions side by side."""

import json
from dataclasses import dataclass

import tyro


@dataclass(frozen=True, kw_only=True)
class RecaptionReport:
    """Write a page of new captions beside their originals, facts marked; or print the figures."""

    path: tyro.conf.Positional[str]
    """Run directory or corpus with new captions."""
    out: str = "recaption-report.html"
    """File to write."""
    json: bool = False
    """Print the figures as JSON instead; nothing is written."""
    pairs: int = 60
    """Pairs on the page, the worst first; of captions chosen as written four of five are drawn from
    those with a fact or a claim marked."""
    seed: int = 0
    """Which pairs are drawn."""

    def run(self) -> int:
        from curation.report.recaption import figures_of, write_recaptions  # jinja2 and templates

        if self.json:
            print(json.dumps(figures_of(self.path), indent=1, allow_nan=False))
            return 0
        write_recaptions(self.path, self.out, pairs=self.pairs, seed=self.seed)
        print(self.out)
        return 0
