"""The captioner's network: transformers' ResNet looks, transformers' GPT-2 writes, with cross-attention between.

A plain ViT has to learn from pictures alone what a convolution knows, that a rabbit is a rabbit wherever it stands;
on tens of thousands of pictures and one core it stays behind. The last map of the ResNet, 4 x 4 cells, becomes 16
tokens, each with a learned place, because captions say left and right.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, ResNetConfig, ResNetModel, VisionEncoderDecoderModel
from transformers.generation import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from kolors_course.captioner.tasks import LONGEST, CaptionWords

SIDE = 128  # pixels of the pictures that it looks at
STRIDE = 32  # pixels of a cell of the ResNet's last map, along one side


_Size = Annotated[int, Field(ge=1, le=1024)]
_Four = Annotated[tuple[_Size, ...], Field(min_length=4, max_length=4)]


@dataclass(frozen=True)
class CaptionerShape:
    """How large the network is; these are 4.6 million weights with Kolors-mini's tokenizer.

    `stem`, `widths` and `depths` are the ResNet's: channels after its first layer, and channels and blocks of each of
    its four stages. `width`, `layers` and `heads` are GPT-2's.
    """

    stem: _Size = 24
    widths: _Four = (32, 64, 128, 256)
    depths: _Four = (1, 1, 1, 2)
    width: _Size = 192
    layers: _Size = 3
    heads: _Size = 6


class PictureTokens(ResNetModel):
    """transformers' ResNet whose last map, (B, C, h, w), is read as tokens with places, (B, h * w, width)."""

    def __init__(self, config: ResNetConfig):
        super().__init__(config)
        self.project = nn.Linear(config.hidden_sizes[-1], config.hidden_size)
        self.place = nn.Parameter(torch.zeros(1, (SIDE // STRIDE) ** 2, config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, pixel_values: Tensor, **unused: Any) -> BaseModelOutput:
        """Pictures (B, 3, 128, 128) in -1..1 -> tokens."""
        cells = super().forward(pixel_values, return_dict=True).last_hidden_state
        tokens = self.project(cells.flatten(2).transpose(1, 2))
        return BaseModelOutput(last_hidden_state=self.norm(tokens + self.place))


def build_captioner(words: CaptionWords, shape: CaptionerShape | None = None) -> VisionEncoderDecoderModel:
    """A captioner with new weights, which it draws from torch's global generator."""
    shape = shape or CaptionerShape()
    looks = ResNetConfig(
        embedding_size=shape.stem,
        hidden_sizes=list(shape.widths),
        depths=list(shape.depths),
        layer_type="basic",
        hidden_size=shape.width,
    )
    writes = GPT2Config(
        vocab_size=words.size,
        n_positions=LONGEST,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        add_cross_attention=True,
        is_decoder=True,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=words.start,
        eos_token_id=words.end,
        pad_token_id=words.padding,
    )
    network = VisionEncoderDecoderModel(encoder=PictureTokens(looks), decoder=GPT2LMHeadModel(writes))
    network.generation_config = GenerationConfig(
        eos_token_id=words.end,
        pad_token_id=words.padding,
        max_length=LONGEST,
        suppress_tokens=words.never_written,
        use_cache=True,
    )
    return network


def shape_dict(shape: CaptionerShape) -> dict[str, Any]:
    """The shape as JSON can hold it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(shape).items()}
