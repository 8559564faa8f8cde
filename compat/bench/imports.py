"""How long does `import kerastorch` take after `import torch`?

    python compat/bench/imports.py

Each round is a process of its own, which imports torch, then kerastorch, and counts CPU and wall
time of the second. The first round, which may have to compile the files, does not count. Medians
with quartiles; the bar is 30 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

BAR = 30.0
ROUND = """
import json, sys, time, torch
before, cpu, wall = set(sys.modules), time.process_time(), time.perf_counter()
import kerastorch
times = [1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)]
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([*times, sorted(new & {"h5py", "keras", "safetensors", "tqdm"})]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the import of kerastorch.")
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    rounds = parser.parse_args().rounds
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(rounds + 1):
        command = [sys.executable, "-c", ROUND]
        done = subprocess.run(command, check=True, capture_output=True, env=environment)
        found.append(json.loads(done.stdout))
    for place, name in enumerate(("CPU", "wall")):
        times = [one[place] for one in found[1:]]
        low, median, high = statistics.quantiles(times, method="inclusive")
        word = "ok" if median <= BAR else "missed"
        print(f"{name:5} {median:6.1f} ms [{low:.1f} {high:.1f}]  bar {BAR:.0f}  {word}")
    print(f"other packages that it imports: {found[-1][2] or 'none'}")


if __name__ == "__main__":
    main()
