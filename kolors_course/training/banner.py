"""Four lines that say what is about to be trained."""

from kolors_course.dataset import Report
from kolors_course.errors import brief
from kolors_course.training.batches import PictureStream
from kolors_course.training.learning import parameters_of
from kolors_course.training.resume import DECIDED
from kolors_course.training.trainer import LoraTrainer


def banner(trainer: LoraTrainer, report: Report) -> list[str]:
    """Pictures, steps and learning rate, device and what learns, and what the data check warned of."""
    return [
        f"pictures: {_pictures(trainer)}",
        f"training: {_training(trainer)}",
        f"learning: {_learning(trainer)}",
        f"warnings: {_warnings(report)}",
    ]


def _pictures(trainer: LoraTrainer) -> str:
    data, cut = trainer.data, trainer.model.vae_scale_factor
    shapes = [encoded.latents.shape[-2:] for encoded in data.train.pictures]
    sizes = [f"{width * cut}x{height * cut}" for height, width in shapes]
    more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    parts = [f"{_count(data.train)} at {', '.join(sizes[:3])}{more}"]
    if data.prior:
        parts.append(f"{_count(data.prior)} that must not be forgotten")
    if data.held_out:
        parts.append(f"{sum(map(len, data.held_out))} held out for validation")
    return ", ".join(parts)


def _count(stream: PictureStream) -> str:
    return f"{len(stream)} picture{'s' if len(stream) != 1 else ''}"


def _training(trainer: LoraTrainer) -> str:
    recipe, processes = trainer.recipe, trainer.accelerator.num_processes
    batch = recipe.batch_size * recipe.gradient_accumulation * processes
    times = recipe.steps * batch / len(trainer.data.train)
    done = f" (from step {trainer.step})" if trainer.step else ""
    rates = ", ".join(f"{group['lr']:g}" for group in trainer.learner.groups())
    return (
        f"{recipe.steps:,} steps x {batch} pictures{done}, each picture {times:.3g} times; learning rate {rates} "
        f"({recipe.optimizer.name}, {recipe.optimizer.schedule} after {recipe.warmup} steps of warm-up)"
    )


def _learning(trainer: LoraTrainer) -> str:
    settings, device = trainer.recipe.settings, trainer.model.device
    count = sum(parameter.numel() for parameter in parameters_of(trainer.learner))
    return (
        f"{count:,} numbers of a {settings.kind.label} of rank {settings.rank}, alpha {settings.alpha:g}, "
        f"on {device}, precision {DECIDED[trainer.accelerator.mixed_precision]}, base model {trainer.model.name}"
    )


def _warnings(report: Report) -> str:
    warnings = [finding for finding in report.findings if finding.verdict != "ok"]
    if not warnings:
        return "none, the data check found nothing to complain of"
    text = brief(warnings[0].text, 120)
    more = (
        f" (and {len(warnings) - 1} more: kolors-course check-dataset {report.folder})"
        if len(warnings) > 1
        else ""
    )
    return text + more
