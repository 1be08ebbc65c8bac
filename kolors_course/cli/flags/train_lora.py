"""Train a LoRA. Flags have the names, meanings and (on full Kolors) defaults of the camp's train_kolors_lora.py.

    kolors-course train-lora --dataset_path data/datasets/paper-cut --output_path outputs/paper-cut
    kolors-course train-lora --pretrained_unet_path models/kolors/Kolors/unet/diffusion_pytorch_model.safetensors \\
        --pretrained_text_encoder_path models/kolors/Kolors/text_encoder \\
        --pretrained_fp16_vae_path models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors \\
        --lora_rank 16 --lora_alpha 4.0 --dataset_path data/lora_dataset --output_path ./models --max_epochs 1

`python -m kolors_course.train_kolors_lora` is the same command, and what `accelerate launch -m` starts on several
devices. The same command resumes an interrupted run; --overwrite starts anew. An "epoch" is --steps_per_epoch
batches, as in the camp, but pictures are drawn so that each comes once before any comes again. --plan says beforehand
what a training takes; on full Kolors that is printed before each one.

What the camp's trainer has no flags for is set to what trains better: a warm-up and a cosine, min-SNR weights,
dropped captions, clipped gradients. Its own plain recipe is --warmup_steps 0 --lr_schedule constant
--min_snr_gamma 0 --caption_dropout 0 --max_grad_norm 1e9.
"""

import argparse

from kolors_course.cli.flags import shared
from kolors_course.kolors.choices import QUANTIZATIONS
from kolors_course.lora.choices import INITIALISATIONS, KINDS, TARGETS
from kolors_course.training.choices import (
    LOGGERS,
    LOSSES,
    MIN_SNR_GAMMA,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    STRATEGIES,
)

WHOLE, NUMBER, YES = {"type": int}, {"type": float}, {"action": "store_true"}
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
        ("--height", WHOLE, "picture height (default: 1024 on full Kolors, 128 on Kolors-mini)"),
        ("--width", WHOLE, "picture width (likewise)"),
        ("--center_crop", YES, "crop the middle; else a random part, drawn once for each picture"),
        ("--random_flip", YES, "mirror half of the pictures"),
        ("--buckets", YES, "train each picture near its own shape, at the area of --height x --width"),
        ("--masks", YES, "learn only the white part of cat-masklabel.png beside cat.jpg"),
        ("--sample_posterior", YES, "draw latents from the VAE's posterior instead of taking its mean"),
        ("--trigger", {"default": "", "metavar": "WORDS"}, "words put before every caption"),
        ("--prior_path", {"metavar": "DIR"}, "a data set of what must not be forgotten (prior preservation)"),
        ("--prior_weight", NUMBER | {"default": 1.0}, "of the loss on it"),
        (
            "--dataloader_num_workers",
            WHOLE | {"default": 0},
            "accepted from the camp's commands; has no work here, because latents are computed once",
        ),
    ),
    "training": (
        ("--max_epochs", WHOLE | {"default": 1}, ""),
        (
            "--steps_per_epoch",
            WHOLE,
            "batches of each process in an epoch; default: 500 on full Kolors, 300 on Kolors-mini",
        ),
        ("--batch_size", WHOLE, "of each process; default: 1 on full Kolors, 8 on Kolors-mini"),
        (
            "--learning_rate",
            NUMBER,
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
            WHOLE | {"default": 1},
            "batches that make one step of the optimizer; an epoch then has fewer steps",
        ),
        ("--use_gradient_checkpointing", YES, "less memory, more time"),
        ("--caption_dropout", NUMBER | {"default": 0.1}, ""),
        ("--warmup_steps", WHOLE | {"default": 20}, ""),
        ("--optimizer", {"default": "adamw", "choices": tuple(OPTIMIZERS)}, ""),
        (
            "--lr_schedule",
            {"choices": SCHEDULES},
            "after the warm-up; default: cosine, or constant with adamw-schedule-free",
        ),
        ("--weight_decay", NUMBER | {"default": 0.01}, ""),
        ("--max_grad_norm", NUMBER | {"default": 1.0}, "longer gradients are shortened to it"),
        ("--ema_decay", NUMBER, "save a moving average of the LoRA, such as 0.99"),
        ("--seed", WHOLE | {"default": 0}, ""),
    ),
    "loss": (
        ("--loss", {"default": "mse", "choices": LOSSES}, ""),
        ("--huber_c", NUMBER | {"default": 0.1}, "where the Huber loss becomes a straight line"),
        (
            "--min_snr_gamma",
            NUMBER,
            f"0 for the plain loss (default {MIN_SNR_GAMMA:g}, or none with --debiased)",
        ),
        ("--debiased", YES, "weight timesteps by 1/sqrt(SNR) instead"),
        ("--noise_offset", NUMBER | {"default": 0.0}, "learn brightness too, with about 0.05"),
    ),
    "LoRA": (
        ("--lora_rank", WHOLE | {"default": 4}, ""),
        ("--lora_alpha", NUMBER | {"default": 4.0}, "scale is alpha/rank"),
        (
            "--lora_target_modules",
            {"default": "to_q,to_k,to_v,to_out"},
            f"names, or one of {', '.join(TARGETS)}",
        ),
        ("--init_lora_weights", {"default": "kaiming", "choices": INITIALISATIONS}, ""),
        (
            "--adapter",
            {"default": "lora", "choices": KINDS},
            "LoKr and LoHa have fewer numbers, or a higher rank",
        ),
        ("--use_rslora", YES, "scale alpha/sqrt(rank)"),
        ("--use_dora", YES, "learn the length of each weight row apart from its direction"),
        ("--text_encoder_lora", YES, "train a LoRA of ChatGLM too; it then stays in memory"),
        ("--pretrained_lora_path", {"metavar": "FILE"}, "start from this LoRA"),
    ),
    "watching": (
        (
            "--validation_share",
            NUMBER | {"default": 0.0},
            "part of the pictures held out for a validation loss",
        ),
        ("--validate_every", WHOLE | {"default": 50}, "steps"),
        ("--patience", WHOLE, "stop after so many validations without a better one, and keep the best LoRA"),
        ("--sample_prompt", {"action": "append", "default": []}, "drawn while training; may be repeated"),
        ("--sample_every", WHOLE | {"default": 100}, "steps"),
        ("--log_with", {"action": "append", "default": [], "choices": LOGGERS}, "may be repeated"),
        ("--use_swanlab", YES, "the same as --log_with swanlab"),
        ("--swanlab_mode", {"choices": ("cloud", "local", "offline", "disabled")}, "where SwanLab logs to"),
    ),
    "running": (
        ("--output_path", {"default": "./"}, "where log, checkpoints and lora.safetensors go"),
        (
            "--plan",
            {"nargs": "?", "type": float, "const": 0.0, "metavar": "GIB"},
            "only say how much memory and computing the training would take, and what to change to make it fit into "
            "GIB; full Kolors need not be there for that",
        ),
        ("--overwrite", YES, "discard an earlier run in --output_path"),
        ("--checkpoint_every", WHOLE | {"default": 100}, "steps"),
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
