from .feedback import Right, fast

__all__ = ["Right", "fast"]
