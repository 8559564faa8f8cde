"""How fast, and in how much memory, does `kerastorch.load_model` load?

    python compat/bench/load.py                      # three networks, a few minutes
    python compat/bench/load.py --networks ResNet50 --rounds 3

Keras writes networks of keras.applications, without trained weights, to a temporary folder as
`.keras` and as `.h5`. Then, in one process, `kerastorch.load_model` and `keras.models.load_model`
load each file in turn, in random order in every round; the median of the ratios of the times
within rounds is reported with its quartiles. The clock is the wall's, since reading waits for the
disk; the files are in the system's cache.

Memory is the highest resident size while loading, over that before it, in a process that does
nothing else, as a multiple of the weights in the file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from timing import CLOCKS, host_timer, interleave

NETWORKS = ("DenseNet121", "ResNet50", "VGG16")
FASTEST, LEAST_MEMORY = 1.0, 1.3
LOADERS = {
    "kerastorch": "import kerastorch, h5py; load = kerastorch.load_model",
    "keras": "import keras; load = lambda f: keras.models.load_model(f, compile=False)",
}
MEASURE = """
import sys
from pathlib import Path
{loader}
import torch

def resident(which):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return 1024 * int(line.split()[1])

load(sys.argv[1])  # what is imported and set up once is not what loading takes
model = load(sys.argv[2])
del model
Path("/proc/self/clear_refs").write_text("5")  # the highest size starts afresh
before = resident("VmRSS")
model = load(sys.argv[3])
print(resident("VmHWM") - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and weigh kerastorch.load_model.")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import torch

    import kerastorch

    print(
        f"torch {torch.__version__}, keras {keras.__version__}, {torch.get_num_threads()} threads"
    )
    print("ratios: kerastorch/keras, median [quartiles]; memory: peak / bytes of the weights\n")
    columns = ("file", "MB", "ms", "kerastorch/keras", "memory", "keras's memory")
    print("{:20}{:>8}{:>10}   {:22}{:>8}{:>16}".format(*columns))
    timer = host_timer(CLOCKS["wall"])
    ratios, memories = [], []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small.keras")
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(small)
        for network in options.networks:
            model = getattr(keras.applications, network)(weights=None)
            size = sum(w.value.nbytes for w in model.weights)
            for suffix in (".keras", ".h5"):
                file = Path(folder, network + suffix)
                model.save(file)
                calls = {
                    "kerastorch": lambda file=file: kerastorch.load_model(file),
                    "keras": lambda file=file: keras.models.load_model(file, compile=False),
                }
                rounds = interleave(calls, timer, 0.0, options.rounds)
                ratio = rounds.ratio("kerastorch", "keras")
                memory = {name: peak(name, small, file) / size for name in LOADERS}
                ratios.append(ratio.median)
                memories.append(memory["kerastorch"])
                print(
                    f"{file.name:20}{size / 1e6:8.1f}{rounds.milliseconds('kerastorch'):10.1f}   "
                    f"{ratio!s:22}{memory['kerastorch']:8.2f}{memory['keras']:16.2f}",
                    flush=True,
                )
                file.unlink()
            del model
    print()
    verdict("slowest file, kerastorch / keras", max(ratios), FASTEST)
    verdict("largest peak of memory / bytes of the weights", max(memories), LEAST_MEMORY)


def peak(loader: str, small: Path, file: Path) -> int:
    """Return the bytes by which loading a file raises the highest resident size."""
    program = MEASURE.format(loader=LOADERS[loader])
    command = [sys.executable, "-W", "ignore", "-c", program, small, small, file]
    results = [
        subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(3)
    ]
    return int(median(int(result.stdout.split()[-1]) for result in results))


def verdict(what: str, figure: float, bar: float) -> None:
    word = "ok" if figure <= bar else "missed"
    print(f"{what:50} {figure:6.3f} <= {bar:.2f}  {word}")


if __name__ == "__main__":
    main()
