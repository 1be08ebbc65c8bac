from .probes import Probe, Verdict, agreement, load_probe, look
from .prompts import HeldOutPrompt, held_out_prompts
from .score import Evaluation, Scores, evaluate, picture_sheet, score_table

__all__ = [
    "Evaluation",
    "HeldOutPrompt",
    "Probe",
    "Scores",
    "Verdict",
    "agreement",
    "evaluate",
    "held_out_prompts",
    "load_probe",
    "look",
    "picture_sheet",
    "score_table",
]
