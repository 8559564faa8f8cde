"""Train the digits network the way vision models are trained, with all that such a script has.

    python compat/digits/train.py build/digits-run --epochs 6
    python compat/digits/train.py build/digits-run --epochs 6 --resume

An average of the weights (EMA), a cosine schedule after a warm-up, mixed precision, a limit on the
gradient's norm, no weight decay on biases and norms, and a checkpoint after every epoch, from
which `--resume` goes on as if nothing had happened. It is the shape of timm's training script, of
PyTorch's own parts.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import DATA, DigitsNet, measure_accuracy, read_split
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import kerastorch

BATCH = 64
WARM_UP = 1  # epochs
MAX_GRADIENT = 1.0


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Return the parameters for the optimizer: weight decay is for kernels only."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]


class Run:
    """All that changes while training, so that it can be saved and go on."""

    def __init__(self, epochs: int, device: str) -> None:
        self.device = device
        self.network = DigitsNet().to(device)
        self.network(torch.zeros(1, 8, 8, 1, device=device))  # builds it: before all that follows
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(parameter_groups(self.network), lr=5e-3)
        kerastorch.attach_constraints(self.optimizer, self.network)
        warm_up = LinearLR(self.optimizer, 0.1, total_iters=WARM_UP)
        cosine = CosineAnnealingLR(self.optimizer, max(epochs - WARM_UP, 1))
        self.schedule = SequentialLR(self.optimizer, [warm_up, cosine], [WARM_UP])
        self.scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
        self.epoch = 0

    def parts(self) -> dict[str, Any]:
        names = ("network", "average", "optimizer", "schedule", "scaler")
        return {name: getattr(self, name) for name in names}

    def save(self, path: Path) -> None:
        state = {name: part.state_dict() for name, part in self.parts().items()}
        kept = {**state, "epoch": self.epoch, "random": torch.get_rng_state()}
        torch.save(kept, path)

    def resume(self, path: Path) -> None:
        kept = torch.load(path, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(kept[name])
        self.epoch = kept["epoch"]
        torch.set_rng_state(kept["random"])

    def step(self, images: Tensor, labels: Tensor) -> None:
        with torch.autocast(
            self.device, torch.float16 if self.device == "cuda" else torch.bfloat16
        ):
            loss = nn.functional.cross_entropy(self.network(images), labels, label_smoothing=0.1)
        loss = loss + kerastorch.regularization_loss(self.network)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.network)

    def train_epoch(self, images: Tensor, labels: Tensor) -> None:
        self.network.train()
        for rows in torch.randperm(len(images)).split(BATCH):
            self.step(images[rows].to(self.device), labels[rows].to(self.device))
        self.schedule.step()
        self.epoch += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--stop-after", type=int, help="stop early, as a killed run would")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network gains next to nothing from more
    with np.load(DATA, allow_pickle=False) as file:
        arrays = dict(file)
    train, test = read_split(arrays, "train"), read_split(arrays, "test")
    test = test[0].to(given.device), test[1].to(given.device)

    given.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = given.folder / "last.pt"
    run = Run(given.epochs, given.device)
    if given.resume:
        run.resume(checkpoint)
    while run.epoch < (given.stop_after or given.epochs):
        run.train_epoch(*train)
        run.save(checkpoint)
        own, averaged = (measure_accuracy(n, *test) for n in (run.network, run.average))
        print(f"epoch {run.epoch}: test accuracy {own:.2%}, of the average {averaged:.2%}")


if __name__ == "__main__":
    main()
