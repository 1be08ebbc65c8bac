"""Everything a LoRA training run reads, encoded before its first step."""

from collections import defaultdict
from dataclasses import dataclass, replace

from kolors_course.dataset import Dataset
from kolors_course.dataset.buckets import assign_bucket, candidate_buckets, step_for
from kolors_course.kolors.model import KolorsModel
from kolors_course.training.batches import PictureStream
from kolors_course.training.cache import EncodedPictures, Encoder, encode_captions, encode_dataset
from kolors_course.training.randomness import CROP, generator_for
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.samples import SampleSheet
from kolors_course.training.store import Store
from kolors_course.training.validation import hold_out


@dataclass(frozen=True)
class TrainingData:
    """All that a training run learns from and is judged on, encoded.

    Attributes:
        train: what is learned.
        prior: pictures of what must not be forgotten, or None (prior preservation, arXiv 2208.12242).
        held_out: what validation looks at; empty without validation.
        sheet: the prompts drawn while training, or None.
    """

    train: PictureStream
    prior: PictureStream | None
    held_out: tuple[EncodedPictures, ...]
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
    *,
    free_encoders: bool = False,
) -> TrainingData:
    """Encode data set, prior pictures and sample prompts: first all texts, then all pictures.

    Args:
        free_encoders: give the text encoder's memory back, for good, before the VAE is needed, unless it is trained;
            and leave the VAE on the CPU. Of a model that was loaded in phases, one network at a time is then in
            memory.

    Raises:
        CourseError: see `hold_out` and `encode_dataset`.
    """
    train, held_out = hold_out(dataset, recipe.validation.share, recipe.seed)
    jobs = [
        *_jobs(model, train, recipe, recipe.random_flip, recipe.data.trigger, "train"),
        *_jobs(model, prior, recipe, recipe.random_flip, "", "prior"),
        *_jobs(model, held_out, recipe, False, recipe.data.trigger, "held_out"),
    ]
    encoder = Encoder(model, recipe.batch_size, store, recipe.text_encoder_lora)
    model.fetch("text_encoder")
    prompts = [encode_captions(encoder, job.dataset, job.trigger) for job in jobs]
    sheet = _sample_sheet(encoder, recipe)
    if free_encoders and not recipe.text_encoder_lora:
        model.free("text_encoder")
    model.fetch("vae")
    crops, encoded = generator_for(recipe.seed, CROP), defaultdict(list)
    for job, captions in zip(jobs, prompts, strict=True):
        pictures = encode_dataset(
            encoder,
            job.dataset,
            captions,
            job.size,
            recipe.center_crop,
            job.flip,
            crops,
            masks=recipe.data.masks,
        )
        encoded[job.part].append(pictures)
    if free_encoders:
        model.vae.to("cpu")  # sample sheets fetch it from there

    def stream(part: str) -> PictureStream:
        sampled = recipe.data.sample_posterior
        return PictureStream(tuple(encoded[part]), recipe.seed, recipe.caption_dropout, sampled)

    return TrainingData(
        train=stream("train"),
        prior=stream("prior") if prior else None,
        held_out=tuple(encoded["held_out"]),
        sheet=sheet,
    )


@dataclass(frozen=True)
class _Job:
    """Pictures of one size that are encoded together for `part`."""

    part: str
    dataset: Dataset
    size: tuple[int, int]
    flip: bool
    trigger: str


def _jobs(
    model: KolorsModel, dataset: Dataset | None, recipe: LoraTraining, flip: bool, trigger: str, part: str
) -> list[_Job]:
    if dataset is None or not dataset.samples:
        return []
    groups = split_by_size(dataset, training_size(recipe, model), recipe.data.buckets, model.size_multiple)
    return [_Job(part, group, size, flip, trigger) for size, group in groups.items()]


def _sample_sheet(encoder: Encoder, recipe: LoraTraining) -> SampleSheet | None:
    if not recipe.sample_prompts:
        return None
    sampling = replace(encoder.model.sampling, size=recipe.size, batch_size=recipe.batch_size)
    return SampleSheet.encode(encoder, recipe.sample_prompts, sampling)
