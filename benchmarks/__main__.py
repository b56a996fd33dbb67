"""`python -m benchmarks [NAME ...]` prints the figures as the table of benchmarks/README.md."""

import importlib
import sys
import time

from benchmarks.figure import machine

NAMES = (
    "probe", "pixels", "clip", "concepts", "relational", "balance", "semantic", "export",
    "run", "kills", "commit", "spark", "ray", "recaption", "captioner", "plan", "viewer",
)  # fmt: skip


def main(names: list[str]) -> int:
    """Measures the named figures, or all; exit code 1 if one falls short."""
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}\n")
    lines, good = ["| what | measured | goal | met |", "| --- | --- | --- | --- |"], True
    for name in names or NAMES:
        print(f"-- {name}", flush=True)
        for figure in importlib.import_module(f"benchmarks.{name}").figures():
            print(figure.line(), flush=True)
            lines.append(figure.line())
            good &= figure.good
    print("\n" + "\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
