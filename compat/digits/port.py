"""Take a network from Keras to PyTorch: load its weights, check its numbers, train it further.

    python compat/digits/port.py

Keras is not needed: `digits.npz`, written by `record.py`, holds the weights and the logits of a
network that Keras trained on scikit-learn's digits. The port is the same network as a plain
`torch.nn.Module`. The script fails if the port computes other logits than Keras.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

import kerastorch
from kerastorch.constraints import MaxNorm
from kerastorch.layers import Conv2D
from kerastorch.regularizers import L2

Arrays = Mapping[str, np.ndarray]

PATH = Path(__file__).with_name("digits.npz")
TOLERANCE = 1e-5  # of the largest logit
MAX_NORM = 1.0
EPOCHS = 8


class DigitsNet(nn.Module):
    """The network of `record.py`, layer by layer; images stay channels_last as in Keras."""

    def __init__(self) -> None:
        super().__init__()
        convolution = partial(
            Conv2D,
            kernel_size=3,
            padding="same",
            activation="relu",
            kernel_regularizer=L2(1e-4),
            kernel_constraint=MaxNorm(MAX_NORM, axis=[0, 1, 2]),
        )
        self.conv1 = convolution(16)
        self.conv2 = convolution(32, strides=2)
        self.conv3 = convolution(64, strides=2)
        self.dense = nn.Linear(256, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (batch, 8, 8, 1)
        features = self.conv3(self.conv2(self.conv1(images)))  # (batch, 2, 2, 64)
        return self.dense(torch.flatten(features, 1))  # (batch, 10)

    @property
    def convolutions(self) -> dict[str, Conv2D]:
        return {"conv1": self.conv1, "conv2": self.conv2, "conv3": self.conv3}


def read_arrays() -> dict[str, np.ndarray]:
    with np.load(PATH, allow_pickle=False) as file:
        return dict(file)


def read_split(arrays: Arrays, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(arrays[f"{split}/images"]).float() / 16
    labels = torch.from_numpy(arrays[f"{split}/labels"]).long()
    return images[..., None], labels  # (n, 8, 8, 1), (n,)


@torch.no_grad()
def load_weights(network: DigitsNet, arrays: Arrays) -> None:
    network(torch.zeros(1, 8, 8, 1))  # as in Keras, the first batch builds the layers
    for name, layer in network.convolutions.items():
        layer.set_weights([arrays[f"{name}/kernel"], arrays[f"{name}/bias"]])
    # A Dense kernel is (inputs, outputs), the weight of nn.Linear (outputs, inputs).
    network.dense.weight.copy_(torch.from_numpy(arrays["dense/kernel"]).T)
    network.dense.bias.copy_(torch.from_numpy(arrays["dense/bias"]))


@torch.no_grad()
def compare_logits(network: DigitsNet, images: torch.Tensor, keras_logits: torch.Tensor) -> None:
    difference = (network(images) - keras_logits).abs().max().item()
    relative = difference / keras_logits.abs().max().item()
    print(f"largest difference from Keras's logits: {difference:.1e}, relative {relative:.1e}")
    if not relative <= TOLERANCE:  # so that nan fails, too
        raise SystemExit(f"The port computes other logits than Keras: {relative:.1e} > {TOLERANCE}")


@torch.no_grad()
def measure_accuracy(network: DigitsNet, images: torch.Tensor, labels: torch.Tensor) -> float:
    return (network(images).argmax(dim=1) == labels).double().mean().item()


@torch.no_grad()
def largest_kernel_norm(network: DigitsNet) -> float:
    norms = [
        torch.linalg.vector_norm(layer.kernel, dim=(0, 1, 2))  # (filters,)
        for layer in network.convolutions.values()
    ]
    return torch.cat(norms).max().item()


def fine_tune(network: DigitsNet, images: torch.Tensor, labels: torch.Tensor) -> None:
    loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    kerastorch.attach_constraints(optimizer, network)  # from here on, after every step
    for _ in tqdm(range(EPOCHS), desc="fine-tuning", unit="epoch", disable=None):
        for batch, targets in loader:
            loss = nn.functional.cross_entropy(network(batch), targets)
            loss = loss + kerastorch.regularization_loss(network)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network gains next to nothing from more
    arrays = read_arrays()
    test_images, test_labels = read_split(arrays, "test")

    network = DigitsNet()
    load_weights(network, arrays)
    compare_logits(network, test_images, torch.from_numpy(arrays["test/logits"]))
    accuracy = measure_accuracy(network, test_images, test_labels)
    print(f"test accuracy: {accuracy:.2%}, in Keras {arrays['test/accuracy']:.2%}")
    print(f"largest kernel norm: {largest_kernel_norm(network):.6f}")

    fine_tune(network, *read_split(arrays, "train"))
    accuracy = measure_accuracy(network, test_images, test_labels)
    print(f"test accuracy after fine-tuning: {accuracy:.2%}")
    print(f"largest kernel norm: {largest_kernel_norm(network):.6f}, at most {MAX_NORM} allowed")


if __name__ == "__main__":
    main()
