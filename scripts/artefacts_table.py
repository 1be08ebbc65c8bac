"""The table: what is made, of what, by which command. To add an artefact, add an entry to `ARTEFACTS`.

    Artefact(
        "words",                                   # its name: make artefacts ARGS=words
        makes=["docs/words.md"],                   # what is committed; wildcards may be used
        of=["scripts/build_words.py", *CAPTIONS],  # what it is made of; `path#part` where only a part counts
        by=["python scripts/build_words.py"],      # how
    )

The order of entries does not matter: who comes first follows from what is made of what. Then run
`make artefacts ARGS=<name>`, which makes it and notes it in the lock, and commit both. `SOURCES` are what people
write; a test finds committed files that are neither made nor written.
"""

from collections.abc import Sequence

from artefact_state import Artefact, Need


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_comfyui() -> bool:
    from kolors_course.comfyui.install import default_folder, find_installation

    return find_installation(default_folder()) is not None


def _has_chromium() -> bool:
    from chromium import find_chromium, has_chinese_font

    return find_chromium() is not None and has_chinese_font()


GPU = Need("a CUDA GPU", _has_gpu)
COMFYUI = Need("ComfyUI (kolors-course comfyui install)", _has_comfyui)
CHROMIUM = Need("Chromium with a Chinese font (apt install chromium fonts-noto-cjk)", _has_chromium)

SOURCES = (
    "data/kolors-mini/sampling.json",
    *("data/README.md", "data/art/subjects.csv", "data/art/licences/*", "data/kolors-mini/README.md"),
    *("data/fonts/README.md", "data/fonts/extra_characters.txt", "data/stories/*.yaml"),
    *("data/workflows/kolors_with_lora_example.json", "docs/*.md", "notebooks/conftest.py"),
)

# What pictures and captions of the drawn world look like.
ART = "data/art/subjects.svg.json.gz"
_ART = "kolors_course/art"
SCENES = (
    ART,
    *(f"{_ART}/{name}.py" for name in ("backdrop", "choices", "scene", "splits", "styles", "subject")),
)
CAPTIONS = ("data/art/subjects.csv", f"{_ART}/captions.py", f"{_ART}/choices.py")
_MINI = "kolors_course/mini"
RECIPE = (f"{_MINI}/recipe.py#PICTURES,JUDGED,RECIPES", f"{_MINI}/pictures.py#PictureSpec")
VAE_RECIPE = (*RECIPE, f"{_MINI}/vae.py#VaeConfig")
BASE_RECIPE = (*RECIPE, f"{_MINI}/base.py#BaseConfig", f"{_MINI}/networks.py")
PROBE_RECIPE = (*RECIPE, f"{_MINI}/probe.py#ProbeConfig")
FONT = "data/fonts/NotoSansSC-subset.ttf"
STORY = "data/stories/moon_rabbit.yaml"

MINI = "data/kolors-mini"
VAE = f"{MINI}/vae/diffusion_pytorch_model.safetensors"
ENCODER, DECODER = f"{VAE}#encoder.,quant_conv.", f"{VAE}#decoder.,post_quant_conv."
CONFIGS = (f"{MINI}/*/config.json", f"{MINI}/scheduler/*", f"{MINI}/model_index.json")
UNET = f"{MINI}/unet/diffusion_pytorch_model.safetensors"
TEXT = (f"{MINI}/text_encoder/model.safetensors", f"{MINI}/tokenizer/*")
# Who trains needs no decoder.
TRAINS = (UNET, *TEXT, ENCODER, *CONFIGS)
NETWORKS = (UNET, *TEXT, VAE, *CONFIGS)
SAMPLING = f"{MINI}/sampling.json#steps,guidance_scale,sampler,spacing"
DRAWS = (*NETWORKS, SAMPLING)
PROBE = "data/probes/probe.safetensors"
STYLES = ("paper-cut", "ink", "pixel")
# Leading spacing and the published settings stand beside the grids as a row of their own.
BASE_GRID = "--over spacing=trailing"
LORA_GRID = "--over steps=4,6,8 --over guidance=2,3 --over sampler=euler --over spacing=trailing"

