"""`python -m curation` is `curate`."""

from curation.cli import entry

if __name__ == "__main__":
    entry()
