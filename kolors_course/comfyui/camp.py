"""The camp's workflow, written for other node packs, turned into one for ours.

The camp used kijai's KwaiKolorsWrapper and a node of its own, LoadKolorsLoRA. Neither is needed to read such a
workflow: what their widgets mean is written down here, so the page's format converts as for any other node.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath, PureWindowsPath
from typing import Any

from kolors_course.comfyui.convert import is_link, to_api
from kolors_course.comfyui.graph import ApiGraph, format_of, read_api, read_ui, subgraphs_of
from kolors_course.comfyui.schema import NodeSchema, read_schemas
from kolors_course.comfyui.validate import title_of
from kolors_course.errors import CourseError, brief
from kolors_course.prompting import without_weights
from kolors_course.ranges import SEEDS

MODEL, LORA, TEXT, SAMPLER = (
    "DownloadAndLoadKolorsModel",
    "LoadKolorsLoRA",
    "KolorsTextEncode",
    "KolorsSampler",
)
TEXT_ENCODERS = ("DownloadAndLoadChatGLM3", "LoadChatGLM3")

# What the camp's node is set to, which applies alpha/rank; its command trained with --lora_alpha 4.0.
NODE_ALPHA = 2.0

MAX_NAME = 200  # characters of a file's name

SAMPLERS = {
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler-ancestral",
    "DPMSolverMultistepScheduler": "dpm++2m",
    "UniPCMultistepScheduler": "unipc",
}
RELATED_SAMPLERS = {
    "DPMSolverMultistepScheduler_SDE_karras": "dpm++2m-karras",
    "DEISMultistepScheduler": "dpm++2m",
}


def _node(output: str, **inputs: Any) -> dict[str, Any]:
    """A node type as a server would describe it."""
    entries = {name: entry if isinstance(entry, list) else [entry, {}] for name, entry in inputs.items()}
    return {"input": {"required": entries}, "output": [output] if output else []}


CAMP_SCHEMAS = read_schemas(
    {
        MODEL: _node("KOLORSMODEL", model="STRING", precision="STRING"),
        LORA: _node(
            "KOLORSMODEL",
            kolors_model="KOLORSMODEL",
            lora_path="STRING",
            lora_alpha=["FLOAT", {"default": NODE_ALPHA}],
        ),
        "DownloadAndLoadChatGLM3": _node("CHATGLM3MODEL", precision="STRING"),
        "LoadChatGLM3": _node("CHATGLM3MODEL", chatglm3_checkpoint="STRING", precision="STRING"),
        TEXT: _node(
            "KOLORS_EMBEDS",
            chatglm3_model="CHATGLM3MODEL",
            prompt="STRING",
            negative_prompt="STRING",
            num_images_per_prompt=["INT", {"default": 1}],
        ),
        SAMPLER: _node(
            "LATENT",
            kolors_model="KOLORSMODEL",
            kolors_embeds="KOLORS_EMBEDS",
            width=["INT", {"default": 1024}],
            height=["INT", {"default": 1024}],
            seed="INT",
            steps=["INT", {"default": 25}],
            cfg=["FLOAT", {"default": 5.0}],
            scheduler=["STRING", {"default": "EulerDiscreteScheduler"}],
            latent="LATENT",
            # Files of the first version end before this value.
            denoise_strength=["FLOAT", {"default": 1.0}],
        ),
    }
)


@dataclass(frozen=True)
class TrainedAlpha:
    """The alpha that a LoRA was trained with, and whether its file says it."""

    value: float
    in_file: bool


def no_alpha(path: str) -> None:
    """Nothing is known of the file at `path`."""


@dataclass
class CampImport:
    """A workflow for our nodes, what the importer wants to say about it, and the LoRA files it names.

    `loras` maps the name under which ComfyUI must list a file to the path that the workflow gave; for `alpha_of` see
    `import_camp`.
    """

    api: ApiGraph
    notes: list[str] = field(default_factory=list)
    loras: dict[str, str] = field(default_factory=dict)
    alpha_of: Callable[[str], TrainedAlpha | None] = field(default=no_alpha, repr=False, compare=False)


def is_camp_workflow(workflow: dict[str, Any]) -> bool:
    """Whether a workflow, in either format, has nodes of the camp's packs."""
    if format_of(workflow) == "ui":
        page = read_ui(workflow)
        types = {node.type for graph in (page, *subgraphs_of(page)) for node in graph.nodes}
    else:
        types = {node["class_type"] for node in read_api(workflow).values()}
    return not types.isdisjoint(CAMP_SCHEMAS)


