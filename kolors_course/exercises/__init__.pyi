from .feedback import Mistake, Right, fast

__all__ = ["Mistake", "Right", "fast"]
