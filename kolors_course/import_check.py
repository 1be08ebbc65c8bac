"""The check that diffusers and the others fit torch, before the first module that needs them is imported."""

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

ROOMS = ("diffusion", "evaluation", "kolors", "lora", "mini", "training")
# What the flags of commands are made of: --help answers in any case.
LIGHT = ("choices", "config_file", "limits", "sample_prompts")


class FitGuard(MetaPathFinder):
    """Looks at each module of the course that is about to be imported, and never finds any itself.

    It stands before all other finders, so that a notebook shows one line whichever module it imports first, in place
    of a traceback out of diffusers.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Nothing is found here: it is only looked whether the libraries fit before a room that needs them.

        Raises:
            UnfitLibraries: the libraries do not fit.
        """
        course, *rooms = fullname.split(".")
        if course == "kolors_course" and len(rooms) > 1 and rooms[0] in ROOMS and rooms[-1] not in LIGHT:
            from kolors_course.libraries import require_fit  # 25 ms that --help does not need

            require_fit()