def import_camp(
    workflow: dict[str, Any],
    schemas: dict[str, NodeSchema],
    model_name: str = "kolors",
    lora: str | PurePath | None = None,
    alpha_of: Callable[[str], TrainedAlpha | None] = no_alpha,
) -> CampImport:
    """Map the camp's nodes to ours; other nodes stay as they are.

    Args:
        workflow: in UI or API format.
        schemas: of the server that will run it.
        model_name: "kolors", or "mini" to try the workflow out; then pictures take the model's own size.
        lora: a file to use in place of the one that the workflow names.
        alpha_of: the alpha that the LoRA at a path was trained with, if it is known. The camp's files do not say it,
            and the strength of a LoRA depends on it. Where it is not known, our node asks for it when it runs.

    Raises:
        CourseError: a node type is known neither here nor to the server, or a needed link is missing.
    """
    known = {**schemas, **CAMP_SCHEMAS}
    api = to_api(workflow, known) if format_of(workflow) == "ui" else read_api(workflow)
    if lora:
        path = {"lora_path": str(lora)}
        api = {
            key: {**node, "inputs": {**node["inputs"], **path}} if node["class_type"] == LORA else node
            for key, node in api.items()
        }
    result = CampImport({}, alpha_of=alpha_of)
    for identity, node in api.items():
        converter = _CONVERTERS.get(node["class_type"])
        try:
            inputs = converter(identity, api, result, model_name) if converter else None
        except (KeyError, TypeError, ValueError) as error:
            raise CourseError(
                f"{_name(identity, api)}: a value is missing or wrong: {brief(error)}"
            ) from error
        if inputs is not None:
            node = {
                "class_type": _NEW_TYPES[node["class_type"]],
                "inputs": inputs,
                "_meta": {"title": title_of(node)},
            }
        if node["class_type"] not in TEXT_ENCODERS:
            result.api[identity] = node
    _drop_idle_vaes(result.api)
    return result


def _model(identity: str, api: ApiGraph, result: CampImport, model_name: str) -> dict[str, Any]:
    return {"model_name": model_name, "precision": "auto"}


def _lora(identity: str, api: ApiGraph, result: CampImport, model_name: str) -> dict[str, Any]:
    inputs = api[identity]["inputs"]
    path, alpha = str(inputs["lora_path"]), float(inputs["lora_alpha"])
    name = PureWindowsPath(path).name  # splits at both kinds of slashes
    if not name or len(name) > MAX_NAME or not name.isprintable():
        fault = "no name of a file" if name else "empty"
        raise CourseError(f"{_name(identity, api)}: lora_path is {fault}; name the LoRA file")
    result.loras[name] = path
    trained = result.alpha_of(path)
    converted = {"model": inputs["kolors_model"], "lora_name": name, "strength": 1.0, "alpha": 0.0}
    if trained is None:
        result.notes.append(
            f"{_name(identity, api)}: lora_alpha {alpha:g} is left out, because the alpha that the LoRA was "
            "trained with is not known here; strength 1 is the trained one, and a file that does not say its alpha "
            "needs it (--alpha)"
        )
        return converted
    if alpha == NODE_ALPHA != trained.value:
        result.notes.append(
            f"{_name(identity, api)}: lora_alpha {alpha:g} is {alpha / trained.value:g} of the {trained.value:g} "
            "that the LoRA was trained with, so there it worked at that part of its strength; here at strength 1 "
            f"(strength {alpha / trained.value:g} gives the camp's picture)"
        )
    elif alpha != NODE_ALPHA:
        converted["strength"] = alpha / trained.value
    return converted | {"alpha": 0.0 if trained.in_file else trained.value}


def _prompt(identity: str, api: ApiGraph, result: CampImport, model_name: str) -> dict[str, Any]:
    inputs = api[identity]["inputs"]
    for name in ("prompt", "negative_prompt"):
        if "|" in str(inputs[name]):
            result.notes.append(
                f"{_name(identity, api)}: '|' in the {name} separated prompts or chose at random; here it is text"
            )
        if isinstance(inputs[name], str) and (escaped := without_weights(inputs[name])) != inputs[name]:
            inputs = inputs | {name: escaped}
            result.notes.append(
                f"{_name(identity, api)}: brackets in the {name} were letters there and stay letters, written with "
                "a backslash; without it they weigh words here"
            )
    return {
        "model": _base_model(identity, api),
        "prompt": inputs["prompt"],
        "negative_prompt": inputs["negative_prompt"],
    }


