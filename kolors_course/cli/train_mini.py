"""Train Kolors-mini from scratch: tokenizer, probe, VAE, then U-Net and ChatGLM together.

Every stage logs, keeps checkpoints and resumes; run the same command again after an interruption. Finished stages
are skipped. The result goes to OUTPUT/kolors-mini and OUTPUT/probe-run; copy them to data/ to use them.

    kolors-course train-mini --from data/kolors-mini --base-steps 3500 --learning-rate 5e-4   # go on from there
    kolors-course train-mini --from data/kolors-mini --stage decoder                          # sharper pictures
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
SHARPEN = VaeConfig(steps=1500, learning_rate=1e-3, edge_weight=1.0, style_share=0.3, seed=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("outputs/mini"), help="default %(default)s")
    parser.add_argument(
        "--stage",
        choices=(*STAGES, "decoder"),
        action="append",
        help="only this stage; may be repeated. decoder: sharpen the VAE's decoder of the model given by --from",
    )
    parser.add_argument(
        "--from", dest="start", type=Path, metavar="DIR", help="train this Kolors-mini further"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=BaseConfig.learning_rate, help="default %(default)s"
    )
    parser.add_argument("--vae-steps", type=int, default=VaeConfig.steps, help="default %(default)s")
    parser.add_argument("--base-steps", type=int, default=BaseConfig.steps, help="default %(default)s")
    parser.add_argument(
        "--styled-share",
        type=float,
        default=BaseConfig.styled_share,
        help="part of each batch that is drawn in a style (default %(default)s)",
    )
    parser.add_argument("--probe-steps", type=int, default=ProbeConfig.steps, help="default %(default)s")


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    folder = arguments.output
    stages = arguments.stage or STAGES
    if "decoder" in stages and not arguments.start:
        raise CourseError("the stage decoder goes on from a finished model; name it with --from DIR")
    tokenizer = build_tokenizer(folder / "tokenizer")
    print(f"tokenizer: {tokenizer.vocab_size} pieces")
    if arguments.start:
        start = load_model(arguments.start)
        if "decoder" in stages:
            vae = train_vae(SHARPEN, folder / "decoder-run", start.vae)
            save_mini(replace(start, vae=vae), folder / "kolors-mini")
        else:
            _train_base(arguments, start.vae, tokenizer, start)
        return 0
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
    config = BaseConfig(
        steps=arguments.base_steps,
        learning_rate=arguments.learning_rate,
        styled_share=arguments.styled_share,
    )
    run_folder = arguments.output / ("further-run" if start else "base-run")
    save_mini(train_base(config, vae, tokenizer, run_folder, start), arguments.output / "kolors-mini")
    print(f"wrote {arguments.output}/kolors-mini")
