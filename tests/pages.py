"""Workflows for tests, written short: a little world of node types, and pages made of them."""

from kolors_course.comfyui.schema import read_schemas

# As a server describes them: some in the way of old nodes (V1), some in that of new ones (V3).
OBJECT_INFO = {
    "Load": {
        "display_name": "Load a model",
        "input": {"required": {"name": [["mini", "full"], {}]}},
        "input_order": {"required": ["name"]},
        "output": ["PIPE"],
        "output_node": False,
    },
    "Encode": {
        "display_name": "Encode",
        "input": {
            "required": {
                "pipe": ["PIPE", {}],
                "text": ["STRING", {"multiline": True}],
                "style": ["COMBO", {"options": ["plain", "ink"], "default": "ink"}],
            },
            "optional": {"hint": ["STRING", {"forceInput": True}]},
        },
        "input_order": {"required": ["pipe", "text", "style"], "optional": ["hint"]},
        "output": ["EMBEDS"],
        "output_node": False,
    },
    "Sample": {
        "display_name": "Sample",
        "input": {
            "required": {
                "pipe": ["PIPE"],
                "embeds": ["EMBEDS", {}],
                "seed": ["INT", {"default": 0, "min": 0, "max": 99}],
                "steps": ["INT", {"default": 25, "min": 1, "max": 100, "control_after_generate": False}],
                "cfg": ["FLOAT", {"default": 5.0, "min": 0.0, "max": 20.0}],
            },
            "optional": {
                "latent": ["LATENT", {}],
                "tiled": ["BOOLEAN", {}],
                "sizes": ["INT", {"default": 2}],
            },
        },
        "output": ["IMAGE", "LATENT"],
        "output_node": False,
    },
    "Picture": {
        "display_name": "Picture",
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
        "output": ["IMAGE"],
        "output_node": False,
    },
    "Words": {
        "display_name": "Words",
        "input": {"required": {}},
        "output": ["STRING", ["x"], "*"],
        "output_node": False,
    },
    "Save": {
        "display_name": "Save",
        "input": {"required": {"images": ["IMAGE,MASK", {}], "prefix": ["STRING", {"default": "out"}]}},
        "output": [],
        "output_node": True,
    },
}
SCHEMAS = read_schemas(OBJECT_INFO)


def page(*nodes, links=(), **extra):
    """A workflow in UI format. links: (from node, slot, to node, input name, type)."""
    nodes = {entry["id"]: entry for entry in nodes}
    rows = []
    for number, (source, slot, target, name, kind) in enumerate(links, start=1):
        inputs = nodes[target]["inputs"]
        inputs.append({"name": name, "type": kind, "link": number})
        rows.append([number, source, slot, target, len(inputs) - 1, kind])
    return {"nodes": list(nodes.values()), "links": rows, "version": 0.4, **extra}


def node(identity, kind, *values, mode=0, outputs=(), title=None):
    entry = {"id": identity, "type": kind, "mode": mode, "inputs": [], "widgets_values": list(values)}
    entry["outputs"] = [{"name": output, "type": output, "links": []} for output in outputs]
    return entry | ({"title": title} if title else {})


def subgraph(identity, *nodes, links=(), inputs=(), outputs=()):
    """A definition of a subgraph. links: as of `page`; from -10 come its inputs, to -20 with a slot go its outputs.

    inputs, outputs: (name, type) each.
    """
    entries = {entry["id"]: entry for entry in nodes}
    rows = []
    for number, (source, slot, target, name, kind) in enumerate(links, start=1):
        place = name
        if target != -20:
            known = entries[target]["inputs"]
            known.append({"name": name, "type": kind, "link": number})
            if kind in ("STRING", "INT", "FLOAT"):
                known[-1]["widget"] = {"name": name}
            place = len(known) - 1
        ends = {"origin_id": source, "origin_slot": slot, "target_id": target, "target_slot": place}
        rows.append({"id": number, "type": kind, **ends})
    ports = {"inputs": [], "outputs": []}
    for side, end, names in (("inputs", "origin", inputs), ("outputs", "target", outputs)):
        border = -10 if side == "inputs" else -20
        for place, (name, kind) in enumerate(names):
            own = [row["id"] for row in rows if (row[f"{end}_id"], row[f"{end}_slot"]) == (border, place)]
            ports[side].append(
                {"id": f"{identity}-{side}-{place}", "name": name, "type": kind, "linkIds": own}
            )
    borders = {
        "inputNode": {"id": -10, "bounding": [0, 0, 9, 9]},
        "outputNode": {"id": -20, "bounding": [0, 0, 9, 9]},
    }
    return {
        "id": identity,
        "name": identity,
        "version": 1,
        "nodes": list(nodes),
        "links": rows,
        **ports,
        **borders,
    }


