from .fidelity import Match, shape_fidelity
from .intervals import Interval, mean_interval, wilson
from .likeness import Fidelity, Likeness, measure_fidelity
from .probes import Probe, Verdict, agreement, load_probe, look
from .prompts import HeldOutPrompt, held_out_prompts
from .score import Evaluation, Scores, evaluate, picture_sheet, score_table
from .variety import spread, variety

__all__ = [
    "Evaluation",
    "Fidelity",
    "HeldOutPrompt",
    "Interval",
    "Likeness",
    "Match",
    "Probe",
    "Scores",
    "Verdict",
    "agreement",
    "evaluate",
    "held_out_prompts",
    "load_probe",
    "look",
    "mean_interval",
    "measure_fidelity",
    "picture_sheet",
    "score_table",
    "shape_fidelity",
    "spread",
    "variety",
    "wilson",
]
