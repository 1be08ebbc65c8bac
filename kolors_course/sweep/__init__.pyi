from .axes import AXES, Axis, parse_axis
from .cells import Cell, Fixed, Sweep, Wanted, plan_sweep, wanted_scene
from .draw import check_loras, draw_cells
from .keep import CellStore, Kept, check_lora_files, keys_of
from .measure import Measured, measure_cell, pictures_of
from .recommend import Contender, Recommendation, contenders_of, recommend
from .report import sweep_report, sweep_table

__all__ = [
    "AXES",
    "Axis",
    "Cell",
    "CellStore",
    "Contender",
    "Fixed",
    "Kept",
    "Measured",
    "Recommendation",
    "Sweep",
    "Wanted",
    "check_lora_files",
    "check_loras",
    "contenders_of",
    "draw_cells",
    "keys_of",
    "measure_cell",
    "parse_axis",
    "pictures_of",
    "plan_sweep",
    "recommend",
    "sweep_report",
    "sweep_table",
    "wanted_scene",
]
