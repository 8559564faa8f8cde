"""What every test shares: Keras's own defaults, one seed, and the devices."""

import os
import tempfile

import pytest
import torch
from hypothesis import settings

from kerastorch import config

os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-home-")  # not the user's keras.json

# Inductor of torch 2.13 takes graphs that it kept on disk for those of other strides.
os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = os.environ["TORCHINDUCTOR_AUTOGRAD_CACHE"] = "0"
torch.set_num_threads(1)  # what is tested is small: more threads only wait for each other

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _same_start():
    torch.manual_seed(0)
    yield
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return request.param
