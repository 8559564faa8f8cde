"""The initializers of `keras.initializers`.

Called with a shape in Keras's axis order, each returns a contiguous tensor on the default device.
"""

from .._core.seeds import SeedGenerator as SeedGenerator
from .base import Initializer as Initializer
from .constant_initializers import STFT as STFT
from .constant_initializers import STFT as STFTInitializer
from .constant_initializers import STFT as stft
from .constant_initializers import Constant as Constant
from .constant_initializers import Constant as constant
from .constant_initializers import Identity as Identity
from .constant_initializers import Identity as IdentityInitializer
from .constant_initializers import Identity as identity
from .constant_initializers import Ones as Ones
from .constant_initializers import Ones as ones
from .constant_initializers import Zeros as Zeros
from .constant_initializers import Zeros as zeros
from .random_initializers import Orthogonal as Orthogonal
from .random_initializers import Orthogonal as OrthogonalInitializer
from .random_initializers import Orthogonal as orthogonal
from .random_initializers import RandomNormal as RandomNormal
from .random_initializers import RandomNormal as random_normal
from .random_initializers import RandomUniform as RandomUniform
from .random_initializers import RandomUniform as random_uniform
from .random_initializers import TruncatedNormal as TruncatedNormal
from .random_initializers import TruncatedNormal as truncated_normal
from .scaling_initializers import GlorotNormal as GlorotNormal
from .scaling_initializers import GlorotNormal as glorot_normal
from .scaling_initializers import GlorotUniform as GlorotUniform
from .scaling_initializers import GlorotUniform as glorot_uniform
from .scaling_initializers import HeNormal as HeNormal
from .scaling_initializers import HeNormal as he_normal
from .scaling_initializers import HeUniform as HeUniform
from .scaling_initializers import HeUniform as he_uniform
from .scaling_initializers import LecunNormal as LecunNormal
from .scaling_initializers import LecunNormal as lecun_normal
from .scaling_initializers import LecunUniform as LecunUniform
from .scaling_initializers import LecunUniform as lecun_uniform
from .scaling_initializers import VarianceScaling as VarianceScaling
from .scaling_initializers import VarianceScaling as variance_scaling
from .scaling_initializers import compute_fans as compute_fans
from .serialization import deserialize as deserialize
from .serialization import get as get
from .serialization import serialize as serialize
