"""`curate report`: the static page."""

from dataclasses import dataclass

import tyro


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one self-contained page: funnel, histograms with thresholds, galleries."""

    path: tyro.conf.Positional[str]
    """Run directory, corpus or export."""
    out: str = "report.html"
    """File to write."""

    def run(self) -> int:
        from curation.report.page import write_report  # jinja2 and templates, for this command only

        write_report(self.path, self.out)
        print(self.out)
        return 0
