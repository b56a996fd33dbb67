"""Templates of pages, whose text is escaped and whose numbers are written alike."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from curation.report.wording import byte_size, display_safe, duration, figures, number


@cache
def templates() -> Environment:
    """Of `templates/`, with the filters that they share."""
    environment = Environment(
        loader=PackageLoader("curation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["number"] = number
    environment.filters["figures"] = figures
    environment.filters["duration"] = duration
    environment.filters["bytes"] = byte_size
    environment.filters["safe_text"] = display_safe
    return environment
