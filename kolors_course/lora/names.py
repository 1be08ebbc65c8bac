"""What the layers of Kolors' U-Net are called in other programs.

Every table is made from the list of a U-Net's own layers and is looked up whole. A name such as
`lora_unet_mid_block_attentions_0_proj_in` cannot be split again: nobody knows which `_` was a dot.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_STEM = re.compile(
    r"(?:(?:down|up)_blocks\.\d+|mid_block)\.(?:resnets|attentions|downsamplers|upsamplers)\.\d+"
)
_SGM_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
# Layers outside the blocks: diffusers -> (sgm, DiffSynth-Studio). SDXL, whose names sgm are, has no
# encoder_hid_proj; ComfyUI knows it under the name it has in diffusers.
_OUTSIDE = {
    "conv_in": ("input_blocks.0.0", "conv_in"),
    "conv_out": ("out.2", "conv_out"),
    "time_embedding.linear_1": ("time_embed.0", "time_embedding.0"),
    "time_embedding.linear_2": ("time_embed.2", "time_embedding.2"),
    "add_embedding.linear_1": ("label_emb.0.0", "add_time_embedding.0"),
    "add_embedding.linear_2": ("label_emb.0.2", "add_time_embedding.2"),
    "encoder_hid_proj": ("encoder_hid_proj", "text_intermediate_proj"),
}


@dataclass(frozen=True)
class LayerNames:
    """The layers of one U-Net: names elsewhere -> name in diffusers, one entry for each layer.

    Attributes:
        kohya: the diffusers name with `_` for every dot, as kohya's trainer and ComfyUI write it.
        sgm: Stability's names (`input_blocks_4_1_…`), also with `_`, as kohya's SDXL trainer writes them.
        diffsynth: the names in the Kolors U-Net of DiffSynth-Studio 1.x (`blocks.7.…`).
        stability: Stability's names with their dots, as ComfyUI writes them.
    """

    kohya: dict[str, str]
    sgm: dict[str, str]
    diffsynth: dict[str, str]
    stability: dict[str, str]

    @property
    def own(self) -> dict[str, str]:
        """The names in diffusers themselves."""
        return {name: name for name in self.kohya.values()}


def layer_names(layers: Iterable[str]) -> LayerNames:
    """The tables of a U-Net whose layers have these names in diffusers.

    Block numbers follow from the order of the blocks, so they are right for full Kolors, for Kolors-mini and
    for any other U-Net of this kind; but `layers` must be all of them (see `adaptable_layers`).
    """
    layers = list(layers)
    stems = {match[0] for name in layers if (match := _STEM.match(name))}
    sgm, diffsynth = _numbered(stems)
    stability = {_sgm_name(name, sgm): name for name in layers}
    return LayerNames(
        {name.replace(".", "_"): name for name in layers},
        {theirs.replace(".", "_"): name for theirs, name in stability.items()},
        {_diffsynth_name(name, diffsynth): name for name in layers},
        stability,
    )


def block_of(layer: str) -> str:
    """The resnet, attention or sampler that a layer belongs to; the first word of its name outside of them."""
    match = _STEM.match(layer)
    return match[0] if match else layer.split(".")[0]


def kind_of_layer(layer: str) -> str:
    """The last word of a layer's name, with the numbers that follow it: `to_out.0`, `ff.net.2`."""
    words = layer.split(".")
    if "ff" in words:
        return ".".join(words[words.index("ff") :])
    return ".".join(words[-2:]) if words[-1].isdecimal() else words[-1]


def _numbered(stems: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Each resnet, attention and sampler: diffusers stem -> stem in sgm, and in DiffSynth-Studio."""
    sgm, diffsynth, number = {}, {}, 0
    counts = {"input_blocks": 1, "output_blocks": 0}  # input block 0 is conv_in; the middle is one block
    for side, station in _stations(stems):
        # DiffSynth's flat list also numbers a PopBlock before each station of the way up ...
        number += side == "output_blocks"
        for i, stem in enumerate(station):
            place = f"{side}.{counts[side]}" if side in counts else side
            sgm[stem], diffsynth[stem] = f"{place}.{i}", f"blocks.{number}"
            number += 1
        # ... and a PushBlock after each station of the way down.
        number += side == "input_blocks"
        if side in counts:
            counts[side] += 1
    return sgm, diffsynth


def _stations(stems: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The U-Net in the order of its computation, cut where skip connections leave or enter."""
    for block in _count_up("down_blocks.{}.resnets.0", stems):
        for layer in _count_up(f"down_blocks.{block}.resnets.{{}}", stems):
            parts = (f"down_blocks.{block}.{kind}.{layer}" for kind in ("resnets", "attentions"))
            yield "input_blocks", [stem for stem in parts if stem in stems]
        if (sampler := f"down_blocks.{block}.downsamplers.0") in stems:
            yield "input_blocks", [sampler]
    middle = ("resnets.0", "attentions.0", "resnets.1")
    yield "middle_block", [stem for part in middle if (stem := f"mid_block.{part}") in stems]
    for block in _count_up("up_blocks.{}.resnets.0", stems):
        layers = _count_up(f"up_blocks.{block}.resnets.{{}}", stems)
        for layer in layers:
            station = [f"up_blocks.{block}.{kind}.{layer}" for kind in ("resnets", "attentions")]
            station += [f"up_blocks.{block}.upsamplers.0"] if layer == layers[-1] else []
            yield "output_blocks", [stem for stem in station if stem in stems]


def _count_up(pattern: str, stems: set[str]) -> range:
    """The numbers 0, 1, … for which `pattern` is the name of a stem."""
    count = 0
    while pattern.format(count) in stems:
        count += 1
    return range(count)


def _sgm_name(name: str, stems: dict[str, str]) -> str:
    match = _STEM.match(name)
    if not match:
        return _OUTSIDE.get(name, (name, name))[0]
    stem, leaf = match[0], name[match.end() + 1 :]
    if ".resnets." in stem:
        leaf = _SGM_RESNET[leaf]
    elif ".downsamplers." in stem:
        leaf = "op"
    return f"{stems[stem]}.{leaf}"


def _diffsynth_name(name: str, stems: dict[str, str]) -> str:
    match = _STEM.match(name)
    if not match:
        return _OUTSIDE.get(name, (name, name))[1]
    stem, leaf = match[0], name[match.end() + 1 :]
    for ours, theirs in ((".to_out.0", ".to_out"), (".ff.net.0.proj", ".act_fn.proj"), (".ff.net.2", ".ff")):
        leaf = leaf.removesuffix(ours) + theirs if leaf.endswith(ours) else leaf
    return f"{stems[stem]}.{leaf}"
