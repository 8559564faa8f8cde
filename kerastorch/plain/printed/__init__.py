"""Functions and classes whose source text is printed into the written code.

They import torch alone, and stand here as they are printed.
"""

from . import attention as attention
from . import functions as functions
from . import modules as modules
from . import recurrent as recurrent
from . import resizing as resizing
