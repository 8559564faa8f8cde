"""What torch cannot do yet, so that the day it can is noticed."""

from __future__ import annotations

import pytest
from torch._inductor.exc import InductorError

from compat.ecosystem.torch_reports.permuted_convolution import nchw, nhwc, nhwc_padded, train

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
]


@pytest.mark.xfail(raises=InductorError, strict=True, reason="torch 2.13; mended when this passes")
def test_training_on_nhwc_images_of_any_size():
    train(nhwc, (2, 9, 12, 4))


def test_what_compiles_nevertheless():
    train(nhwc, (2, 9, 12, 4), dynamic=False)
    train(nhwc_padded, (2, 9, 12, 4))
    train(nchw, (2, 4, 9, 12))
