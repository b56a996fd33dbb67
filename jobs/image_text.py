"""Image-text pairs: every operator, stage and threshold, and where each number comes from.

    curate run image-text --input SRC --out DIR --set heuristics.min_side=256

DataComp: Gadre et al., "DataComp: In search of the next generation of multimodal datasets" (2023),
its "basic filtering" baseline. GLM-4.5V: its technical report names the heuristics (minimum
resolution, solid colour, caption length, image de-duplication) without numbers.
"""

from curation.core.step import NOT_ASKED
from curation.operators.image.pixels import ImagePixels
from curation.operators.image.probe import ImageProbe
from curation.operators.text.caption_facts import CaptionFacts
from curation.operators.text.caption_text import CaptionText
from curation.operators.text.concepts import Concepts
from curation.operators.text.source_columns import SourceColumns
from curation.operators.vision_language.caption_clip import CaptionClip
from curation.operators.vision_language.claim_check import ClaimCheck
from curation.operators.vision_language.clip import Clip
from curation.operators.vision_language.linear_head import LinearHead
from curation.operators.vision_language.recaption import Recaption
from curation.operators.vision_language.visual_cluster import VisualCluster
from curation.pipeline.recipe import ExportOptions, Recipe
from curation.relational.balance import Balance
from curation.relational.blocklist import Blocklist
from curation.relational.caption_frequency import CaptionFrequency
from curation.relational.choose_caption import ChooseCaption
from curation.relational.clip_select import ClipSelect
from curation.relational.decontaminate import Decontaminate
from curation.relational.exact_dedup import ExactDedup
from curation.relational.near_dedup import NearDedup
from curation.relational.select import Kind, Rule, Select
from curation.relational.semantic_dedup import SemanticDedup
from curation.relational.water_fill import WaterFill

KEEP_BEST = ("clip_score", "area")
"""Of twins the better matched stays, then the larger; a longer caption never wins (a spam twin has
the longest). Where the CLIP cannot judge a corpus the larger stays."""


def _rule(reason: str, column: str, kind: Kind, threshold: float, source: str) -> Rule:
    return Rule(reason=reason, column=column, kind=kind, threshold=threshold, source=source)


HEURISTICS = (
    _rule("min_side", "min_side", "at_least", 200, "DataComp basic filtering, pixels"),
    _rule("aspect_ratio", "aspect_ratio", "at_most", 3, "DataComp basic filtering"),
    _rule("solid_colour", "luma_deviation", "at_least", 2, "own: docs/thresholds.md, grey levels"),
    _rule("flat_image", "luma_entropy", "at_least", 0.1, "own: docs/thresholds.md, bits"),
    _rule("blur", "blur", "at_least", 8, "own: docs/thresholds.md"),
    _rule("mostly_border", "border_share", "at_most", 0.9, "own: docs/thresholds.md"),
    _rule("no_caption", "caption_chars", "at_least", 1, "a pair has a caption"),
    _rule("file_name", "file_name_like", "at_most", 0, "own: a file name describes nothing"),
    _rule("placeholder", "placeholder", "at_most", 0, "own: list in operators/text/caption_text"),
    _rule("short_caption", "caption_chars", "at_least", 6, "DataComp basic filtering, characters"),
    _rule("few_words", "caption_words", "at_least", 3, "DataComp basic filtering, words"),
    _rule("long_caption", "caption_chars", "at_most", 4000, "own: about 1,000 tokens of 8,192"),
    _rule("repetition", "caption_repetition", "at_most", 0.65, "own: docs/thresholds.md"),
    _rule("symbols", "symbol_share", "at_most", 0.4, "own: docs/thresholds.md"),
    _rule("digits", "digit_share", "at_most", 0.5, "own: docs/thresholds.md"),
    _rule("url", "url_share", "at_most", 0.25, "own: docs/thresholds.md"),
    _rule("html_tag", "html_tags", "at_most", 0, "own: docs/thresholds.md"),
    _rule("html", "html_count", "at_most", 2, "own: more than a stray entity or line break"),
    _rule("email", "email_count", "at_most", 0, "personal data"),
    _rule("phone", "phone_count", "at_most", 0, "personal data"),
    _rule("card", "card_count", "at_most", 0, "personal data"),
    Rule(
        reason="language",
        column="language",
        kind="one_of",
        threshold=(),
        source="off: name the languages to keep, as --set heuristics.language=en,zh",
    ),
)


def recipe() -> Recipe:
    """The image-text recipe with the thresholds that `curate run image-text` starts from.

    `clip_select` starts without a number: it takes the one that belongs to the CLIP's weights
    (curation.models.thresholds; 0.3 in the reference recipe), else the 99th percentile of shuffled
    pairs of the corpus itself. SemDeDup's epsilon depends on the model, too; 0.05 is careful.
    `balance` has MetaCLIP's t of 20,000; what matches no concept stays.
    """
    return Recipe(
        family="image-text",
        operators=(
            ImageProbe(),
            ImagePixels(),
            SourceColumns(),
            CaptionText(),
            Concepts(),
            Clip(),
            VisualCluster(),
            LinearHead(),
            Recaption(),
            CaptionFacts(),
            ClaimCheck(),
            CaptionClip(),
        ),
        stages=(
            Select(name="heuristics", rules=HEURISTICS),
            Blocklist(name="blocklist"),
            ExactDedup(name="exact_dedup", by="image_caption", keep_best=KEEP_BEST),
            ClipSelect(name="clip_select"),
            ExactDedup(name="image_dedup", by="image", keep_best=KEEP_BEST),
            NearDedup(name="near_dedup", distance=3, keep_best=KEEP_BEST),
            SemanticDedup(name="semantic_dedup", epsilon=0.05, keep_best=KEEP_BEST),
            CaptionFrequency(name="caption_frequency", max_images=10),
            Decontaminate(name="decontaminate", off=NOT_ASKED),
            Balance(name="balance", t=20_000, unmatched="keep"),
            Balance(name="cluster_balance", by="cluster", off=NOT_ASKED),
            WaterFill(name="water_fill", target=1_000_000, levels=("cluster",), off=NOT_ASKED),
            ChooseCaption(name="choose_caption"),
        ),
        export=ExportOptions(name="image-text"),
    )


if __name__ == "__main__":  # spark-submit, ray job submit and python run the recipe of this file
    from curation.cli import submitted

    submitted("image-text", recipe)
