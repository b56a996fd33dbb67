"""Lines of a child on the terminal: idle ones are kept off it, others are passed on."""

import subprocess
import sys
import time

from curation.engines.spark_preamble import without_preamble

FAULT = "26/11/29 22:00:00 ERROR a fault"
SAID = r"""
import sys, time
print("WARNING: Using incubator modules: jdk.incubator.vector", file=sys.stderr, flush=True)
print("26/11/29 22:00:00 WARN Utils: Your hostname, x, resolves to", file=sys.stderr, flush=True)
print("26/11/29 22:00:00 ERROR a fault", file=sys.stderr, flush=True)
time.sleep(1.0)
print("ERROR a later one", file=sys.stderr, end="")
"""


def test_idle_lines_are_kept_off_and_faults_pass_also_later(capfd):
    with without_preamble():
        child = subprocess.Popen([sys.executable, "-c", SAID])
        print("our own", file=sys.stderr)
    print("afterwards", file=sys.stderr)
    child.wait()
    said, end = "", time.monotonic() + 10
    while "later" not in said and time.monotonic() < end:
        said += capfd.readouterr().err
        time.sleep(0.05)
    lines = {line for line in said.splitlines() if line}
    assert lines == {
        "our own",
        "afterwards",
        FAULT,
        "ERROR a later one",
    }
