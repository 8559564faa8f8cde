"""Go on in PyTorch with a network that Keras trained: check its numbers, and train it further.

    kerastorch convert compat/digits/digits.keras -o build/digits.pt
    python compat/digits/accuracy.py build/digits.pt

Keras is not needed. `digits.pt` holds a state dict; the network that takes it is written by hand
here, of Keras's layers and PyTorch's own. The script fails if it computes other logits than Keras
recorded in `digits.npz`, which `record.py` wrote.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

import kerastorch
from kerastorch.constraints import MaxNorm
from kerastorch.layers import BatchNormalization, Conv2D
from kerastorch.regularizers import L2

DATA = Path(__file__).with_name("digits.npz")
REFERENCE = DATA.with_suffix(".reference.npz")
TOLERANCE = 1e-5  # of the largest logit
MAX_NORM = 1.0
EPOCHS = 8


class DigitsNet(nn.Module):
    """The network of `record.py`, its modules named like Keras's layers; images stay NHWC."""

    def __init__(self) -> None:
        super().__init__()
        convolution = partial(
            Conv2D,
            kernel_size=3,
            padding="same",
            kernel_regularizer=L2(1e-4),
            kernel_constraint=MaxNorm(MAX_NORM, axis=[0, 1, 2]),
        )
        self.conv1 = convolution(16, use_bias=False)
        self.norm1 = BatchNormalization()
        self.conv2 = convolution(32, strides=2, activation="relu")
        self.conv3 = convolution(64, strides=2, activation="relu")
        self.dense = nn.Linear(256, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (batch, 8, 8, 1)
        features = torch.relu(self.norm1(self.conv1(images / 16)))
        features = self.conv3(self.conv2(features))  # (batch, 2, 2, 64)
        return self.dense(torch.flatten(features, 1))  # (batch, 10)


def read_split(arrays: dict[str, np.ndarray], split: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(arrays[f"{split}/images"]).float()
    labels = torch.from_numpy(arrays[f"{split}/labels"]).long()
    return images[..., None], labels  # (n, 8, 8, 1), (n,)


@torch.no_grad()
def compare_logits(network: nn.Module, images: torch.Tensor, keras_logits: torch.Tensor) -> None:
    difference = (network(images) - keras_logits).abs().max().item()
    relative = difference / keras_logits.abs().max().item()
    print(f"largest difference from Keras's logits: {difference:.1e}, relative {relative:.1e}")
    if not relative <= TOLERANCE:  # so that nan fails, too
        raise SystemExit(str(kerastorch.compare(network, REFERENCE)))


@torch.no_grad()
def measure_accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    return (network.eval()(images).argmax(dim=1) == labels).double().mean().item()


def fine_tune(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    kerastorch.attach_constraints(optimizer, network)  # from here on, after every step
    network.train()
    for _ in tqdm(range(EPOCHS), desc="fine-tuning", unit="epoch", disable=None):
        for batch, targets in loader:
            loss = nn.functional.cross_entropy(network(batch), targets)
            loss = loss + kerastorch.regularization_loss(network)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


@torch.no_grad()
def largest_kernel_norm(network: nn.Module) -> float:
    kernels = [layer.kernel for layer in network.modules() if isinstance(layer, Conv2D)]
    norms = [torch.linalg.vector_norm(kernel, dim=(0, 1, 2)) for kernel in kernels]  # (filters,)
    return torch.cat(norms).max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="what `kerastorch convert` wrote")
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network gains next to nothing from more
    with np.load(DATA, allow_pickle=False) as file:
        arrays = dict(file)
    test = read_split(arrays, "test")

    network = DigitsNet().eval()
    network.load_state_dict(torch.load(given.weights, weights_only=True))
    compare_logits(network, test[0], torch.from_numpy(arrays["test/logits"]))
    print(f"test accuracy in Keras: {arrays['test/accuracy']:.2%}")
    print(f"test accuracy here: {measure_accuracy(network, *test):.2%}")

    fine_tune(network, *read_split(arrays, "train"))
    print(f"test accuracy after fine-tuning: {measure_accuracy(network, *test):.2%}")
    print(f"largest kernel norm: {largest_kernel_norm(network):.6f}, at most {MAX_NORM} allowed")


if __name__ == "__main__":
    main()
