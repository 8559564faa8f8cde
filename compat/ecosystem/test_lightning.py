"""A LightningModule of lazy layers, with penalties and constraints."""

from __future__ import annotations

from functools import partial

import pytest
import pytorch_lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import kerastorch
from kerastorch.constraints import MaxNorm
from kerastorch.layers import BatchNormalization, Conv2D, Flatten
from tests.layers.contract import batch
from tests.torch_tools.exporting import WARNINGS

LIMIT = 0.5
pytestmark = [
    pytest.mark.filterwarnings(
        *WARNINGS, "ignore:The 'train_dataloader' does not have many workers"
    )
]


class Classifier(pytorch_lightning.LightningModule):
    """Built by its first batch before the optimizer is made."""

    def __init__(self) -> None:
        super().__init__()
        convolution = partial(
            Conv2D,
            padding="same",
            strides=2,
            activation="relu",
            kernel_regularizer="l2",
            kernel_constraint=MaxNorm(LIMIT, axis=[0, 1, 2]),
        )
        layers = convolution(4, 3), BatchNormalization(), convolution(6, (2, 3)), Flatten()
        self.network = nn.Sequential(*layers, nn.LazyLinear(3))
        self.example_input_array = batch((2, 7, 9, 2))
        self.penalties: list[float] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    def setup(self, stage: str) -> None:
        with torch.no_grad():
            self(self.example_input_array)

    def training_step(self, given: list[torch.Tensor], index: int) -> torch.Tensor:
        images, labels = given
        loss = nn.functional.cross_entropy(self(images), labels)
        penalty = kerastorch.regularization_loss(self)
        self.penalties.append(penalty.item())
        self.log("loss", loss + penalty)
        return loss + penalty

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)
        kerastorch.attach_constraints(optimizer, self)
        return optimizer


def norms(model: nn.Module) -> torch.Tensor:
    kernels = [layer.kernel for layer in model.modules() if isinstance(layer, Conv2D)]
    return torch.cat([torch.linalg.vector_norm(kernel, dim=(0, 1, 2)) for kernel in kernels])


def fit(folder, steps: int, *, checkpoint=None) -> tuple[Classifier, pytorch_lightning.Trainer]:
    torch.manual_seed(0)
    data = TensorDataset(batch((40, 7, 9, 2)), torch.arange(40) % 3)
    trainer = pytorch_lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    model = Classifier()
    trainer.fit(model, DataLoader(data, batch_size=8), ckpt_path=checkpoint)
    return model, trainer


def test_a_lightning_module(tmp_path):
    model, trainer = fit(tmp_path, 5)
    assert trainer.global_step == len(model.penalties) == 5
    assert min(model.penalties) > 0
    found = norms(model)
    assert float(found.detach().max()) == pytest.approx(LIMIT, abs=1e-5)  # some are at the limit
    assert not any(isinstance(p, nn.UninitializedParameter) for p in model.parameters())

    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again, _ = fit(tmp_path, 6, checkpoint=tmp_path / "last.ckpt")
    whole, _ = fit(tmp_path, 6)
    alone = Classifier.load_from_checkpoint(tmp_path / "last.ckpt")  # its layers are not built
    for ours, theirs in ((again, whole), (alone, model)):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0, msg=name)
