"""The notebooks' exercises: each check explains the likely mistake. A lesson's own are in a module of its name."""

from kolors_course.exercises.feedback import Mistake, Right, fast

__all__ = ["Mistake", "Right", "fast"]
