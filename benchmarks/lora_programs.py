"""Which programs apply a LoRA file at its trained strength: measured layer by layer, version by version.

    python benchmarks/lora_programs.py make /tmp/files                      # in the course's environment
    python benchmarks/lora_programs.py diffusers /tmp/files --output one.json   # with any diffusers from 0.30 on
    python benchmarks/lora_programs.py comfyui /tmp/files --output one.json     # with ComfyUI's folder in PYTHONPATH
    python benchmarks/lora_programs.py join one.json two.json ... --output benchmarks/lora_programs.json

`make` writes one small LoRA in every layout, for a narrow U-Net of Kolors' kind, and its true change of weight. The
other two let the program load each file, take the change of weight that it would add to each layer, and compare: how
many layers get the true change, how many a multiple of it, how many none. Only `make` imports the course.
"""

import argparse
import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from kolors_course.lora import LoraSettings
    from kolors_course.lora.names import LayerNames

# The width of nothing matters for names and scales; the fewer layers, the sooner it is measured.
UNET: dict[str, Any] = {
    "sample_size": 8,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
    "transformer_layers_per_block": [1, 1, 2],
    "attention_head_dim": [2, 4, 4],
    "norm_num_groups": 8,
    "cross_attention_dim": 48,
    "use_linear_projection": True,
    "encoder_hid_dim": 56,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 56,
}
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
WIDE = (
    *(*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2", "conv_shortcut"),
    *("time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out"),
    *("time_embedding.linear_1", "time_embedding.linear_2"),
)
EMBEDDINGS = ("add_embedding.linear_1", "add_embedding.linear_2", "encoder_hid_proj")
RANK, ALPHA = 4, 2.0
CLOSE = 1e-3  # of the change's norm; half precision does better


def make(folder: Path) -> None:
    """Write every file, and what it should do."""
    from diffusers import UNet2DConditionModel

    import kolors_course.lora as lora

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config(UNET)
    names = lora.layer_names(lora.adaptable_layers(unet))
    for name, (kind, targets, layout) in FILES.items():
        settings = lora.LoraSettings(RANK, ALPHA, targets, **kind)
        state, change = _adapter(unet, settings)
        path = folder / f"{name}.safetensors"
        if layout in ("diffusers", "kohya"):
            lora.write_lora(path, lora.LoraFile(path, state, settings, {}), layout, unet)
        else:
            save_file(_spelled(layout, state, names), path, metadata={"format": "pt"})
        save_file(change, folder / f"{name}.true.safetensors")


# name -> (settings, layers, how the tensors are called: a layout that the course writes, or see `_spelled`)
FILES: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "diffusers": ({}, WIDE, "diffusers"),
    "diffusers, attention": ({}, ATTENTION, "diffusers"),
    "diffusers, embeddings": ({}, EMBEDDINGS, "diffusers"),
    "diffusers, rsLoRA": ({"use_rslora": True}, ATTENTION, "diffusers"),
    "diffusers, without alpha": ({}, ATTENTION, "unet.{own}.lora_{AB}.weight"),
    "diffusers, lora.down": ({}, ATTENTION, "unet.{own}.lora.{down}.weight"),
    "diffusers, processors": ({}, ATTENTION, "{legacy}_lora.{down}.weight"),
    "peft": ({}, ATTENTION, "base_model.model.{own}.lora_{AB}.weight"),
    "peft, unet. before it": ({}, ATTENTION, "unet.base_model.model.{own}.lora_{AB}.weight"),
    "peft, adapter's name": ({}, ATTENTION, "unet.{own}.lora_{AB}.default.weight"),
    "unet. twice": ({}, ATTENTION, "unet.unet.{own}.lora.{down}.weight"),
    "kohya": ({}, WIDE, "kohya"),
    "kohya, attention": ({}, ATTENTION, "kohya"),
    "kohya, embeddings": ({}, EMBEDDINGS, "kohya"),
    "kohya, without alpha": ({}, ATTENTION, "lora_unet_{joined}.lora_{down}.weight"),
    "kohya, Stability's names": ({}, ATTENTION, "lora_unet_{sgm_joined}.lora_{down}.weight + alpha"),
    "kohya, Stability's names, wide": ({}, WIDE, "lora_unet_{sgm_joined}.lora_{down}.weight + alpha"),
    "LyCORIS": ({}, WIDE, "lycoris_{joined}.lora_{down}.weight + alpha"),
    "ComfyUI": ({}, WIDE, "diffusion_model.{sgm}.lora_{AB}.weight + alpha"),
    "ComfyUI, LoraSave": ({}, WIDE, "diffusion_model.{sgm}.lora_{down}.weight"),
    "ComfyUI, diffusers names": ({}, WIDE, "diffusion_model.{own}.lora_{AB}.weight"),
    "LoKr, kohya": ({"adapter": "lokr"}, WIDE, "kohya"),
    "LoHa, kohya": ({"adapter": "loha"}, WIDE, "kohya"),
    "LoKr, diffusers": ({"adapter": "lokr"}, WIDE, "diffusers"),
    "LoHa, diffusers": ({"adapter": "loha"}, WIDE, "diffusers"),
}


