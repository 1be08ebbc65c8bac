"""`kolors-course train-mini`: what it does once its flags are read."""

import argparse
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from diffusers import AutoencoderKL

from kolors_course.errors import CourseError, enough_memory
from kolors_course.kolors import load_model
from kolors_course.mini.base import BaseConfig, train_base
from kolors_course.mini.choices import FURTHER_STAGES, MINI_STAGES
from kolors_course.mini.control import train_control
from kolors_course.mini.pictures import PictureStore
from kolors_course.mini.probe import ProbeConfig, train_probe
from kolors_course.mini.recipe import RECIPES, MiniRecipe, default_recipe
from kolors_course.mini.saving import save_mini
from kolors_course.mini.tokenizer import build_tokenizer
from kolors_course.mini.vae import VaeConfig, train_mini_vae
from kolors_course.platform.device import free_memory, limit_threads, pick_device
from kolors_course.platform.machine import GIB, free_disk

# Of a scene, while the base model is trained: captions and facts, and each channel of the latents.
SCENE_BYTES, CHANNEL_BYTES = 2048, 512
# flag -> the stage that it is for
STAGE_OF = {
    "vae_steps": "vae",
    "vae_learning_rate": "vae",
    "latent_channels": "vae",
    "probe_steps": "probe",
    "base_steps": "base",
    "learning_rate": "base",
    "pictures": "base",
    "styled_share": "base",
}

Config = TypeVar("Config", VaeConfig, ProbeConfig, BaseConfig)


def chosen_recipe(arguments: argparse.Namespace) -> MiniRecipe:
    """The recipe that --recipe names, with what other flags change in it."""

    def changed(config: Config, **values: Any) -> Config:
        return replace(config, **{key: value for key, value in values.items() if value is not None})

    recipe = RECIPES[arguments.recipe or default_recipe(pick_device())]
    return replace(
        recipe,
        vae=changed(
            recipe.vae,
            steps=arguments.vae_steps,
            learning_rate=arguments.vae_learning_rate,
            latent_channels=arguments.latent_channels,
        ),
        probe=changed(recipe.probe, steps=arguments.probe_steps),
        base=changed(
            recipe.base,
            steps=arguments.base_steps,
            pictures=arguments.pictures,
            learning_rate=arguments.learning_rate,
            styled_share=arguments.styled_share,
        ),
    )


def _check_stages(arguments: argparse.Namespace, stages: Collection[str]) -> None:
    """Refuse stages that cannot run, and flags of stages that do not run."""
    for stage in FURTHER_STAGES:
        if stage in stages and not arguments.start:
            raise CourseError(f"the stage {stage} goes on from a finished model; name it with --from DIR")
    if arguments.latent_channels and arguments.start:
        raise CourseError("--latent-channels is for a new VAE; the model given by --from has one")
    for flag, stage in STAGE_OF.items():
        if getattr(arguments, flag) is not None and stage not in stages:
            name = flag.replace("_", "-")
            raise CourseError(f"--{name} is for the stage {stage}, which is not among those to run")


def _check_room(recipe: MiniRecipe, stages: Collection[str], folder: Path) -> None:
    """Refuse more pictures than the disk and the memory hold."""
    configs = {stage: getattr(recipe, stage) for stage in ("vae", "base", *FURTHER_STAGES)}
    configs = {stage: config for stage, config in configs.items() if stage in stages or "pictures" in stages}
    drawn = {stage: config.pictures for stage, config in configs.items()}
    if not drawn:
        return
    each = 3 * recipe.pictures.size**2
    scene = SCENE_BYTES + CHANNEL_BYTES * recipe.vae.latent_channels
    there = sum(file.stat().st_size for file in (folder / "pictures").glob("*.npy"))
    needs = {
        "disk": (each * max(drawn.values()) - there, free_disk(folder)),
        "memory": (
            max(
                scene * count
                if stage == "base"
                else each * (count + getattr(configs[stage], "foreign_pool", 0))
                for stage, count in drawn.items()
            ),
            free_memory(pick_device()),
        ),
    }
    for place, (needed, free) in needs.items():
        if needed > free:
            raise CourseError(
                f"{max(drawn.values()):,} pictures need {needed / GIB:.1f} GiB of {place}, but only "
                f"{free / GIB:.1f} GiB are free here; lower --pictures"
            )


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    folder, recipe = arguments.output, chosen_recipe(arguments)
    stages = arguments.stage or (("base",) if arguments.start else MINI_STAGES)
    _check_stages(arguments, stages)
    _check_room(recipe, stages, folder)
    with enough_memory("lower --pictures, or take --recipe cpu, whose batches are smaller"):
        _run_stages(arguments, recipe, stages)
    return 0


def _run_stages(arguments: argparse.Namespace, recipe: MiniRecipe, stages: Collection[str]) -> None:
    folder = arguments.output
    start = load_model(arguments.start) if arguments.start else None
    tokenizer = build_tokenizer(folder / "tokenizer")
    print(f"tokenizer: {tokenizer.vocab_size} pieces")
    store = PictureStore(recipe.pictures, folder / "pictures")
    vae_folder = folder / ("further-vae-run" if start else "vae-run")
    if "pictures" in stages:
        store.draw(max(recipe.vae.pictures, recipe.base.pictures))
    if start and "decoder" in stages:  # without a start it was refused
        vae = train_mini_vae(recipe.decoder, store, folder / "decoder-run", start.vae, decoder_only=True)
        save_mini(replace(start, vae=vae), folder / "kolors-mini")
    if start and "foreign" in stages:
        vae = train_mini_vae(recipe.foreign, store, folder / "foreign-run", start.vae)
        save_mini(replace(start, vae=vae), folder / "kolors-mini")
    if start and "control" in stages:
        train_control(recipe.control, start, store, folder / "control-run")
        print(f"wrote {folder}/control-run/controlnet")
    if "vae" in stages:
        train_mini_vae(recipe.vae, store, vae_folder, start and start.vae)
    if "probe" in stages:
        judged = PictureStore(recipe.judged, folder / "judged-pictures")
        print("probe accuracy on fresh renders:", train_probe(recipe.probe, judged, folder / "probe-run"))
    if "base" in stages:
        vae = start.vae if start and "vae" not in stages else _trained_vae(vae_folder / "vae")
        run_folder = folder / ("further-run" if start else "base-run")
        model = train_base(recipe.base, vae, tokenizer, store, run_folder, start)
        save_mini(model, folder / "kolors-mini")
        print(f"wrote {folder}/kolors-mini")


def _trained_vae(folder: Path) -> AutoencoderKL:
    if not folder.is_dir():
        raise CourseError(f"there is no VAE in {folder}; run the stage vae first")
    return AutoencoderKL.from_pretrained(folder, local_files_only=True)
