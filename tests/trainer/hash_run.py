"""One rank of a run without a model: a line for each pack that it was given, until it is killed.

hash_run.py PLAN OUT RANK WORLD WORKERS START
"""

import json
import sys
from pathlib import Path

from curation.trainer.loader import Loader, resume_step
from curation.trainer.plan import open_plan
from tests.trainer.plans import pack_hash


def main(plan_url: str, out: str, *numbers: str) -> None:
    rank, world, workers, start = map(int, numbers)
    plan = open_plan(plan_url)
    start = resume_step(plan, {"plan_hash": plan.plan_hash, "step": start})
    with (
        Loader(plan, rank=rank, world=world, workers=workers, start_step=start) as loader,
        Path(out).open("a", encoding="utf-8") as file,
    ):
        for step in loader:
            for place, pack in enumerate(step.packs):
                line = [step.number, rank + place * world, pack_hash(pack), loader.state()["step"]]
                file.write(json.dumps(line) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