def _adapter(
    unet: torch.nn.Module, settings: "LoraSettings"
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random tensors of an adapter, and its true change of weight by layer."""
    from kolors_course.lora.adapter import target_layers
    from kolors_course.lora.kinds import part_shapes, weight_change

    generator, state, change = torch.Generator().manual_seed(1), {}, {}
    for name, layer in target_layers(unet, settings.target_modules).items():
        for part, shape in part_shapes(layer, settings.adapter, settings.rank).items():
            state[f"{name}.{part}"] = torch.randn(shape, generator=generator) * 0.2
        delta = settings.scale * weight_change(state, name, settings.adapter)
        change[name] = delta.reshape(layer.weight.shape).contiguous()
    return state, change


def _spelled(pattern: str, state: Mapping[str, torch.Tensor], names: "LayerNames") -> dict[str, torch.Tensor]:
    """The tensors under names as `pattern` has them; "+ alpha" puts kohya's number beside each layer."""
    pattern, plus, _ = pattern.partition(" + alpha")
    sgm = {ours: theirs for theirs, ours in names.stability.items()}
    tensors = {}
    for name, tensor in state.items():
        own, factor = name.removesuffix(".weight").rsplit(".lora_", 1)
        legacy = "unet." + own.replace(".to_", ".processor.to_").removesuffix(".0")
        words = {"own": own, "joined": own.replace(".", "_"), "legacy": legacy, "AB": factor}
        words |= {
            "sgm": sgm[own],
            "sgm_joined": sgm[own].replace(".", "_"),
            "down": {"A": "down", "B": "up"}[factor],
        }
        tensors[pattern.format(**words)] = tensor
        if plus:
            stem = pattern[: pattern.index(".lora_")].format(**words)
            tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return tensors


def measure_diffusers(folder: Path) -> dict:
    import diffusers
    from diffusers import KolorsPipeline, UNet2DConditionModel

    def changes(path: Path) -> dict[str, torch.Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unet = UNet2DConditionModel.from_config(UNET)
        pipeline = KolorsPipeline(vae=None, text_encoder=None, tokenizer=None, unet=unet, scheduler=None)
        if path.stem == "LoKr, diffusers":  # what `inspect-lora` advises
            unet.load_lora_adapter(str(path), prefix="unet", use_safetensors=True)
        else:
            pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="it")
        found = {}
        for name, module in unet.named_modules():
            if hasattr(module, "get_delta_weight") and module.active_adapters:
                found[name] = module.get_delta_weight(module.active_adapters[0]).detach()
        return found

    return {"program": f"diffusers {diffusers.__version__}", "files": _compare_all(folder, changes)}


def measure_comfyui(folder: Path) -> dict:
    from comfy.cli_args import args

    args.cpu = True
    import comfy.lora
    import comfy.lora_convert
    import comfy.utils
    import comfyui_version
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    config = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "num_res_blocks": [1, 1, 1],
        "channel_mult": [1, 2, 2],
        "transformer_depth": [0, 1, 2],
        "transformer_depth_middle": 2,
        "transformer_depth_output": [0, 0, 1, 1, 2, 2],
        "num_head_channels": 16,
        "context_dim": 48,
        "adm_in_channels": UNET["projection_class_embeddings_input_dim"],
        "num_classes": "sequential",
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "legacy": False,
        "use_temporal_attention": False,
    }
    inner = UNetModel(**config, device="cpu", operations=comfy.ops.disable_weight_init)
    inner.encoder_hid_proj = torch.nn.Linear(UNET["encoder_hid_dim"], 48)  # what node packs for Kolors add

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.diffusion_model = inner
            self.model_config = argparse.Namespace(unet_config=config)

    model = Model()
    weights = model.state_dict()
    keys = comfy.lora.model_lora_keys_unet(model, {})
    known = comfy.utils.unet_to_diffusers(
        config
    ).items()  # it has two names of diffusers for SDXL's embeddings
    own = {f"diffusion_model.{theirs}": ours for ours, theirs in known if "class_embedding" not in ours}
    own["diffusion_model.encoder_hid_proj.weight"] = "encoder_hid_proj.weight"

    def changes(path: Path) -> dict[str, torch.Tensor]:
        tensors = comfy.lora_convert.convert_lora(comfy.utils.load_torch_file(str(path)))
        found = {}
        for key, patch in comfy.lora.load_lora(tensors, keys, log_missing=False).items():
            zeros = torch.zeros_like(weights[key])
            found[own[key].removesuffix(".weight")] = comfy.lora.calculate_weight(
                [(1.0, patch, 1.0, None, None)], zeros, key
            )
        return found

    return {"program": f"ComfyUI {comfyui_version.__version__}", "files": _compare_all(folder, changes)}


