"""Write the workflows of the ComfyUI nodes, for Kolors-mini and for full Kolors, in both of ComfyUI's formats.

The UI format goes to kolors_course/comfyui/nodes/example_workflows/, where ComfyUI looks for templates; the API
format to api/ in it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kolors_course.files import atomic_path
from kolors_course.kolors.settings import PUBLISHED, SAMPLING_FILE, Sampling, read_sampling
from kolors_course.platform.paths import REPOSITORY, data_dir, data_path

FOLDER = REPOSITORY / "kolors_course" / "comfyui" / "nodes" / "example_workflows"
STORY = "moon_rabbit.yaml"

# node type -> (title, outputs as (name, type))
TYPES = {
    "KolorsCourseLoadModel": ("Load Kolors", [("model", "KOLORS_MODEL")]),
    "KolorsCourseLoadLora": ("Load Kolors LoRA", [("model", "KOLORS_MODEL"), ("report", "STRING")]),
    "KolorsCoursePrompt": ("Kolors Prompt", [("prompt", "KOLORS_PROMPT")]),
    "KolorsCourseSampler": ("Kolors Sampler", [("latent", "LATENT")]),
    "KolorsCourseDecode": ("Kolors Decode", [("image", "IMAGE")]),
    "KolorsCourseEncodeImage": ("Kolors Encode Image", [("latent", "LATENT")]),
    "KolorsCourseStoryboard": ("Kolors Storyboard", [("page", "IMAGE"), ("panels", "IMAGE")]),
    "SaveImage": ("Save Image", []),
}
OPTIONAL = {"KolorsCourseSampler": ("latent", "LATENT")}  # a socket that may stay empty
# Pixels on the page: how wide nodes are, how far apart, how high their parts.
WIDTH, GAP, HEAD, ROW, TEXT, PICTURE = 320, 60, 30, 26, 110, 300
WIDTHS = {"KolorsCourseDecode": 220, "KolorsCourseStoryboard": 480}
HEIGHTS = {
    "KolorsCourseLoadLora": HEAD + 6 * ROW + 30,  # and the line that it shows after a run
    "KolorsCoursePrompt": HEAD + ROW + 2 * TEXT,
    "KolorsCourseStoryboard": 620,
    "SaveImage": PICTURE,
}


@dataclass(frozen=True)
class Link:
    """An output of another node."""

    node: int
    slot: int = 0


@dataclass(frozen=True)
class Graph:
    """Nodes in columns from left to right; their ids count from 1."""

    note: str
    nodes: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)

    def add(self, kind: str, column: int, **inputs: Any) -> int:
        """Add a node with its inputs in the order in which the node declares them; returns its id.

        Nodes of a column stand below one another; what feeds a node stands in a column before it.
        """
        self.nodes.append((kind, column, inputs))
        return len(self.nodes)

    def api(self) -> dict[str, Any]:
        return {
            str(number): {
                "class_type": kind,
                "inputs": {
                    name: [str(value.node), value.slot] if isinstance(value, Link) else value
                    for name, value in inputs.items()
                },
                "_meta": {"title": TYPES[kind][0]},
            }
            for number, (kind, _, inputs) in enumerate(self.nodes, start=1)
        }

    def page(self) -> dict[str, Any]:
        links: list[list] = []
        nodes = [self._node(number, links) for number in range(1, len(self.nodes) + 1)]
        for number, source, slot, *_ in links:
            nodes[source - 1]["outputs"][slot]["links"].append(number)
        self._place(nodes)
        nodes.append(self._note(len(nodes) + 1))
        return {
            "last_node_id": len(nodes),
            "last_link_id": len(links),
            "nodes": nodes,
            "links": links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }

    def _node(self, number: int, links: list[list]) -> dict[str, Any]:
        kind, _, inputs = self.nodes[number - 1]
        sockets: list[dict[str, Any]] = []
        widgets: list[Any] = []
        for name, value in inputs.items():
            if isinstance(value, Link):
                type_name = TYPES[self.nodes[value.node - 1][0]][1][value.slot][1]
                links.append([len(links) + 1, value.node, value.slot, number, len(sockets), type_name])
                sockets.append({"name": name, "type": type_name, "link": len(links)})
            else:
                widgets += [value, "fixed"] if name == "seed" else [value]
        if kind in OPTIONAL and OPTIONAL[kind][0] not in inputs:
            sockets.append(dict(zip(("name", "type", "link"), (*OPTIONAL[kind], None), strict=True)))
        outputs = [
            {"name": name, "type": type_name, "links": [], "slot_index": slot}
            for slot, (name, type_name) in enumerate(TYPES[kind][1])
        ]
        rows = max(len(sockets), len(outputs)) + len(widgets)
        return {
            "id": number,
            "type": kind,
            "pos": [0, 0],
            "size": [WIDTHS.get(kind, WIDTH), HEIGHTS.get(kind, HEAD + ROW * rows)],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": sockets,
            "outputs": outputs,
            "properties": {"Node name for S&R": kind},
            "widgets_values": widgets,
        }

    def _place(self, nodes: list[dict[str, Any]]) -> None:
        widths: dict[int, int] = {}
        for node, (_, column, _) in zip(nodes, self.nodes, strict=True):
            widths[column] = max(widths.get(column, 0), node["size"][0])
        bottoms = dict.fromkeys(widths, 0)
        for node, (_, column, _) in zip(nodes, self.nodes, strict=True):
            left = sum(widths[before] + GAP for before in range(column))
            node["pos"] = [left, bottoms[column]]
            bottoms[column] += node["size"][1] + GAP

    def _note(self, number: int) -> dict[str, Any]:
        return {
            "id": number,
            "type": "MarkdownNote",
            "title": "说明 · Note",
            "pos": [0, -210],
            "size": [2 * WIDTH + GAP, 150],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "properties": {},
            "widgets_values": [self.note],
            "color": "#432",
            "bgcolor": "#653",
        }


@dataclass(frozen=True)
class World:
    """What differs between Kolors-mini and full Kolors."""

    name: str
    prompts: tuple[str, str]  # the second draws over the first picture
    loras: tuple[str, str]
    sampling: Sampling
    note: str

    def graph(self, note: str) -> Graph:
        return Graph(f"{note}\n\n{self.note}")

    def start(self, graph: Graph) -> Link:
        return Link(graph.add("KolorsCourseLoadModel", 0, model_name=self.name, precision="auto"))

    def style(self, graph: Graph, model: Link, *strengths: float) -> Link:
        chosen = zip(self.loras[: len(strengths)], strengths, strict=True)
        for column, (name, strength) in enumerate(chosen, start=1):
            options = {"lora_name": name, "strength": strength, "alpha": 0.0}
            model = Link(graph.add("KolorsCourseLoadLora", column, model=model, **options))
        return model

    def save(self, graph: Graph, column: int, image: Link, what: str) -> None:
        graph.add("SaveImage", column, images=image, filename_prefix=f"{self.name}/{what}")


SIZE = {"width": 0, "height": 0}


def draw(world: World, graph: Graph, column: int, base: Link, model: Link, prompt: str, **more: Any) -> Link:
    """A prompt in column 1, a sampler in `column` and a decoder after it; `more` are inputs of the sampler."""
    read = Link(graph.add("KolorsCoursePrompt", 1, model=base, prompt=prompt, negative_prompt=""))
    inputs = {"seed": 7, **world.sampling.said, **SIZE, "batch_size": 1, "denoise": 1.0, **more}
    latent = Link(graph.add("KolorsCourseSampler", column, model=model, prompt=read, **inputs))
    return Link(graph.add("KolorsCourseDecode", column + 1, model=base, latent=latent))


def text_to_image(world: World) -> Graph:
    graph = world.graph(
        "**文生图 · text to image**\n\n"
        "写下想画的内容，点击“运行”。宽、高为 0 表示模型自身的尺寸。\n\n"
        "Write what to draw and press Run. A width or height of 0 is the model's own."
    )
    base = world.start(graph)
    world.save(graph, 4, draw(world, graph, 2, base, base, world.prompts[0]), "text-to-image")
    return graph


def lora(world: World) -> Graph:
    graph = world.graph(
        "**使用 LoRA · with a LoRA**\n\n"
        "强度 1 就是训练时的强度；节点下方会显示匹配了多少个键。\n\n"
        "Strength 1 is the strength of training. The node shows how many keys matched."
    )
    base = world.start(graph)
    world.save(graph, 4, draw(world, graph, 2, base, world.style(graph, base, 1.0), world.prompts[0]), "lora")
    return graph


def two_loras(world: World) -> Graph:
    graph = world.graph(
        "**两个 LoRA · two LoRAs**\n\n"
        "两个 LoRA 的效果相加；强度之和最好不超过 1 太多。\n\n"
        "The effects of both add up; let their strengths sum to not much more than 1."
    )
    base = world.start(graph)
    image = draw(world, graph, 3, base, world.style(graph, base, 0.6, 0.5), world.prompts[0])
    world.save(graph, 5, image, "two-loras")
    return graph


def image_to_image(world: World) -> Graph:
    graph = world.graph(
        "**图生图 · image to image**\n\n"
        "第二次采样从第一幅画开始。降噪越小，保留越多。要用自己的图片，请把“加载图像”接到“编码图像”。\n\n"
        "The second sampler starts from the first picture; less denoise keeps more of it. For a picture of your own, "
        "connect Load Image to Kolors Encode Image."
    )
    base = world.start(graph)
    first = draw(world, graph, 2, base, base, world.prompts[0])
    encoded = Link(graph.add("KolorsCourseEncodeImage", 4, model=base, image=first, **SIZE))
    world.save(graph, 4, first, "before")
    second = draw(world, graph, 5, base, base, world.prompts[1], seed=8, denoise=0.7, latent=encoded)
    world.save(graph, 7, second, "after")
    return graph


def story(world: World) -> Graph:
    graph = world.graph(
        "**八格故事 · a story in eight pictures**\n\n"
        "分镜是 YAML 文本，直接在节点里修改。页面下方是没有 LoRA 的同一组画。\n\n"
        "The storyboard is YAML text: change it in the node. Below the story: the same without the LoRA."
    )
    model = world.style(graph, world.start(graph), 1.0)
    text = (data_dir() / "stories" / STORY).read_text(encoding="utf-8")
    inputs = {
        "model": model,
        "storyboard": text,
        "negative_prompt": "",
        **world.sampling.said,
        **SIZE,
        "compare": True,
    }
    drawn = graph.add("KolorsCourseStoryboard", 2, **inputs)
    world.save(graph, 3, Link(drawn, 0), "story")
    world.save(graph, 3, Link(drawn, 1), "panel")
    return graph


WORLDS = (
    World(
        "mini",
        ("夜晚雪地上的一只兔子", "a cat on a snowy field at night"),
        ("ink.safetensors", "paper-cut.safetensors"),
        read_sampling(data_path() / "kolors-mini" / SAMPLING_FILE),
        "Kolors-mini 随课程提供，CPU 即可运行。 Kolors-mini comes with the course and runs on a CPU.",
    ),
    World(
        "kolors",
        ("二次元，长发，少女，白色背景", "油画，长发，少女，夜晚的雪地"),
        ("my-style.safetensors", "my-subject.safetensors"),
        PUBLISHED,
        "把可图放到 models/diffusers，LoRA 放到 models/loras，按 R 刷新后选择。 "
        "Put Kolors into models/diffusers and LoRAs into models/loras, press R and choose them.",
    ),
)
GRAPHS = {
    "text-to-image": text_to_image,
    "lora": lora,
    "two-loras": two_loras,
    "image-to-image": image_to_image,
    "story": story,
}


def workflows() -> dict[str, str]:
    """Path below FOLDER -> text, of every workflow in both formats."""
    files = {}
    for world in WORLDS:
        for name, make in GRAPHS.items():
            graph = make(world)
            for folder, content in (("", graph.page()), ("api/", graph.api())):
                text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
                files[f"{folder}{world.name}-{name}.json"] = text
    return files


def main(folder: Path = FOLDER) -> None:
    for name, text in workflows().items():
        with atomic_path(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    print(f"wrote {len(workflows())} workflows to {folder}")


if __name__ == "__main__":
    main()
