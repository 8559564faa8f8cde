"""Draw the losses of `runs.py` over each other, and print how far apart they end.

    KERAS_BACKEND=torch python -m compat.models.parity.plot

It takes matplotlib beside what the tests take, and writes `parity.svg` beside itself.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "parity"  # the same drawing gives the same file

from matplotlib import pyplot  # noqa: E402

from compat.models.parity.runs import OPTIMIZERS, keras_run, torch_run  # noqa: E402

PATH = Path(__file__).with_name("parity.svg")


def main() -> None:
    figure, axes = pyplot.subplots(1, len(OPTIMIZERS), figsize=(9, 3.2), sharey=True)
    for axis, optimizer in zip(axes, OPTIMIZERS, strict=True):
        expected, found = keras_run(optimizer), torch_run(optimizer)
        apart = max(
            np.abs(ours - theirs).max()
            for ours, theirs in zip(found.weights, expected.weights, strict=True)
        )
        losses = np.abs(np.subtract(found.losses, expected.losses)).max()
        print(f"{optimizer}: losses at most {losses:.1e} apart, final weights {apart:.1e}")
        axis.semilogy(expected.losses, linewidth=3, color="#c8c8c8", label="Keras")
        axis.semilogy(found.losses, linewidth=0.8, color="#c03020", label="kerastorch")
        axis.set_title(f"{optimizer}: final weights {apart:.0e} apart")
        axis.set_xlabel("step")
    axes[0].set_ylabel("loss")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(PATH, metadata={"Date": None})
    print(f"{PATH.name}: {PATH.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
