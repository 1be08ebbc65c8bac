"""Train a LoRA. Flags have the names, meanings and (on full Kolors) defaults of the camp's train_kolors_lora.py.

    kolors-course train-lora --dataset_path data/datasets/paper-cut --output_path outputs/paper-cut
    kolors-course train-lora --pretrained_unet_path models/kolors/Kolors/unet/diffusion_pytorch_model.safetensors \\
        --pretrained_text_encoder_path models/kolors/Kolors/text_encoder \\
        --pretrained_fp16_vae_path models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors \\
        --lora_rank 16 --lora_alpha 4.0 --dataset_path data/lora_dataset --output_path ./models --max_epochs 1

`python -m kolors_course.train_kolors_lora` is the same command, and what `accelerate launch -m` starts on several
devices. The same command resumes an interrupted run; --overwrite starts anew. An "epoch" is --steps_per_epoch
batches, as in the camp, but pictures are drawn so that each comes once before any comes again. --plan says beforehand
what a training run takes; on full Kolors that is printed before each one.

What the camp's trainer has no flags for is set to what trains better: a warm-up and a cosine, min-SNR weights,
dropped captions, clipped gradients. Its own plain recipe is --warmup_steps 0 --lr_schedule constant
--min_snr_gamma 0 --caption_dropout 0 --max_grad_norm 1e9.

--config FILE reads flags from YAML lines such as `lora_rank: 16`; those of the command line win. config.yaml beside
every result holds all flags of its training run:

    kolors-course train-lora --config outputs/paper-cut/config.yaml --output_path outputs/again

A sample prompt may bring its own seed, negative prompt and guidance, and in YAML be a mapping of these names:

    --sample_prompt "a red cat --seed 3 --negative blurry, dark --guidance 4"
    sample_prompt: [{prompt: a red cat, seed: 3, negative: "blurry, dark", guidance: 4}, a dog]
"""

import argparse
from typing import Any

from kolors_course.cli.configuration import ConfigParser, Switch
from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number
from kolors_course.kolors.choices import QUANTIZATIONS
from kolors_course.lora.choices import INITIALISATIONS, KIND_NAMES, TARGETS
from kolors_course.ranges import Range, whole
from kolors_course.training.choices import (
    LOGGERS,
    LOSSES,
    MIN_SNR_GAMMA,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    STRATEGIES,
)
from kolors_course.training.limits import LIMITS
from kolors_course.training.sample_prompts import parse_sample_prompt


def of(setting: str) -> dict[str, Any]:
    """The type of a flag that sets a number of the recipe."""
    return {"type": number(LIMITS[setting])}


