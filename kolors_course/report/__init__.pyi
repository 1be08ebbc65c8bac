from .findings import Findings, compare_facts, find
from .page import ModelReport, report_page
from .plain import plain_report
from .strengths import MULTIPLES, SCENES, AtStrength, at_strength
from .world import Distances, Memorised, find_memory, independent_rows, measure_distances, world_pictures

__all__ = [
    "MULTIPLES",
    "SCENES",
    "AtStrength",
    "Distances",
    "Findings",
    "Memorised",
    "ModelReport",
    "at_strength",
    "compare_facts",
    "find",
    "find_memory",
    "independent_rows",
    "measure_distances",
    "plain_report",
    "report_page",
    "world_pictures",
]
