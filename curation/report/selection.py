"""Which pairs belong together, which concepts drown the rest, which images say the same thing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from curation.core.risks import clip_fails
from curation.io.corpus import Corpus
from curation.report.calibration import Calibrated, calibrated
from curation.report.clusters import Clusters, visual_clusters
from curation.report.contamination import Decontaminated, decontaminated
from curation.report.evened import Evened, evened
from curation.report.score_cut import ScoreCut, score_cuts
from curation.report.tiles import Exported
from curation.report.twin_groups import Twins, twin_groups


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What there is to show of selection; of an export alone, nothing."""

    clip_fails: bool = False
    """The corpus's CLIP was not let decide: what rests on it means nothing."""
    calibration: Calibrated | None = None
    cuts: list[ScoreCut] = field(default_factory=list)
    clusters: Clusters | None = None
    twins: list[Twins] = field(default_factory=list)
    benchmarks: list[Decontaminated] = field(default_factory=list)
    balanced: list[Evened] = field(default_factory=list)

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Anchor and title of each section, in the order of the page."""
        listed = [
            ("calibration", "Calibration", self.calibration),
            ("scores", "CLIP scores", self.cuts),
            ("clusters", "Visual clusters", self.clusters),
            ("twins", "Semantic twins", self.twins),
            ("benchmarks", "Benchmarks", self.benchmarks),
            ("balance", "Balance", self.balanced),
        ]
        return [(anchor, title) for anchor, title, there in listed if there]

    @property
    def spent(self) -> int:
        """Bytes that its pictures take."""
        return sum(twins.spent for twins in self.twins)


def selection(
    corpus: Corpus, export: Exported | None, entries: Mapping[str, Mapping[str, int]]
) -> Selection:
    """What a corpus has of it; `entries`: see vocabulary_entries."""
    manifest = corpus.manifest
    return Selection(
        clip_fails=clip_fails(manifest.recipe, manifest.stages, manifest.calibration),
        calibration=calibrated(manifest.calibration),
        cuts=score_cuts(corpus),
        clusters=visual_clusters(corpus),
        twins=twin_groups(corpus, export),
        benchmarks=decontaminated(corpus),
        balanced=evened(corpus, entries),
    )