BY_CARD = "on a GPU, with the commands that data/kolors-mini/README.md gives under 'How it was made'"
WORLD = (
    Artefact(
        "art",
        makes=[ART],
        of=["scripts/build_art.py", "data/art/subjects.csv"],
        by_hand="scripts/build_art.py says which packages to fetch first",
    ),
    Artefact(
        "font",
        makes=[FONT, "data/fonts/OFL.txt"],
        of=["scripts/build_font.py", "data/fonts/extra_characters.txt", "data/art/subjects.csv"],
        by_hand="scripts/build_font.py says which package to fetch first",
    ),
    Artefact(
        "words",
        makes=["docs/words.md"],
        of=["scripts/build_words.py", f"{_ART}/vocabulary.py", *CAPTIONS],
        by=["python scripts/build_words.py"],
    ),
    Artefact(
        "figures",
        makes=["docs/figures/world.png", "docs/figures/styles.png"],
        of=["scripts/build_figures.py", "kolors_course/viz/world.py", *SCENES, FONT],
        by=["python scripts/build_figures.py"],
    ),
    Artefact(
        "datasets",
        makes=[f"data/datasets/{style}/train/*" for style in STYLES],
        of=["scripts/build_datasets.py", f"{_ART}/style_set.py", *SCENES, *CAPTIONS],
        by=["python scripts/build_datasets.py"],
    ),
)
MODEL = (
    Artefact("vae", makes=[ENCODER, f"{MINI}/vae/config.json"], of=[*VAE_RECIPE, *SCENES], by_hand=BY_CARD),
    Artefact("decoder", makes=[DECODER], of=[*VAE_RECIPE, *SCENES, ENCODER], by_hand=BY_CARD),
    Artefact(
        "base",
        makes=[
            *(UNET, *TEXT, f"{MINI}/unet/config.json", f"{MINI}/text_encoder/config.json"),
            *(f"{MINI}/scheduler/*", f"{MINI}/model_index.json"),
        ],
        of=[*BASE_RECIPE, *SCENES, *CAPTIONS, ENCODER],
        by_hand=BY_CARD,
    ),
    Artefact("probe", makes=[PROBE], of=[*PROBE_RECIPE, *SCENES], by_hand=BY_CARD),
    Artefact(
        "scores",
        makes=[f"{MINI}/scores.json", f"{MINI}/sheet.png"],
        of=[*DRAWS, PROBE, *CAPTIONS, f"{_ART}/splits.py"],
        by=["kolors-course evaluate --scenes 200 --batch_size 16 -o outputs/artefacts/scores"],
        copies={
            f"outputs/artefacts/scores/{name}": f"{MINI}/{name}" for name in ("scores.json", "sheet.png")
        },
    ),
    Artefact(
        "card",
        makes=[f"{MINI}/README.md#How good it is"],
        of=[f"{MINI}/scores.json", VAE, PROBE],
        by_hand="write what scores.json, and the logs of VAE and probe, say into the card",
    ),
)


def _sampling(table: str, flags: str, of: Sequence[str]) -> Artefact:
    """How well something is drawn in which settings; cells of an interrupted run are found again by the inputs."""
    folder = f"outputs/artefacts/sampling-{table}-{{inputs}}"
    return Artefact(
        f"sampling-{table}",
        makes=[f"docs/sampling/{table}.md", f"docs/sampling/{table}.json"],
        of=[*of, PROBE, *SCENES, *CAPTIONS],
        by=[f"kolors-course sweep --recommend {flags} --batch_size 16 -o {folder}"],
        copies={f"{folder}/recommendation.{end}": f"docs/sampling/{table}.{end}" for end in ("md", "json")},
    )


# They adopt nothing: what is in force is as good as what a table recommends, within its intervals, and a test says so
# (tests/test_kolors_settings.py). Where it no longer is, adopt by hand: sweep --recommend ... --adopt.
SAMPLINGS = (
    _sampling("kolors-mini", BASE_GRID, NETWORKS),
    *(
        _sampling(style, f"--lora {file} --style {style} {LORA_GRID}", [*DRAWS, file])
        for style, file in ((style, f"data/loras/{style}.safetensors") for style in STYLES)
    ),
)


def _lora(style: str, steps: int) -> Artefact:
    """A style LoRA, by the command of its card; the state of an unfinished run is found again by its inputs."""
    folder = f"outputs/artefacts/lora-{style}-{{inputs}}"
    return Artefact(
        f"lora-{style}",
        makes=[f"data/loras/{style}.safetensors"],
        of=[f"data/datasets/{style}/train/*", *TRAINS],
        by=[
            f"kolors-course train-lora --dataset_path data/datasets/{style} --output_path {folder} "
            f"--steps_per_epoch {steps} --lora_rank 16 --lora_alpha 16 "
            "--lora_target_modules attention+feed-forward+convolutions --center_crop",
            f"python scripts/half_lora.py {folder}/lora.safetensors data/loras/{style}.safetensors",
        ],
    )


