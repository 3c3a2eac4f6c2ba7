"""cogumi: an open 8B model turned into a small, complete, adaptable system. Import the stage you need."""

import os

from cogumi.openmp import limit_spinning

__version__ = "0.1.0"

limit_spinning(os.environ)  # the one thing done at import: see cogumi/openmp.py