def _sampler(identity: str, api: ApiGraph, result: CampImport, model_name: str) -> dict[str, Any]:
    inputs = api[identity]["inputs"]
    scheduler = inputs["scheduler"]
    if scheduler in RELATED_SAMPLERS:
        result.notes.append(
            f"{_name(identity, api)}: {scheduler} has no equal here; {RELATED_SAMPLERS[scheduler]} draws instead"
        )
    seed = inputs["seed"]
    if not is_link(seed) and seed >= SEEDS:
        seed %= SEEDS
        result.notes.append(
            f"{_name(identity, api)}: seeds end below {SEEDS}; {brief(inputs['seed'])} became {seed}"
        )
    own_size = model_name == "mini"
    if own_size:
        result.notes.append(
            f"{_name(identity, api)}: Kolors-mini draws at its own size, not at full Kolors' size"
        )
    text = api.get(inputs["kolors_embeds"][0], {}) if is_link(inputs.get("kolors_embeds")) else {}
    converted = {
        "model": inputs["kolors_model"],
        "prompt": inputs["kolors_embeds"],
        "seed": seed,
        "steps": inputs["steps"],
        "guidance_scale": inputs["cfg"],
        "sampler": {**SAMPLERS, **RELATED_SAMPLERS}.get(scheduler, scheduler),
        "spacing": "leading",
        "width": 0 if own_size else inputs["width"],
        "height": 0 if own_size else inputs["height"],
        "batch_size": text.get("inputs", {}).get("num_images_per_prompt", 1),
        "denoise": inputs.get("denoise_strength", 1.0),
    }
    return converted | ({"latent": inputs["latent"]} if "latent" in inputs else {})


def _decode(identity: str, api: ApiGraph, result: CampImport, model_name: str) -> dict[str, Any] | None:
    """The model's own decoder in place of a separate VAE file; a decoder of other latents stays."""
    latent = api[identity]["inputs"].get("samples")
    source = api.get(latent[0], {}) if is_link(latent) else {}
    if source.get("class_type") != SAMPLER:
        return None
    return {"model": _model_above(latent[0], api), "latent": latent}


_CONVERTERS: dict[str, Callable[[str, ApiGraph, CampImport, str], dict[str, Any] | None]] = {
    MODEL: _model,
    LORA: _lora,
    TEXT: _prompt,
    SAMPLER: _sampler,
    "VAEDecode": _decode,
}
_NEW_TYPES = {
    MODEL: "KolorsCourseLoadModel",
    LORA: "KolorsCourseLoadLora",
    TEXT: "KolorsCoursePrompt",
    SAMPLER: "KolorsCourseSampler",
    "VAEDecode": "KolorsCourseDecode",
}


def _base_model(text: str, api: ApiGraph) -> list:
    """A link to the model without LoRAs behind the sampler that uses the prompt of node `text`.

    Our text node needs a model for its text encoder; the bare one, so that a new strength encodes nothing anew.
    """
    for identity, node in api.items():
        embeds = node["inputs"].get("kolors_embeds")
        if node["class_type"] == SAMPLER and is_link(embeds) and embeds[0] == text:
            return _model_above(identity, api)
    raise CourseError(f"{_name(text, api)}: no KolorsSampler uses this prompt; connect it or remove it")


def _model_above(identity: str, api: ApiGraph) -> list:
    seen = set()
    while identity in api and api[identity]["class_type"] != MODEL and identity not in seen:
        seen.add(identity)
        link = api[identity]["inputs"].get("kolors_model")
        if not is_link(link):
            raise CourseError(f"{_name(identity, api)}: no model is connected to kolors_model")
        identity = link[0]
    return [identity, 0]


def _drop_idle_vaes(api: ApiGraph) -> None:
    used = {value[0] for node in api.values() for value in node["inputs"].values() if is_link(value)}
    for identity in [
        key for key, node in api.items() if node["class_type"] == "VAELoader" and key not in used
    ]:
        del api[identity]


def _name(identity: str, api: ApiGraph) -> str:
    return f"node {brief(identity)} {brief(title_of(api[identity]))!r}"
