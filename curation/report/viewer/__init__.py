"""The local viewer: a corpus in the browser, read-only."""
