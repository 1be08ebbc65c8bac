"""A course you can run on a laptop that teaches, trains and ships real Kolors LoRAs."""

import os
import sys

from kolors_course.import_check import FitGuard

__version__ = "0.1.0"

# On Intel processors MKL chooses the order of its sums by where the numbers happen to lie in memory, so that equal
# runs differ in their last bits. This makes it choose by shape alone. MKL reads it before its first product, so it
# stands here, before any part of the course imports torch.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

sys.meta_path.insert(0, FitGuard())