def _compare_all(folder: Path, changes: Callable[[Path], Mapping[str, torch.Tensor]]) -> dict:
    report = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.endswith(".true.safetensors"):
            continue
        true = load_file(path.with_name(f"{path.stem}.true.safetensors"))
        try:
            found = changes(path)
        except Exception as error:  # whatever it is, the program did not load the file
            line = (str(error).splitlines() or [""])[0].partition("{")[0].strip()
            report[path.stem] = {"layers": len(true), "error": f"{type(error).__name__}: {line}"[:160]}
            continue
        report[path.stem] = _compare(found, true)
    return report


def _compare(found: Mapping[str, torch.Tensor], true: dict[str, torch.Tensor]) -> dict:
    """How many layers got which multiple of their true change."""
    multiples: Counter[str] = Counter()
    lost = []
    for name, change in true.items():
        if name not in found or found[name].is_meta or not found[name].any():
            lost.append(name)
            continue
        got = found[name].reshape(change.shape).float()
        multiple = ((got * change).sum() / change.square().sum()).item()
        exact = (got - multiple * change).norm() <= CLOSE * change.norm()
        multiples[f"{multiple:.3g}" if exact else "wrong"] += 1
    report = {"layers": len(true), "times": dict(sorted(multiples.items()))}
    if lost:
        report["lost"] = dict(sorted(Counter(map(_kind, lost)).items()))
    return report


def _kind(layer: str) -> str:
    words = [word for word in layer.split(".") if not word.isdecimal()]
    return words[0] if words[0] in ("conv_in", "conv_out", "time_embedding", "add_embedding") else words[-1]


def join(parts: list[Path]) -> dict:
    measured = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    return {
        "what": "of each file, how many layers got which multiple of their true change of weight; 1 is right",
        "command": "python benchmarks/lora_programs.py make|diffusers|comfyui|join",
        "file": f"rank {RANK}, alpha {ALPHA:g}, so scale {ALPHA / RANK:g}",
        "measured": measured,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("make", "diffusers", "comfyui", "join"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.paths[0])
        return
    if arguments.command == "join":
        report = join(arguments.paths)
    else:
        report = {"diffusers": measure_diffusers, "comfyui": measure_comfyui}[arguments.command](
            arguments.paths[0]
        )
        versions = {
            "torch": torch.__version__,
            "Python": platform.python_version(),
            "machine": platform.machine(),
        }
        if arguments.command == "diffusers":
            import peft
            import transformers

            versions |= {"peft": peft.__version__, "transformers": transformers.__version__}
        report |= {"versions": versions, "date": date.today().isoformat()}
    arguments.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