PARSER = ConfigParser
YES = {"action": Switch}
# group -> (name, options of argparse, help)
FLAGS = {
    "model (default: that of KOLORS_PROFILE)": (
        ("--model", {"metavar": "DIR"}, "model in diffusers layout, or the older one of Kwai-Kolors/Kolors"),
        (
            "--pretrained_unet_path",
            {"metavar": "FILE"},
            "U-Net weights; full Kolors' where no config.json lies beside them",
        ),
        ("--pretrained_text_encoder_path", {"metavar": "DIR"}, "ChatGLM folder"),
        ("--pretrained_fp16_vae_path", {"metavar": "FILE"}, "VAE weights, likewise"),
        (
            "--tokenizer_path",
            {"metavar": "DIR"},
            "of these three paths, where tokenizer.model lies (default: in or beside the ChatGLM folder)",
        ),
        ("--device", {}, "cuda, mps or cpu (default: the best there is)"),
    ),
    "data": (
        ("--dataset_path", {}, "folder of pictures and captions, see check-dataset"),
        ("--height", of("side"), "picture height (default: 1024 on full Kolors, 128 on Kolors-mini)"),
        ("--width", of("side"), "picture width (likewise)"),
        ("--center_crop", YES, "crop the middle; else a random part, drawn once for each picture"),
        ("--random_flip", YES, "mirror half of the pictures"),
        ("--buckets", YES, "train each picture near its own shape, at the area of --height x --width"),
        ("--masks", YES, "learn only the white part of cat-masklabel.png beside cat.jpg"),
        ("--sample_posterior", YES, "draw latents from the VAE's posterior instead of taking its mean"),
        ("--trigger", {"default": "", "metavar": "WORDS"}, "words put before every caption"),
        ("--prior_path", {"metavar": "DIR"}, "a data set of what must not be forgotten (prior preservation)"),
        ("--prior_weight", of("data.prior_weight"), "of the loss on it (default 1)"),
        (
            "--dataloader_num_workers",
            {"type": number(whole(0, 1024)), "default": 0},
            "accepted from the camp's commands; has no work here, because latents are computed once",
        ),
    ),
    "training": (
        ("--max_epochs", of("steps") | {"default": 1}, ""),
        (
            "--steps_per_epoch",
            of("steps"),
            "batches of each process in an epoch; default: 500 on full Kolors, 300 on Kolors-mini",
        ),
        ("--batch_size", of("batch_size"), "of each process; default: 1 on full Kolors, 8 on Kolors-mini"),
        (
            "--learning_rate",
            of("learning_rate"),
            "default: 1e-4 on full Kolors, 1e-3 on Kolors-mini; 1 with prodigy, which finds its own",
        ),
        (
            "--precision",
            {"choices": (*PRECISIONS, "16")},
            "16 is 16-mixed; default: 16-mixed on full Kolors (bf16 is safer where the GPU has it), else auto",
        ),
        (
            "--quantize",
            {"choices": QUANTIZATIONS},
            "keep the base model's large layers in 4 or 8 bits (QLoRA)",
        ),
        (
            "--accumulate_grad_batches",
            of("gradient_accumulation") | {"default": 1},
            "batches that make one step of the optimizer; an epoch then has fewer steps",
        ),
        ("--use_gradient_checkpointing", YES, "less memory, more time"),
        ("--caption_dropout", of("caption_dropout") | {"default": 0.1}, ""),
        ("--warmup_steps", of("warmup") | {"default": 20}, ""),
        ("--optimizer", {"default": "adamw", "choices": tuple(OPTIMIZERS)}, ""),
        (
            "--lr_schedule",
            {"choices": SCHEDULES},
            "after the warm-up; default: cosine, or constant with adamw-schedule-free",
        ),
        ("--weight_decay", of("weight_decay") | {"default": 0.01}, ""),
        ("--max_grad_norm", of("max_grad_norm") | {"default": 1.0}, "longer gradients are shortened to it"),
        ("--ema_decay", of("ema_decay"), "save a moving average of the LoRA, such as 0.99"),
        ("--seed", of("seed") | {"default": 0}, ""),
    ),
    "loss": (
        ("--loss", {"default": "mse", "choices": LOSSES}, ""),
        ("--huber_c", of("loss.huber_c"), "where the Huber loss becomes a straight line (default 0.1)"),
        (
            "--min_snr_gamma",
            {"type": number(Range(0, 1_000_000))},
            f"0 for the plain loss (default {MIN_SNR_GAMMA:g}, or none with --debiased)",
        ),
        ("--debiased", YES, "weight timesteps by 1/sqrt(SNR) instead"),
        (
            "--noise_offset",
            of("loss.noise_offset") | {"default": 0.0},
            "learn brightness too, with about 0.05",
        ),
    ),
    "LoRA": (
        ("--lora_rank", of("settings.rank") | {"default": 4}, ""),
        (
            "--lora_dropout",
            of("lora_dropout") | {"default": 0.0},
            "share of each layer's inputs left out at random",
        ),
        (
            "--loraplus_lr_ratio",
            of("loraplus_ratio"),
            "let B learn so many times as fast as A (LoRA+), such as 16",
        ),
        ("--lora_alpha", of("settings.alpha") | {"default": 4.0}, "scale is alpha/rank"),
        (
            "--lora_target_modules",
            {"default": "to_q,to_k,to_v,to_out"},
            f"names, or one of {', '.join(TARGETS)}",
        ),
        ("--init_lora_weights", {"choices": INITIALISATIONS}, "of a LoRA; default: kaiming"),
        (
            "--adapter",
            {"default": "lora", "choices": KIND_NAMES},
            "LoKr and LoHa have fewer numbers, or a higher rank",
        ),
        ("--use_rslora", YES, "scale alpha/sqrt(rank)"),
        ("--use_dora", YES, "learn the length of each weight row apart from its direction"),
        ("--text_encoder_lora", YES, "train a LoRA of ChatGLM too; it then stays in memory"),
        (
            "--text_encoder_lr",
            of("text_learning_rate"),
            "learning rate of that LoRA; default: --learning_rate",
        ),
        ("--pretrained_lora_path", {"metavar": "FILE"}, "start from this LoRA"),
    ),
    "watching": (
        (
            "--validation_share",
            of("validation.share") | {"default": 0.0},
            "part of the pictures held out for a validation loss",
        ),
        ("--validate_every", of("validation.every"), "steps (default 50)"),
        (
            "--patience",
            of("validation.patience"),
            "stop after so many validations without a better one, and keep the best LoRA",
        ),
        (
            "--sample_prompt",
            {"action": "append", "default": [], "type": parse_sample_prompt, "metavar": "TEXT"},
            "drawn while training; may be repeated, and followed by --seed, --negative, --guidance, see above",
        ),
        ("--sample_every", of("sample_every"), "steps (default 100)"),
        (
            "--log_with",
            {"action": "append", "default": [], "choices": LOGGERS},
            "may be repeated; tensorboard shows the samples too",
        ),
        ("--use_swanlab", YES, "the same as --log_with swanlab"),
        ("--swanlab_mode", {"choices": ("cloud", "local", "offline", "disabled")}, "where SwanLab logs to"),
    ),
    "running": (
        ("--config", {"metavar": "FILE"}, "read flags from this YAML file, see above"),
        ("--output_path", {"default": "./"}, "where log, checkpoints and lora.safetensors go"),
        (
            "--plan",
            {"nargs": "?", "type": number(Range(0, 1_000_000)), "const": 0.0, "metavar": "GIB"},
            "only say how much memory and computing the training would take, and what to change to make it fit into "
            "GIB; full Kolors need not be there for that",
        ),
        ("--overwrite", YES, "discard an earlier run in --output_path"),
        (
            "--save_every",
            of("save_every"),
            "steps; keep the LoRA of each such step too, as lora-step-000100.safetensors",
        ),
        ("--checkpoint_every", of("checkpoint_every") | {"default": 100}, "steps"),
        (
            "--cache_path",
            {"metavar": "DIR"},
            "keeps encoded pictures and captions (default: cache/ in --output_path)",
        ),
        (
            "--training_strategy",
            {"default": "auto", "choices": STRATEGIES},
            "DeepSpeed shares memory among GPUs",
        ),
        ("--modelscope_model_id", {"metavar": "OWNER/NAME"}, "push the LoRA there after training"),
        ("--modelscope_access_token", {"metavar": "TOKEN"}, ""),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for title, flags in FLAGS.items():
        group = parser.add_argument_group(title)
        for name, options, text in flags:
            shown = options.get("default") not in (None, "", [])
            default = "default %(default)s" if shown else ""
            group.add_argument(
                name, **options, help=f"{text} ({default})" if text and default else text or default
            )
    shared.add_json(parser)
