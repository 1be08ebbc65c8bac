from .adapter import (
    adaptable_layers,
    add_lora,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
    match_layers,
    target_layers,
)
from .choices import ATTENTION_TARGETS, WRITABLE
from .combine import Combination, combine_loras
from .config import LoraSettings, parse_target_modules
from .extract import Extraction, extract_lora
from .files import LoraFile, save_lora, write_lora
from .inspection import LoraReport, inspect_lora
from .joint import TEXT_TARGETS, join_parts, split_parts, text_settings
from .layouts import LAYOUTS
from .loading import (
    LoadReport,
    check_fit,
    load_lora,
    merge_lora,
    parse_lora_argument,
    set_lora_strengths,
    share_weights,
    unload_lora,
)
from .maths import LoRALinear, lora_delta, lora_scale, merged_weight
from .names import LayerNames, layer_names
from .reading import read_lora
from .wearing import hash_of_lora, wear_loras
from .weights import merge_into_model, read_unet_weights
from .wishes import with_wishes, write_wish

__all__ = [
    "ATTENTION_TARGETS",
    "LAYOUTS",
    "TEXT_TARGETS",
    "WRITABLE",
    "Combination",
    "Extraction",
    "LayerNames",
    "LoRALinear",
    "LoadReport",
    "LoraFile",
    "LoraReport",
    "LoraSettings",
    "adaptable_layers",
    "add_lora",
    "check_fit",
    "combine_loras",
    "extract_lora",
    "hash_of_lora",
    "inspect_lora",
    "join_parts",
    "layer_names",
    "load_lora",
    "load_lora_state_dict",
    "lora_delta",
    "lora_parameters",
    "lora_scale",
    "lora_state_dict",
    "match_layers",
    "merge_into_model",
    "merge_lora",
    "merged_weight",
    "parse_lora_argument",
    "parse_target_modules",
    "read_lora",
    "read_unet_weights",
    "save_lora",
    "set_lora_strengths",
    "share_weights",
    "split_parts",
    "target_layers",
    "text_settings",
    "unload_lora",
    "wear_loras",
    "with_wishes",
    "write_lora",
    "write_wish",
]
