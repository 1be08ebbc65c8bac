from .folder import CaptionJob, caption_folder
from .interface import Captioner, NoCaption
from .scores import CaptionScores, FactCount, score_captions
from .small import SmallCaptioner, load_captioner, save_captioner
from .vlm import VlmCaptioner, load_vlm

__all__ = [
    "CaptionJob",
    "CaptionScores",
    "Captioner",
    "FactCount",
    "NoCaption",
    "SmallCaptioner",
    "VlmCaptioner",
    "caption_folder",
    "load_captioner",
    "load_vlm",
    "save_captioner",
    "score_captions",
]
