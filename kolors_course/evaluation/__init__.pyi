from .fidelity import Match, shape_fidelity
from .likeness import Fidelity, Likeness, measure_fidelity
from .probes import Probe, Verdict, agreement, load_probe, look
from .prompts import HeldOutPrompt, held_out_prompts
from .score import Evaluation, Scores, evaluate, picture_sheet, score_table

__all__ = [
    "Evaluation",
    "Fidelity",
    "HeldOutPrompt",
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
    "measure_fidelity",
    "picture_sheet",
    "score_table",
    "shape_fidelity",
]
