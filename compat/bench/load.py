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

Then five Dense layers, 100 MB, in the containers of TensorFlow: `load_model`, and the arrays alone
beside `numpy.fromfile` of all bytes and, where the format has them, the checksums' time. What
`load_model` takes beyond that is a module of each layer, and kernels in PyTorch's order of axes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from timing import CLOCKS, Timer, host_timer, interleave

NETWORKS = ("DenseNet121", "ResNet50", "VGG16")
FASTEST, LEAST_MEMORY = 1.0, 1.3
CONTAINER_FASTEST, CONTAINER_MEMORY = 1.5, 1.1
UNITS = 2240  # of each of five layers: 100 MB
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

    sys.path.insert(0, str(Path(__file__).parents[2]))  # for the encoder of the tests
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
    print()
    measure_containers(timer, options.rounds)


def measure_containers(timer: Timer, rounds: int) -> None:
    """Print the time and the memory of loading a SavedModel and a TensorFlow.js model."""
    import numpy as np

    import kerastorch
    from kerastorch.saving.formats.open import open_weight_file
    from kerastorch.saving.formats.tensorflow.checksum import compute_checksum

    columns = (
        "container",
        "MB",
        "load_model, ms",
        "load_model/reading",
        "arrays/reading",
        "memory",
    )
    print("{:16}{:>8}{:>10}   {:22}{:22}{:>8}".format(*columns))
    ratios, memories = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, parts) in write_containers(Path(folder)).items():
            size = sum(part.stat().st_size for part in parts)

            def read(
                parts: list[Path] = parts, checks: bool = name != "TensorFlow.js"
            ) -> list[Any]:
                found = [np.fromfile(part, np.uint8) for part in parts]
                return [compute_checksum(one) for one in found] if checks else found

            def read_arrays(path: Path = path) -> list[Any]:
                with open_weight_file(path) as contents:
                    return [one.read() for layer in contents.layers for one in layer.weights]

            calls = {"load": lambda path=path: kerastorch.load_model(path)}
            calls |= {"arrays": read_arrays, "reading": read}
            found = interleave(calls, timer, 0.0, rounds)
            ratio = found.ratio("arrays", "reading")
            small = write_containers(Path(folder, "small"), units=2)[name][0]
            memory = peak("kerastorch", small, path) / size
            ratios.append(ratio.median)
            memories.append(memory)
            load = found.ratio("load", "reading")
            figures = f"{size / 1e6:8.1f}{found.milliseconds('load'):10.1f}"
            print(f"{name:16}{figures}   {load!s:22}{ratio!s:22}{memory:8.2f}")
    print()
    verdict("slowest arrays of a container / reading", max(ratios), CONTAINER_FASTEST)
    verdict("largest peak of memory / bytes of the weights", max(memories), CONTAINER_MEMORY)


def write_containers(folder: Path, units: int = UNITS) -> dict[str, tuple[Path, list[Path]]]:
    """Write a network in each container; return what to load, and the files of its arrays."""
    import numpy as np

    from kerastorch.saving.formats.tensorflow.checksum import compute_checksum
    from tests.formats.tensorflow_files import bundle, saved_model, tensorflow_js

    bundle.masked_crc32c = compute_checksum  # the encoder's own is a loop over bytes
    generator, layers, arrays = np.random.default_rng(1), [], {}
    for number in range(5):
        name, shape = f"dense_{number}", {"batch_input_shape": [None, units]} if not number else {}
        config = {"name": name, "units": units, "use_bias": False, **shape}
        layers.append({"class_name": "Dense", "config": config})
        arrays[name] = {"kernel": generator.normal(size=(units, units)).astype("float32")}
    content = {"name": "network", "layers": layers}
    config = {"class_name": "Sequential", "config": content, "keras_version": "2.15.0"}
    saved = folder / "saved"
    bundle.write_files(saved, saved_model.build_saved_model(config, arrays).files())
    weights = {f"{name}/kernel": found["kernel"] for name, found in arrays.items()}
    model = tensorflow_js.build_model({"model_config": config}, weights)
    javascript = bundle.write_files(folder / "javascript", model.files())
    return {
        "SavedModel": (saved, [*saved.glob("variables/*.data-*")]),
        "TensorFlow.js": (javascript, [*javascript.glob("*.bin")]),
    }


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