LORAS = (
    *(_lora("paper-cut", 400), _lora("ink", 700), _lora("pixel", 400)),
    Artefact(
        "lora-card",
        makes=["data/loras/README.md"],
        of=["data/loras/*.safetensors", *DRAWS, PROBE],
        by_hand="run kolors-course evaluate for each of the three, as it says, and write what they print into it",
    ),
    Artefact(
        "story-base",
        makes=["data/stories/moon_rabbit.base/*"],
        of=["scripts/build_story_base.py", STORY, *DRAWS, PROBE, *CAPTIONS, f"{_ART}/splits.py"],
        by=["python scripts/build_story_base.py"],
    ),
    Artefact(
        "story",
        makes=["docs/figures/story.png"],
        of=[STORY, "data/stories/moon_rabbit.base/*", "data/datasets/paper-cut/train/*", *DRAWS, PROBE, FONT],
        by=[
            "kolors-course demo -o outputs/artefacts/story"
        ],  # trains its own paper-cut LoRA, as the demo does
        copies={"outputs/artefacts/story/story.png": "docs/figures/story.png"},
    ),
)
NODES = "kolors_course/comfyui/nodes"
SHOTS = ("missing-nodes", "refusal", "run")
COMFY = (
    Artefact(
        "workflows",
        makes=[f"{NODES}/example_workflows/*.json", f"{NODES}/example_workflows/api/*.json"],
        of=["scripts/build_workflows.py", STORY, SAMPLING],
        by=["python scripts/build_workflows.py"],
    ),
    Artefact(
        "object-info",
        makes=["data/workflows/object_info.json"],
        of=[
            "scripts/build_object_info.py",
            *(f"{NODES}/{name}.py" for name in ("inputs", "load", "picture", "sample", "story")),
        ],
        by=[
            "kolors-course comfyui start",
            "python scripts/build_object_info.py",
            "kolors-course comfyui stop",
        ],
        needs=[COMFYUI],
    ),
    Artefact(
        "screenshots",
        makes=[
            *(f"docs/figures/comfyui-{shot}-{language}.png" for shot in SHOTS for language in ("en", "zh")),
            "docs/figures/by-hand/*.png",
        ],
        of=[
            *("scripts/build_comfyui_screenshots.py", "scripts/comfyui_hand.py", "scripts/comfyui_walk.py"),
            *("scripts/numbered_marks.py", "data/workflows/kolors_with_lora_example.json"),
            *(f"{NODES}/example_workflows/mini-{name}.json" for name in ("lora", "text-to-image")),
            *("data/loras/ink.safetensors", *DRAWS),
        ],
        by=["python scripts/build_comfyui_screenshots.py"],
        needs=[CHROMIUM, COMFYUI],
    ),
)
BENCHMARKS = (
    Artefact(
        "bench-speed",
        makes=["benchmarks/results.json"],
        of=[
            *(f"benchmarks/{name}.py" for name in ("measure", "run", "sampling", "steps")),
            *CONFIGS,
        ],  # weights do not matter
        by=["python benchmarks/run.py --repeats 9 --steps 25 --compile"],
    ),
    Artefact(
        "bench-quality",
        makes=["benchmarks/quality.json"],
        of=[
            "benchmarks/quality.py",
            "benchmarks/steps.py",
            "data/datasets/paper-cut/train/*",
            *NETWORKS,
            PROBE,
        ],
        by=["python benchmarks/quality.py --style paper-cut --steps 300 --every 50 --scenes 15"],
    ),
    Artefact(
        "bench-full-width",
        makes=["benchmarks/full_width_gpu.json"],
        of=["benchmarks/full_width_gpu.py"],
        by=["python benchmarks/full_width_gpu.py --steps 25 --output benchmarks/full_width_gpu.json"],
        needs=[GPU],
    ),
    Artefact(
        "full-width-results",
        makes=["data/lessons/full-width/*"],
        of=["scripts/build_full_width_results.py", "benchmarks/full_width_gpu.json"],
        by=["python scripts/build_full_width_results.py"],
    ),
    Artefact(
        "bench-lora-programs",
        makes=["benchmarks/lora_programs.json"],
        of=["benchmarks/lora_programs.py"],
        by_hand="it needs sixteen environments; benchmarks/lora_programs.py says how",
    ),
)


def _notebook(name: str, *of: str, needs: tuple[Need, ...] = ()) -> Artefact:
    """An executed notebook: its outputs are made of the sources of its code cells, the model and `of`.

    What it shows by `needs` is stored in the same go (stored_results.py), for machines that do not have them.
    """
    kept = [f"data/lessons/{name[:2]}/*"] if needs else []
    path = f"notebooks/{name}.ipynb"
    return Artefact(
        f"notebook-{name[:2]}",
        makes=[f"{path}#outputs", *kept],
        of=[f"{path}#code", *DRAWS, *of],
        by=[f"python scripts/render_notebooks.py {path}"],
        needs=needs,
    )


NOTEBOOKS = (
    _notebook("00_setup", *SCENES),
    _notebook("01_generative_models", *SCENES),
    _notebook("02_diffusion", *SCENES),
    _notebook("03_sde_ode_samplers"),
    _notebook("04_guidance", PROBE),
    _notebook("05_anatomy_of_kolors", "data/lessons/full-width/*", *SCENES),
    _notebook("08_lora_maths", "data/datasets/paper-cut/train/*", PROBE),
    _notebook(
        "09_training_a_kolors_lora",
        *("data/datasets/paper-cut/train/*", "data/lessons/full-width/*", *SCENES, *CAPTIONS),
    ),
    _notebook(
        "12_comfyui",
        *("data/loras/ink.safetensors", "data/workflows/*.json", f"{NODES}/example_workflows/*.json"),
        needs=(COMFYUI,),
    ),
)
ARTEFACTS = (*WORLD, *MODEL, *SAMPLINGS, *LORAS, *COMFY, *BENCHMARKS, *NOTEBOOKS)
