"""Train Kolors-mini from scratch: tokenizer, pictures, VAE, probe, then U-Net and ChatGLM together.

Every stage logs, keeps checkpoints and resumes; run the same command again after an interruption. Finished stages
are skipped. The result goes to OUTPUT/kolors-mini and OUTPUT/probe-run; copy them to data/ to use them.

    kolors-course train-mini                                                   # hours on a CPU, minutes on a GPU
    kolors-course train-mini --from data/kolors-mini --base-steps 3500 --learning-rate 5e-4   # go on from there
    kolors-course train-mini --from data/kolors-mini --stage decoder                          # sharper pictures
"""

import argparse
from dataclasses import replace
from pathlib import Path

from diffusers import AutoencoderKL

from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, load_model
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.training.base import save_mini, train_base
from kolors_course.training.mini import build_tokenizer
from kolors_course.training.mini_recipe import RECIPES, MiniRecipe, default_recipe
from kolors_course.training.pictures import PictureStore
from kolors_course.training.probe import train_probe
from kolors_course.training.vae import train_vae

STAGES = ("tokenizer", "pictures", "vae", "probe", "base")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("outputs/mini"), help="default %(default)s")
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        help="how large batches and how many steps; gpu where there is one, else cpu",
    )
    parser.add_argument(
        "--stage",
        choices=(*STAGES, "decoder"),
        action="append",
        help="only this stage; may be repeated. decoder: sharpen the VAE's decoder of the model given by --from",
    )
    parser.add_argument(
        "--from", dest="start", type=Path, metavar="DIR", help="train this Kolors-mini further"
    )
    parser.add_argument("--learning-rate", type=float, help="of the base model; default: the recipe's")
    parser.add_argument("--pictures", type=int, help="of the base model; default: the recipe's")
    parser.add_argument("--vae-steps", type=int, help="default: the recipe's")
    parser.add_argument("--base-steps", type=int, help="default: the recipe's")
    parser.add_argument("--probe-steps", type=int, help="default: the recipe's")
    parser.add_argument(
        "--styled-share", type=float, help="part of each batch drawn in a style; default: the recipe's"
    )


def chosen_recipe(arguments: argparse.Namespace) -> MiniRecipe:
    """The recipe with what the command line changes in it."""

    def changed(config, **values):
        return replace(config, **{key: value for key, value in values.items() if value is not None})

    recipe = RECIPES[arguments.recipe or default_recipe(pick_device())]
    return replace(
        recipe,
        vae=changed(recipe.vae, steps=arguments.vae_steps),
        probe=changed(recipe.probe, steps=arguments.probe_steps),
        base=changed(
            recipe.base,
            steps=arguments.base_steps,
            pictures=arguments.pictures,
            learning_rate=arguments.learning_rate,
            styled_share=arguments.styled_share,
        ),
    )


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    folder, recipe = arguments.output, chosen_recipe(arguments)
    stages = arguments.stage or STAGES
    if "decoder" in stages and not arguments.start:
        raise CourseError("the stage decoder goes on from a finished model; name it with --from DIR")
    tokenizer = build_tokenizer(folder / "tokenizer")
    print(f"tokenizer: {tokenizer.vocab_size} pieces")
    store = PictureStore(recipe.pictures, folder / "pictures")
    if arguments.start:
        start = load_model(arguments.start)
        if "decoder" in stages:
            vae = train_vae(recipe.decoder, store, folder / "decoder-run", start.vae)
            save_mini(replace(start, vae=vae), folder / "kolors-mini")
        else:
            _train_base(recipe, start.vae, tokenizer, store, folder, start)
        return 0
    if "pictures" in stages:
        store.draw(max(recipe.vae.pictures, recipe.base.pictures))
    if "vae" in stages:
        train_vae(recipe.vae, store, folder / "vae-run")
    if "probe" in stages:
        judged = PictureStore(recipe.judged, folder / "judged-pictures")
        print("probe accuracy on fresh renders:", train_probe(recipe.probe, judged, folder / "probe-run"))
    if "base" in stages:
        trained = folder / "vae-run" / "vae"
        if not trained.is_dir():
            raise CourseError(f"there is no VAE in {trained}; run the stage vae first")
        vae = AutoencoderKL.from_pretrained(trained, local_files_only=True)
        _train_base(recipe, vae, tokenizer, store, folder, None)
    return 0


def _train_base(
    recipe: MiniRecipe, vae, tokenizer, store: PictureStore, folder: Path, start: KolorsModel | None
) -> None:
    run_folder = folder / ("further-run" if start else "base-run")
    save_mini(train_base(recipe.base, vae, tokenizer, store, run_folder, start), folder / "kolors-mini")
    print(f"wrote {folder}/kolors-mini")
