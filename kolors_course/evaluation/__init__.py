"""Measuring pictures: a probe network as judge, the fixed held-out prompts, scores and sheets."""

from kolors_course.evaluation.probes import Probe, Verdict, agreement, load_probe, look
from kolors_course.evaluation.prompts import TestPrompt, held_out_prompts
from kolors_course.evaluation.score import Evaluation, Scores, evaluate, picture_sheet, score_table

__all__ = [
    "Evaluation",
    "Probe",
    "Scores",
    "TestPrompt",
    "Verdict",
    "agreement",
    "evaluate",
    "held_out_prompts",
    "load_probe",
    "look",
    "picture_sheet",
    "score_table",
]
