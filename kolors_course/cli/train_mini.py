"""`kolors-course train-mini`: what it does once its flags are read."""

import argparse
from dataclasses import replace
from pathlib import Path

from diffusers import AutoencoderKL

from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.training.base import save_mini, train_base
from kolors_course.training.choices import MINI_STAGES
from kolors_course.training.mini import build_tokenizer
from kolors_course.training.mini_recipe import RECIPES, MiniRecipe, default_recipe
from kolors_course.training.pictures import PictureStore
from kolors_course.training.probe import train_probe
from kolors_course.training.vae import train_vae


def chosen_recipe(arguments: argparse.Namespace) -> MiniRecipe:
    """The recipe with what the command line changes in it."""

    def changed(config, **values):
        return replace(config, **{key: value for key, value in values.items() if value is not None})

    recipe = RECIPES[arguments.recipe or default_recipe(pick_device())]
    return replace(
        recipe,
        vae=changed(recipe.vae, steps=arguments.vae_steps, learning_rate=arguments.vae_learning_rate),
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
    stages = arguments.stage or (("base",) if arguments.start else MINI_STAGES)
    if "decoder" in stages and not arguments.start:
        raise CourseError("the stage decoder goes on from a finished model; name it with --from DIR")
    start = load_model(arguments.start) if arguments.start else None
    tokenizer = build_tokenizer(folder / "tokenizer")
    print(f"tokenizer: {tokenizer.vocab_size} pieces")
    store = PictureStore(recipe.pictures, folder / "pictures")
    vae_folder = folder / ("further-vae-run" if start else "vae-run")
    if "pictures" in stages:
        store.draw(max(recipe.vae.pictures, recipe.base.pictures))
    if "decoder" in stages:
        vae = train_vae(recipe.decoder, store, folder / "decoder-run", start.vae, decoder_only=True)
        save_mini(replace(start, vae=vae), folder / "kolors-mini")
    if "vae" in stages:
        train_vae(recipe.vae, store, vae_folder, start and start.vae)
    if "probe" in stages:
        judged = PictureStore(recipe.judged, folder / "judged-pictures")
        print("probe accuracy on fresh renders:", train_probe(recipe.probe, judged, folder / "probe-run"))
    if "base" in stages:
        vae = start.vae if start and "vae" not in stages else _trained_vae(vae_folder / "vae")
        run_folder = folder / ("further-run" if start else "base-run")
        model = train_base(recipe.base, vae, tokenizer, store, run_folder, start)
        save_mini(model, folder / "kolors-mini")
        print(f"wrote {folder}/kolors-mini")
    return 0


def _trained_vae(folder: Path) -> AutoencoderKL:
    if not folder.is_dir():
        raise CourseError(f"there is no VAE in {folder}; run the stage vae first")
    return AutoencoderKL.from_pretrained(folder, local_files_only=True)
