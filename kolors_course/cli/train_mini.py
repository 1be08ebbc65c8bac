"""Train Kolors-mini from scratch: tokenizer, probe, VAE, then U-Net and ChatGLM together.

Every stage logs, keeps checkpoints and resumes; run the same command again after an interruption. Finished stages
are skipped. The result goes to OUTPUT/kolors-mini and OUTPUT/probe-run; copy them to data/ to use them.

    kolors-course train-mini --from data/kolors-mini --base-steps 4000 --learning-rate 5e-4   # go on from there
"""

import argparse
from dataclasses import replace
from pathlib import Path

from diffusers import AutoencoderKL

from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, load_model
from kolors_course.platform.device import limit_threads
from kolors_course.training.base import BaseConfig, save_mini, train_base
from kolors_course.training.mini import build_tokenizer
from kolors_course.training.probe import ProbeConfig, train_probe
from kolors_course.training.vae import VaeConfig, train_vae

STAGES = ("tokenizer", "vae", "probe", "base")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("outputs/mini"), help="default %(default)s")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage; may be repeated")
    parser.add_argument(
        "--from", dest="start", type=Path, metavar="DIR", help="train this Kolors-mini further"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=BaseConfig.learning_rate, help="default %(default)s"
    )
    parser.add_argument("--vae-steps", type=int, default=VaeConfig.steps, help="default %(default)s")
    parser.add_argument("--base-steps", type=int, default=BaseConfig.steps, help="default %(default)s")
    parser.add_argument("--probe-steps", type=int, default=ProbeConfig.steps, help="default %(default)s")


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    folder = arguments.output
    if arguments.start:
        start = load_model(arguments.start)
        _train_base(arguments, start.vae, start.tokenizer, start)
        return 0
    stages = arguments.stage or STAGES
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
        _train_base(arguments, vae, tokenizer, None)
    return 0


def _train_base(arguments: argparse.Namespace, vae, tokenizer, start: KolorsModel | None) -> None:
    config = replace(BaseConfig(), steps=arguments.base_steps, learning_rate=arguments.learning_rate)
    run_folder = arguments.output / ("further-run" if start else "base-run")
    save_mini(train_base(config, vae, tokenizer, run_folder, start), arguments.output / "kolors-mini")
    print(f"wrote {arguments.output}/kolors-mini")
