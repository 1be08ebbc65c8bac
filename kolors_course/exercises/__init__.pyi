from .feedback import Right, fast
from .standing import progress_map

__all__ = ["Right", "fast", "progress_map"]
