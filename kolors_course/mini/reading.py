"""Teach the text encoder to read: recover a scene's facts from its caption, in either language.

Kolors starts from a ChatGLM that has read the web; ours starts from nothing. This small extra loss gives it a sense
of what captions mean, and makes 兔子, rabbit and bunny agree, long before pictures alone would.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kolors_course.art import subjects
from kolors_course.evaluation.probes import CLASSES
from kolors_course.kolors.prompts import PromptEmbeds

FACTS = tuple(key for key in CLASSES if key != "style")


class FactReader(nn.Module):
    """Linear heads on the pooled embedding and on the mean of the rows for cross-attention."""

    def __init__(self, width: int):
        super().__init__()
        sizes = {"subject": len(subjects())} | {key: len(CLASSES[key]) for key in FACTS}
        self.heads = nn.ModuleList(
            nn.ModuleDict({key: nn.Linear(width, size) for key, size in sizes.items()}) for _ in range(2)
        )

    def forward(self, prompts: PromptEmbeds) -> list[dict[str, Tensor]]:
        """Logits by fact, from either embedding."""
        real = (prompts.text_bias == 0).unsqueeze(-1)
        mean = (prompts.prompt_embeds * real).sum(1) / real.sum(1)
        views = [F.layer_norm(x.float(), x.shape[-1:]) for x in (prompts.pooled_prompt_embeds, mean)]
        return [
            {k: head(x) for k, head in heads.named_children()}
            for heads, x in zip(self.heads, views, strict=True)
        ]


def reading_loss(reader: FactReader, prompts: PromptEmbeds, truth: dict[str, Tensor], told: Tensor) -> Tensor:
    """Cross-entropy of the scenes' facts, averaged over facts.

    Args:
        truth: see `truth_tensors`, for the B scenes.
        told: (B,) 1.0 where the caption tells the facts, 0.0 where it is empty and none can be read.
    """
    target = truth["subject"] / truth["subject"].sum(1, keepdim=True)
    losses = []
    for logits in reader(prompts):
        subject = F.cross_entropy(logits["subject"], target, reduction="none")
        losses.append((subject * told).sum() / told.sum().clamp(min=1))
        for key in FACTS:
            error = F.cross_entropy(logits[key], truth[key], ignore_index=-1, reduction="none")
            losses.append((error * told).sum() / (told * (truth[key] >= 0)).sum().clamp(min=1))
    return torch.stack(losses).mean()