def subgraph_page():
    """The good page with Encode in a subgraph, that and Sample in another, whose fields show on the node outside."""
    words = subgraph(
        "words",
        node(2, "Encode", "inside", "ink", outputs=["EMBEDS"], title="提示词"),
        inputs=[("pipe", "PIPE"), ("text", "STRING")],
        outputs=[("EMBEDS", "EMBEDS")],
        links=[
            (-10, 0, 2, "pipe", "PIPE"),
            (-10, 1, 2, "text", "STRING"),
            (2, 0, -20, 0, "EMBEDS"),
        ],
    )
    drawing = subgraph(
        "drawing",
        node(5, "words", "middle", outputs=["EMBEDS"]),
        node(3, "Sample", 7, "fixed", 25, 5.0, True, 3, outputs=["IMAGE", "LATENT"]),
        inputs=[("pipe", "PIPE"), ("steps", "INT"), ("text", "STRING")],
        outputs=[("IMAGE", "IMAGE")],
        links=[
            (-10, 0, 5, "pipe", "PIPE"),
            (-10, 2, 5, "text", "STRING"),
            (-10, 0, 3, "pipe", "PIPE"),
            (5, 0, 3, "embeds", "EMBEDS"),
            (-10, 1, 3, "steps", "INT"),
            (3, 0, -20, 0, "IMAGE"),
        ],
    )
    return page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(9, "drawing", 30, "一只兔子", outputs=["IMAGE"]),
        node(4, "Save", "rabbit"),
        links=[(1, 0, 9, "pipe", "PIPE"), (9, 0, 4, "images", "IMAGE")],
        definitions={"subgraphs": [words, drawing]},
    )


def good_page():
    """Load -> Encode -> Sample -> Save."""
    return page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(2, "Encode", "一只兔子", "ink", outputs=["EMBEDS"], title="提示词"),
        node(3, "Sample", 7, "fixed", 25, 5.0, True, 3, outputs=["IMAGE", "LATENT"]),
        node(4, "Save", "rabbit"),
        links=[
            (1, 0, 2, "pipe", "PIPE"),
            (1, 0, 3, "pipe", "PIPE"),
            (2, 0, 3, "embeds", "EMBEDS"),
            (3, 0, 4, "images", "IMAGE"),
        ],
    )


def good_api():
    return {
        "1": {"class_type": "Load", "inputs": {"name": "mini"}, "_meta": {"title": "Load a model"}},
        "2": {
            "class_type": "Encode",
            "inputs": {"text": "一只兔子", "style": "ink", "pipe": ["1", 0]},
            "_meta": {"title": "提示词"},
        },
        "3": {
            "class_type": "Sample",
            "inputs": {
                "seed": 7,
                "steps": 25,
                "cfg": 5.0,
                "tiled": True,
                "sizes": 3,
                "pipe": ["1", 0],
                "embeds": ["2", 0],
            },
            "_meta": {"title": "Sample"},
        },
        "4": {
            "class_type": "Save",
            "inputs": {"prefix": "rabbit", "images": ["3", 0]},
            "_meta": {"title": "Save"},
        },
    }


CORE = read_schemas(
    {
        "VAELoader": {"input": {"required": {"vae_name": [["a"]]}}, "output": ["VAE"]},
        "VAEDecode": {"input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}}, "output": ["IMAGE"]},
        "PreviewImage": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True},
    }
)
CAMP_LORA = "/mnt/workspace/models/lightning_logs/version_0/checkpoints/epoch=0-step=500.ckpt"
CAMP_PROMPT = "二次元，长发，少女，白色背景"


def camp_page(
    lora=True, sampler=(1024, 1024, 0, "fixed", 25, 5, "EulerDiscreteScheduler", 1), alpha=2, text=None
):
    """The camp's two workflows: kolors_with_lora_example, and kolors_example without the LoRA node."""
    nodes = [
        node(6, "DownloadAndLoadKolorsModel", "Kwai-Kolors/Kolors", "fp16", outputs=["KOLORSMODEL"]),
        node(13, "DownloadAndLoadChatGLM3", "fp16", outputs=["CHATGLM3MODEL"]),
        node(12, "KolorsTextEncode", *(text or (CAMP_PROMPT, "", 1)), outputs=["KOLORS_EMBEDS"]),
        node(14, "KolorsSampler", *sampler, outputs=["LATENT"]),
        node(11, "VAELoader", "sdxl.vae.safetensors", outputs=["VAE"]),
        node(10, "VAEDecode", outputs=["IMAGE"]),
        node(3, "PreviewImage"),
        node(15, "Note", "Kolors"),
    ]
    if lora:
        nodes.append(node(16, "LoadKolorsLoRA", CAMP_LORA, alpha, outputs=["KOLORSMODEL"]))
    model = [(6, 0, 16, "kolors_model", "KOLORSMODEL")] if lora else []
    return page(
        *nodes,
        links=[
            *model,
            (16 if lora else 6, 0, 14, "kolors_model", "KOLORSMODEL"),
            (13, 0, 12, "chatglm3_model", "CHATGLM3MODEL"),
            (12, 0, 14, "kolors_embeds", "KOLORS_EMBEDS"),
            (14, 0, 10, "samples", "LATENT"),
            (11, 0, 10, "vae", "VAE"),
            (10, 0, 3, "images", "IMAGE"),
        ],
    )
