"""Settings of the whole suite."""

from hypothesis import settings

# A first example pays for imports and databases; the suite's own timeout stops what hangs.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")
