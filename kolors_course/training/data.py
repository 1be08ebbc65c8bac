"""Everything a LoRA training reads, encoded before its first step."""

from collections import defaultdict
from dataclasses import dataclass, replace

import torch

from kolors_course.dataset import Dataset
from kolors_course.dataset.buckets import assign_bucket, candidate_buckets, step_for
from kolors_course.kolors.generate import Sampling
from kolors_course.kolors.model import KolorsModel
from kolors_course.training.batches import PictureStream
from kolors_course.training.cache import Encoder, TrainingCache, build_cache
from kolors_course.training.randomness import CROP, generator_for
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.samples import SampleSheet
from kolors_course.training.store import Store
from kolors_course.training.validation import hold_out

SAMPLE_STEPS = 20


@dataclass(frozen=True)
class TrainingData:
    """Encoded pictures and prompts.

    Attributes:
        train: what is learned.
        prior: pictures of what must not be forgotten, or None (prior preservation, arXiv 2208.12242).
        held_out: what validation looks at; empty without validation.
        sheet: the prompts drawn while training, or None.
    """

    train: PictureStream
    prior: PictureStream | None
    held_out: tuple[TrainingCache, ...]
    sheet: SampleSheet | None


def training_size(recipe: LoraTraining, model: KolorsModel) -> tuple[int, int]:
    """(width, height) of the training pictures; with buckets, of the square one among them."""
    return recipe.size or (model.default_size, model.default_size)


def split_by_size(
    dataset: Dataset, size: tuple[int, int], buckets: bool, multiple: int
) -> dict[tuple[int, int], Dataset]:
    """The pictures by the (width, height) they are trained at: all at `size`, or in buckets of at most its area.

    Args:
        multiple: the sides of a bucket are divisible by it.
    """
    if not buckets:
        return {size: dataset}
    area = size[0] * size[1]
    candidates = candidate_buckets(area, -(-step_for(area) // multiple) * multiple)
    groups = defaultdict(list)
    for sample in dataset.samples:
        groups[assign_bucket(sample.size, candidates)].append(sample)
    return {bucket: replace(dataset, samples=tuple(groups[bucket])) for bucket in sorted(groups)}


def encode_training_data(
    model: KolorsModel,
    dataset: Dataset,
    prior: Dataset | None,
    recipe: LoraTraining,
    store: Store | None = None,
) -> TrainingData:
    """Encode data set, prior pictures and sample prompts.

    Raises:
        CourseError: see `hold_out` and `build_cache`.
    """
    train, held_out = hold_out(dataset, recipe.validation.share, recipe.seed)
    crops = generator_for(recipe.seed, CROP)

    def encode(part: Dataset, flip: bool, trigger: str) -> tuple[TrainingCache, ...]:
        return _encode(model, part, recipe, crops, flip, trigger, store)

    def stream(caches: tuple[TrainingCache, ...]) -> PictureStream:
        return PictureStream(caches, recipe.seed, recipe.caption_dropout, recipe.data.sample_posterior)

    return TrainingData(
        train=stream(encode(train, recipe.random_flip, recipe.data.trigger)),
        prior=stream(encode(prior, recipe.random_flip, "")) if prior else None,
        held_out=encode(held_out, False, recipe.data.trigger),
        sheet=_sample_sheet(model, recipe, store),
    )


def _encode(
    model: KolorsModel,
    dataset: Dataset,
    recipe: LoraTraining,
    crops: torch.Generator,
    flip: bool,
    trigger: str,
    store: Store | None,
) -> tuple[TrainingCache, ...]:
    if not dataset.samples:
        return ()
    groups = split_by_size(dataset, training_size(recipe, model), recipe.data.buckets, model.size_multiple)
    options = {"store": store, "masks": recipe.data.masks, "trigger": trigger}
    return tuple(
        build_cache(model, part, size, recipe.center_crop, flip, crops, recipe.batch_size, **options)
        for size, part in groups.items()
    )


def _sample_sheet(model: KolorsModel, recipe: LoraTraining, store: Store | None) -> SampleSheet | None:
    if not recipe.sample_prompts:
        return None
    sampling = Sampling(size=recipe.size, steps=SAMPLE_STEPS, batch_size=recipe.batch_size)
    return SampleSheet.encode(Encoder(model, recipe.batch_size, store), recipe.sample_prompts, sampling)
