"""Train Kolors-mini from scratch: tokenizer, probe, VAE, then U-Net and ChatGLM together.

Every stage logs, keeps checkpoints and resumes; run the same command again after an interruption. Finished stages
are skipped. The result goes to OUTPUT/kolors-mini and OUTPUT/probe-run; copy them to data/ to use them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from diffusers import AutoencoderKL

from kolors_course.errors import CourseError
from kolors_course.platform.device import limit_threads
from kolors_course.training.base import BaseConfig, save_mini, train_base
from kolors_course.training.mini import build_tokenizer
from kolors_course.training.probe import ProbeConfig, train_probe
from kolors_course.training.vae import VaeConfig, train_vae

STAGES = ("tokenizer", "vae", "probe", "base")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("outputs/mini"), help="default %(default)s")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage; may be repeated")
    parser.add_argument("--vae-steps", type=int, default=VaeConfig.steps, help="default %(default)s")
    parser.add_argument("--base-steps", type=int, default=BaseConfig.steps, help="default %(default)s")
    parser.add_argument("--probe-steps", type=int, default=ProbeConfig.steps, help="default %(default)s")


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    stages, folder = arguments.stage or STAGES, arguments.output
    tokenizer = build_tokenizer(folder / "tokenizer")
    print(f"tokenizer: {tokenizer.vocab_size} pieces")
    if "vae" in stages:
        train_vae(replace(VaeConfig(), steps=arguments.vae_steps), folder / "vae-run")
    if "probe" in stages:
        card = train_probe(replace(ProbeConfig(), steps=arguments.probe_steps), folder / "probe-run")
        print("probe accuracy on fresh renders:", card)
    if "base" in stages:
        trained = folder / "vae-run" / "vae"
        if not trained.is_dir():
            raise CourseError(f"there is no VAE in {trained}; run the stage vae first")
        vae = AutoencoderKL.from_pretrained(trained, local_files_only=True)
        config = replace(BaseConfig(), steps=arguments.base_steps)
        save_mini(train_base(config, vae, tokenizer, folder / "base-run"), folder / "kolors-mini")
        print(f"wrote {folder}/kolors-mini")
    return 0
