"""What a plan says of the memory, told by the flags of train-lora."""

import torch

from kolors_course.kolors import KolorsModel
from kolors_course.platform.machine import GIB
from kolors_course.training.names import FLAGS
from kolors_course.training.plan import Saving, TrainingPlan, ways_to_fit

LOWER = (
    "lower --batch_size, --lora_rank or --height and --width, or add --use_gradient_checkpointing or "
    "--quantize nf4"
)


def flags_for(saving: Saving) -> str:
    """The flags that make a training run smaller."""
    changes = {**saving.settings, "quantize": saving.quantize}
    words = [
        FLAGS[name] if value is True else f"{FLAGS[name]} {value}"
        for name, value in changes.items()
        if value is not None
    ]
    if saving.more_batches > 1:
        words.append(f"and {saving.more_batches} times the --steps_per_epoch")
    return " ".join(words)


def advice(
    model: KolorsModel, plan: TrainingPlan, device: torch.device, budget: int, *, prior: bool = False
) -> list[str]:
    """Whether a plan fits into `budget` bytes, and if not, what to change; as text."""
    size = f"{budget / GIB:g} GiB"
    lines = [
        f"{phase.name} needs {phase.peak / GIB:.1f} GiB, more than {size}, whatever the recipe"
        for phase in plan.phases[:-1]
        if phase.peak > budget
    ]
    if plan.peak <= budget:
        return [f"it fits into {size}"]
    for saving, smaller in ways_to_fit(model, plan, device, budget, prior=prior):
        plan = smaller
        lines.append(f"with {flags_for(saving)} the training needs {plan.phases[-1].peak / GIB:.1f} GiB")
    if plan.phases[-1].peak > budget:
        lines.append("that is still too much: use a smaller --height and --width, or a smaller rank")
    return lines
