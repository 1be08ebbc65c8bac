"""Which numbers a recipe may hold, by the path of each setting; read by recipes and by the command's flags."""

from typing import Any

from kolors_course.ranges import POSITIVE, SEED, SHARE, Range, whole

MANY = 10_000_000
STEPS = whole(1, MANY)
LEARNING_RATE = Range(0, 1_000, above=True)

LIMITS = {
    "steps": STEPS,
    "batch_size": whole(1, 100_000),
    "learning_rate": LEARNING_RATE,
    "warmup": whole(0, MANY),
    "weight_decay": Range(0, 1_000),
    "gradient_accumulation": whole(1, 100_000),
    "settings.rank": whole(1, 16_384),
    "settings.alpha": POSITIVE,
    "lora_dropout": Range(0, 1, below=True),
    "text_learning_rate": LEARNING_RATE,
    "loraplus_ratio": Range(1, 10_000),
    "loss.huber_c": POSITIVE,
    "loss.min_snr_gamma": POSITIVE,
    "loss.noise_offset": SHARE,
    "data.prior_weight": POSITIVE,
    "validation.share": Range(0, 1, below=True),
    "validation.every": STEPS,
    "validation.timesteps": whole(1, 1100),
    "validation.patience": STEPS,
    "side": whole(8, 16_384),
    "caption_dropout": SHARE,
    "ema_decay": Range(0, 1, above=True, below=True),
    "max_grad_norm": Range(0, 1e12, above=True),
    "seed": SEED,
    "checkpoint_every": STEPS,
    "save_every": STEPS,
    "sample_every": STEPS,
    # of Kolors-mini
    "pictures": whole(1, MANY),
    "captions": whole(1, 1_000),
    "styled_share": SHARE,
    "ema_share": SHARE,
    "critic_weight": Range(0, 1_000),
    "foreign_share": SHARE,
    "foreign_pool": whole(0, MANY),
    "latent_channels": whole(1, 64),
    "layers_per_block": whole(1, 8),
}


def check_numbers(recipe: Any, optional: tuple[str, ...] = ()) -> None:
    """Refuse a recipe with a number of its own out of range.

    Args:
        optional: settings that may be None.

    Raises:
        CourseError: the first of them.
    """
    for name, value in vars(recipe).items():
        if name in LIMITS and not (value is None and name in optional):
            LIMITS[name].check(name, value)
