"""Regional prompts: what is to be drawn where.

Each region has a prompt of its own, which ChatGLM reads alone. All rows of all prompts stand in one text; in
cross-attention a latent cell q gives the rows of region i the weight wᵢ(q), as `kolors_course.kolors.weighting` does
for words, only that it depends on the cell:

    wᵢ(q) = (1 - β) cᵢ(q) / max(1, Σⱼ cⱼ(q)),    w₀(q) = 1 - Σᵢ wᵢ(q)

with cᵢ(q) the part of the cell that box i covers, and w₀ the weight of the prompt of the whole picture, of which a
share β is left inside the boxes. Weights add up to 1 in every cell, so regions whose prompts are all that of the
picture change nothing, and neither does one of them that covers everything; outside its box a region weighs nothing.

Only cross-attention is told. The pooled vector is that of the whole picture's prompt, and self-attention carries what
is drawn in one place to others: a region asks, it does not cut out. The idea is older than any of its names; with
masks on attention scores it is in eDiff-I (arXiv 2211.01324, section 4.3), by regions in RPG (arXiv 2401.11708).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor

from kolors_course.errors import CourseError, brief
from kolors_course.kolors.prompts import PromptEmbeds, encode_prompts, join
from kolors_course.kolors.stages import StagedPrompts
from kolors_course.prompting import read_stages
from kolors_course.ranges import Range

BASE_SHARE = 0.3  # of the picture's own prompt inside a box
MOST_REGIONS = 16
_INSIDE = Range(0, 1)


@dataclass(frozen=True)
class Region:
    """A prompt, and the box it is for: left, top, right, bottom in parts of the picture's sides.

    Raises:
        CourseError: a box that is empty or reaches out of the picture, or a prompt that changes on the way.
    """

    prompt: str
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not (all(side in _INSIDE for side in self.box) and left < right and top < bottom):
            told = ",".join(f"{side:g}" for side in self.box)
            raise CourseError(
                f"the box {told} of the region '{brief(self.prompt)}' is not left,top,right,bottom, each from 0 "
                "to 1, with left < right and top < bottom"
            )
        if len(read_stages(self.prompt)) > 1:
            raise CourseError(
                f"the region '{brief(self.prompt)}' changes on the way, and only the prompt of the whole picture "
                "can; write it without [a:b:0.4]"
            )


def read_region(text: str) -> Region:
    """ "a cat@0.1,0.4,0.5,0.9": a prompt and left, top, right, bottom; the last @ is the one that counts.

    Raises:
        CourseError: there is no prompt, or no four numbers, or see `Region`.
    """
    prompt, at, numbers = text.rpartition("@")
    try:
        left, top, right, bottom = (float(number) for number in numbers.split(","))
    except ValueError:
        at = ""
    if not at or not prompt.strip():
        raise CourseError(
            f"the region '{brief(text, 80)}' is not PROMPT@LEFT,TOP,RIGHT,BOTTOM, such as a cat@0.1,0.4,0.5,0.9"
        )
    return Region(prompt.strip(), (left, top, right, bottom))


def coverage(box: tuple[float, float, float, float], latent_size: tuple[int, int]) -> Tensor:
    """(h, w): which part of each latent cell a box covers, exactly."""
    left, top, right, bottom = box

    def along(low: float, high: float, cells: int) -> Tensor:
        edges = torch.arange(cells + 1, dtype=torch.float64).clamp(low * cells, high * cells)
        return edges.diff()

    height, width = latent_size
    return along(top, bottom, height)[:, None] * along(left, right, width)[None]


def region_weights(
    regions: Sequence[Region], latent_size: tuple[int, int], base_share: float = BASE_SHARE
) -> Tensor:
    """(1 + regions, h, w): what the prompt of the whole picture, and each region's, weighs in each latent cell."""
    covered = torch.stack([coverage(region.box, latent_size) for region in regions])
    shares = (1 - base_share) * covered / covered.sum(0).clamp(min=1)
    return torch.cat([1 - shares.sum(0, keepdim=True), shares]).float()


def with_regions(
    tokenizer: ChatGLMTokenizer,
    text_encoder: ChatGLMModel,
    prompts: PromptEmbeds,
    regions: Sequence[Sequence[Region]],
    latent_size: tuple[int, int],
    base_share: float = BASE_SHARE,
) -> PromptEmbeds:
    """Encoded prompts with regions: their `text_bias` is then (B, h, w, L).

    Args:
        prompts: B of them, of the whole pictures.
        regions: of each; there may be none.
        latent_size: (h, w) of the latents that are drawn.
        base_share: β, from 0 to 1.

    Raises:
        CourseError: β is out of range, too many regions, or see `encode_prompts`.
    """
    _INSIDE.check("the share of the picture's own prompt in its regions", base_share)
    if any(len(each) > MOST_REGIONS for each in regions):
        raise CourseError(f"a picture has at most {MOST_REGIONS} regions, not {max(map(len, regions))}")
    rows = []
    for i, each in enumerate(regions):
        row = prompts.rows([i])
        if each:
            parts = encode_prompts(tokenizer, text_encoder, [region.prompt for region in each])
            weights = region_weights(each, latent_size, base_share)
            row = _side_by_side(join([row, parts]), weights)
        rows.append(row)
    return join(rows)


def _side_by_side(parts: PromptEmbeds, weights: Tensor) -> PromptEmbeds:
    """Prompts (R, L) as one of R·L rows, which weigh (R, h, w) in each cell; the pooled vector is the first one's."""
    logs = weights.to(parts.text_bias.device).log().permute(1, 2, 0)  # log 0 is minus infinity: it is hidden
    bias = (parts.text_bias[None, None] + logs[..., None]).flatten(2)
    return replace(
        parts,
        prompt_embeds=parts.prompt_embeds.flatten(0, 1)[None],
        pooled_prompt_embeds=parts.pooled_prompt_embeds[:1],
        text_bias=bias[None],
    )


def stages_with_regions(
    tokenizer: ChatGLMTokenizer,
    text_encoder: ChatGLMModel,
    prompts: StagedPrompts,
    regions: Sequence[Sequence[Region]],
    latent_size: tuple[int, int],
) -> StagedPrompts:
    """`with_regions` for prompts that may change on the way; the regions stay."""
    if not any(regions):
        return prompts
    return replace(
        prompts,
        stages=tuple(
            with_regions(tokenizer, text_encoder, stage, regions, latent_size) for stage in prompts.stages
        ),
    )
