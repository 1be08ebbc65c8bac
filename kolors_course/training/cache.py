"""What does not change during LoRA training is computed once: latents and encoded captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from kolors_course.dataset import Dataset, Sample, check_divisible, open_picture, prepare_image
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import (
    MAX_SEQUENCE_LENGTH,
    LivePrompts,
    PromptEmbeds,
    encode_texts,
    join,
    split_weights,
    token_ids,
)
from kolors_course.training.masks import latent_mask, mask_beside
from kolors_course.training.objective import Batch
from kolors_course.training.store import Store, content_key


@dataclass(frozen=True)
class EncodedPictures:
    """Pictures of one size, ready for the U-Net.

    Attributes:
        latents: (V, N, C, h, w) scaled posterior means; V = 2 when a mirrored version is kept, else 1.
        deviations: (V, N, C, h, w) scaled posterior standard deviations.
        add_time_ids: (V, N, 6) true micro-conditions of each version.
        prompts: N + 1 prompts: the captions, and the empty prompt for caption dropout; encoded, unless the text
            encoder learns too.
        masks: (V, N, 1, h, w) how much each latent cell counts, or None.
        repeats: how often each picture comes in a pass; () means once.
    """

    latents: Tensor
    deviations: Tensor
    add_time_ids: Tensor
    prompts: PromptEmbeds | LivePrompts
    masks: Tensor | None = None
    repeats: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.latents.shape[1]

    @cached_property
    def one_pass(self) -> Tensor:
        """The rows of a pass over the pictures, each as often as its repeats say, in order."""
        rows = torch.arange(len(self))
        return rows.repeat_interleave(torch.tensor(self.repeats)) if self.repeats else rows

    def draw(
        self, rows: Tensor, generator: torch.Generator, caption_dropout: float, sample_posterior: bool = False
    ) -> Batch:
        """The pictures at `rows`; mirrored versions and empty captions are drawn at random.

        Args:
            rows: (B,) indices.
            sample_posterior: draw latents from the VAE's posterior instead of taking its mean.
        """
        version = torch.randint(len(self.latents), rows.shape, generator=generator)
        dropped = torch.rand(len(rows), generator=generator) < caption_dropout
        prompts = self.prompts.rows(torch.where(dropped, len(self), rows))
        latents = self.latents[version, rows]
        if sample_posterior:
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            latents = latents + self.deviations[version, rows] * noise
        masks = None if self.masks is None else self.masks[version, rows]
        return Batch(latents, prompts, self.add_time_ids[version, rows], masks)

    def batch(
        self, rows: Tensor, generator: torch.Generator, caption_dropout: float
    ) -> tuple[Tensor, PromptEmbeds, Tensor]:
        """Latents, prompts and time ids of what `draw` gives."""
        drawn = self.draw(rows, generator, caption_dropout)
        return drawn.latents, drawn.prompts, drawn.add_time_ids

    def plain(self, rows: slice) -> Batch:
        """The pictures at `rows` as they are: not mirrored, each with its caption."""
        masks = None if self.masks is None else self.masks[0, rows]
        captions = range(len(self))[rows]
        return Batch(
            self.latents[0, rows], self.prompts.rows(list(captions)), self.add_time_ids[0, rows], masks
        )


class Encoder:
    """A model's text encoder and VAE, with a memory on disk if `store` is given.

    With a store, captions and pictures are encoded one at a time, so that what is kept does not depend, not even
    in the last bit, on what it was encoded together with. Without one, `batch_size` go together. With `live_text`
    captions are only cut into tokens, for a text encoder that is about to change.
    """

    def __init__(
        self,
        model: KolorsModel,
        batch_size: int = 8,
        store: Store | None = None,
        live_text: bool = False,
    ):
        self.model, self.batch_size, self.store, self.live_text = model, batch_size, store, live_text

    @cached_property
    def _text_id(self) -> str:
        return hash_of_weights(self.model.text_encoder)

    @cached_property
    def _vae_id(self) -> str:
        return hash_of_weights(self.model.vae)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> PromptEmbeds | LivePrompts:
        """Encode captions, one row for each; brackets in them are letters."""
        if self.live_text:
            ids = tuple(tuple(token_ids(self.model.tokenizer, text)) for text in texts)
            return LivePrompts(self.model.text_encoder, ids)
        if self.store:
            return join([self._stored_text(self.store, text) for text in texts])
        batches = range(0, len(texts), self.batch_size)
        return join([self._encode(texts[start : start + self.batch_size]) for start in batches])

    def prompts(self, prompts: Sequence[str]) -> PromptEmbeds | LivePrompts:
        """Encode prompts to draw from, with the weights in them.

        Raises:
            CourseError: see `encode_prompts`.
        """
        texts, weights = split_weights(self.model.tokenizer, prompts)
        return self.texts(texts).weighted(weights)

    @torch.no_grad()
    def pictures(self, pixel_values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Scaled posterior means and standard deviations, both (N, C, h, w), of N pictures (3, H, W) in [-1, 1]."""
        if not self.store:
            return self._encode_pictures(pixel_values)
        stored = [self._stored_picture(self.store, pixels) for pixels in pixel_values]
        means, deviations = zip(*stored, strict=True)
        return torch.cat(means), torch.cat(deviations)

    def _encode_pictures(self, pixel_values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        stack = torch.stack(list(pixel_values)).to(self.model.device, self.model.vae.dtype)
        posterior = self.model.vae.encode(stack).latent_dist
        factor = self.model.vae.config.scaling_factor
        return (posterior.mean * factor).float(), (posterior.std * factor).float()

    def _encode(self, texts: Sequence[str]) -> PromptEmbeds:
        return encode_texts(self.model.tokenizer, self.model.text_encoder, texts)

    def _stored_text(self, store: Store, text: str) -> PromptEmbeds:
        # By its tokens, not its letters: they are what the encoder reads, whatever the tokenizer.
        ids = token_ids(self.model.tokenizer, text)
        key = content_key("text", *ids, MAX_SEQUENCE_LENGTH, self._text_id)
        tensors = store.get_or_make(key, lambda: vars(self._encode([text])))
        return PromptEmbeds(**{name: tensor.to(self.model.device) for name, tensor in tensors.items()})

    def _stored_picture(self, store: Store, pixels: Tensor) -> tuple[Tensor, Tensor]:
        key = content_key("picture", pixels, self.model.vae.config.scaling_factor, self._vae_id)
        names = ("mean", "deviation")
        tensors = store.get_or_make(
            key, lambda: dict(zip(names, self._encode_pictures([pixels]), strict=True))
        )
        mean, deviation = (tensors[name].to(self.model.device) for name in names)
        return mean, deviation


def build_cache(
    model: KolorsModel,
    dataset: Dataset,
    size: tuple[int, int],
    center_crop: bool,
    random_flip: bool,
    generator: torch.Generator,
    batch_size: int = 8,
    *,
    store: Store | None = None,
    masks: bool = False,
    trigger: str = "",
) -> EncodedPictures:
    """Encode every picture (and its mirror image) and every caption; see `encode_captions` and `encode_dataset`."""
    encoder = Encoder(model, batch_size, store)
    prompts = encode_captions(encoder, dataset, trigger)
    return encode_dataset(encoder, dataset, prompts, size, center_crop, random_flip, generator, masks=masks)


def encode_captions(encoder: Encoder, dataset: Dataset, trigger: str = "") -> PromptEmbeds | LivePrompts:
    """Every caption, and the empty prompt.

    Args:
        trigger: words put before every caption.
    """
    captions = [f"{trigger}, {sample.text}" if trigger else sample.text for sample in dataset.samples]
    return encoder.texts([*captions, ""])


def encode_dataset(
    encoder: Encoder,
    dataset: Dataset,
    prompts: PromptEmbeds | LivePrompts,
    size: tuple[int, int],
    center_crop: bool,
    random_flip: bool,
    generator: torch.Generator,
    *,
    masks: bool = False,
) -> EncodedPictures:
    """Encode every picture (and its mirror image), and put its caption to it.

    A random crop is drawn once for each picture and then kept, since the cache holds latents, not pixels.

    Args:
        prompts: what `encode_captions` gave for the same data set.
        size: (width, height) in pixels.
        masks: read the mask that lies beside each picture, see `mask_beside`.

    Raises:
        CourseError: the size is not divisible by what the model needs, or a picture or mask cannot be read.
    """
    model, batch_size = encoder.model, encoder.batch_size
    check_divisible(*size, model.size_multiple)
    versions = []
    for mirrored in (False, True)[: 2 if random_flip else 1]:
        parts = []
        for start in range(0, len(dataset), batch_size):
            samples = dataset.samples[start : start + batch_size]
            prepared = [
                _prepare(sample, size, model, mirrored, center_crop, generator, masks) for sample in samples
            ]
            pixels, conditions, shares = zip(*prepared, strict=True)
            parts.append((*encoder.pictures(pixels), torch.stack(conditions), torch.stack(shares)))
        versions.append([torch.cat(part) for part in zip(*parts, strict=True)])
    latents, deviations, ids, weights = (torch.stack(part) for part in zip(*versions, strict=True))
    ids, weights = ids.to(model.device), weights.to(model.device)
    repeats = tuple(sample.repeats for sample in dataset.samples)
    return EncodedPictures(latents, deviations, ids, prompts, weights if masks else None, repeats)


def _prepare(
    sample: Sample,
    size: tuple[int, int],
    model: KolorsModel,
    mirrored: bool,
    center_crop: bool,
    generator: torch.Generator,
    masks: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (3, H, W), time ids (6,) and latent mask (1, h, w) of one picture; without masks, an empty mask."""
    picture = open_picture(sample.path)
    pictures = [picture, mask_beside(sample.path, picture.size)] if masks else [picture]
    if mirrored:
        pictures = [each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in pictures]
    state = generator.get_state()
    values, conditions = prepare_image(pictures[0], *size, center_crop, False, generator)
    if not masks:
        return values, conditions.time_ids(), torch.empty(0)
    same_crop = torch.Generator()
    same_crop.set_state(state)
    mask, _ = prepare_image(pictures[1], *size, center_crop, False, same_crop)
    return values, conditions.time_ids(), latent_mask(mask, model.vae_scale_factor, sample.path)
