from .aesthetic import AestheticHead, clip_embeddings, load_aesthetic, multiply_out
from .copies import Copies, Nearest, find_copies, nearest_points
from .distances import clip_mmd, frechet_distance, frechet_infinity, kernel_distance, kernel_interval
from .diversity import vendi_score
from .features import ProbeFeatures, picture_features, pixel_vectors
from .fidelity import Match, shape_fidelity
from .intervals import Interval, mean_interval, wilson
from .kept import DrawnStore, draw_kept, picture_keys
from .likeness import Fidelity, Likeness, measure_fidelity
from .manifold import Manifold, expected_coverage, manifold_scores
from .probes import Probe, Verdict, agreement, find_in_picture, load_probe, look
from .prompts import HeldOutPrompt, held_out_prompts
from .score import Evaluation, Scores, evaluate, picture_sheet, score_table
from .suite import Answer, SuitePrompt, SuiteScores, judge, suite_prompts, suite_scores, suite_table
from .variety import spread, variety
from .votes import McNemar, bradley_terry, clopper_pearson, mcnemar, sign_test

__all__ = [
    "AestheticHead",
    "Answer",
    "Copies",
    "DrawnStore",
    "Evaluation",
    "Fidelity",
    "HeldOutPrompt",
    "Interval",
    "Likeness",
    "Manifold",
    "Match",
    "McNemar",
    "Nearest",
    "Probe",
    "ProbeFeatures",
    "Scores",
    "SuitePrompt",
    "SuiteScores",
    "Verdict",
    "agreement",
    "bradley_terry",
    "clip_embeddings",
    "clip_mmd",
    "clopper_pearson",
    "draw_kept",
    "evaluate",
    "expected_coverage",
    "find_copies",
    "find_in_picture",
    "frechet_distance",
    "frechet_infinity",
    "held_out_prompts",
    "judge",
    "kernel_distance",
    "kernel_interval",
    "load_aesthetic",
    "load_probe",
    "look",
    "manifold_scores",
    "mcnemar",
    "mean_interval",
    "measure_fidelity",
    "multiply_out",
    "nearest_points",
    "picture_features",
    "picture_keys",
    "picture_sheet",
    "pixel_vectors",
    "score_table",
    "shape_fidelity",
    "sign_test",
    "spread",
    "suite_prompts",
    "suite_scores",
    "suite_table",
    "variety",
    "vendi_score",
    "wilson",
]
