"""What a corpus knows of a benchmark: its texts and the measures of its images, in one file."""

import hashlib
from dataclasses import dataclass, field

import pyarrow as pa

from curation.core.errors import CorpusError
from curation.io.store import Store
from curation.io.tables import read_footer, read_table

FEATURES = pa.schema(
    [
        ("item", pa.string()),
        ("text", pa.string()),
        ("image", pa.string()),
        ("phash", pa.int64()),
        ("clip_image", pa.binary()),
        ("error", pa.string()),
    ]
)
"""A row a text, a row an image, a row a fault, each with the place of its item in the benchmark.

`image` is the SHA-256 of an image's bytes; its `phash` and `clip_image` are null where there is
nothing to compare (solid colour) or nothing was measured. `error` is a code of
curation.core.errors.
"""


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """A benchmark under a user's name, hashed by content; where the file lies is in no hash."""

    name: str
    """What ledgers and reports call the benchmark."""

    sha256: str
    """Of the file."""

    path: str = field(default="", metadata={"hashed": False}, compare=False)
    """Path or URL; empty until the corpus that holds it is known."""

    def features(self) -> pa.Table:
        """The FEATURES. Raises CorpusError where the file is missing or another one."""
        store, name = self._place()
        if not store.exists(name):
            raise CorpusError(
                f"{self.path}: the features of benchmark {self.name} are not there; name its "
                f"folder again (--benchmark {self.name}=FOLDER)"
            )
        if hashlib.sha256(store.read(name)).hexdigest() != self.sha256:
            raise CorpusError(
                f"{self.path}: not the features of benchmark {self.name} as they were measured; "
                f"name its folder again (--benchmark {self.name}=FOLDER)"
            )
        return read_table(store, name).cast(FEATURES)

    def footer(self) -> dict[str, str]:
        """What the file says of how it was made; empty where it is missing."""
        store, name = self._place()
        return read_footer(store, name) or {}

    def _place(self) -> tuple[Store, str]:
        assert self.path, f"benchmark {self.name} was not located in a corpus"
        folder, _, name = self.path.rpartition("/")
        return Store(folder), name
