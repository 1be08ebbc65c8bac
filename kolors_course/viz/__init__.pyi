from .fidelity import worst_sheet
from .figures import picture_grid, stack
from .live import LivePicture
from .suite_sheet import suite_sheet
from .sweep_sheet import sweep_sheet
from .world import style_figure, styled_scenes, world_figure, world_scenes

__all__ = [
    "LivePicture",
    "picture_grid",
    "stack",
    "style_figure",
    "styled_scenes",
    "suite_sheet",
    "sweep_sheet",
    "world_figure",
    "world_scenes",
    "worst_sheet",
]
