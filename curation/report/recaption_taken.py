"""How many of the new captions that were chosen an export has taken."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import MANIFEST
from curation.core.draw import uid_words, uniforms
from curation.io.corpus import Corpus
from curation.report.tiles import Exported
from schemas import NEW, REPAIRED


@dataclass(frozen=True, kw_only=True)
class Taking:
    """What an export's settings say of new captions."""

    share: float
    """Of the chosen ones, 0 to 1, drawn by a hash of the uid."""
    seed: int
    stopped: int
    """Samples that a blocklist stopped at export, whichever caption they had."""

    def count(self, rows: pa.Table) -> int:
        """Of `rows` (uid and choice), those that the export draws with their new caption."""
        if not self.share:
            return 0
        chosen = rows.filter(pc.is_in(rows["choice"], value_set=pa.array([NEW, REPAIRED])))
        # As curation.pipeline.export_plan draws them.
        drawn = uniforms(self.seed, "export-recaption", *uid_words(chosen["uid"]))
        return int((drawn < self.share).sum())


def taking_of(corpus: Corpus, export: Exported | None) -> Taking | None:
    """Null where no export is at hand, or the corpus was decided again since it was made."""
    if export is None:
        return None
    manifest = export[1]
    if manifest.corpus != hashlib.sha256(corpus.store.read(MANIFEST)).hexdigest():
        return None
    settings = manifest.recipe.get("export", {})
    return Taking(
        share=float(settings.get("recaptioned", 0.0)),
        seed=manifest.seed,
        stopped=sum(manifest.blocked.values()),
    )
