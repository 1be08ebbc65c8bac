"""LoRA: the maths, attaching it to a U-Net, its file, and using such files."""

from kolors_course.lora.adapter import add_lora, load_lora_state_dict, lora_parameters, lora_state_dict
from kolors_course.lora.config import ATTENTION_TARGETS, LoraSettings, parse_target_modules
from kolors_course.lora.files import LoraFile, read_lora, save_lora
from kolors_course.lora.loading import (
    LoadReport,
    load_lora,
    merge_lora,
    parse_lora_argument,
    set_lora_strengths,
    unload_lora,
)
from kolors_course.lora.maths import LoRALinear, lora_delta, lora_scale, merged_weight

__all__ = [
    "ATTENTION_TARGETS",
    "LoRALinear",
    "LoadReport",
    "LoraFile",
    "LoraSettings",
    "add_lora",
    "load_lora",
    "load_lora_state_dict",
    "lora_delta",
    "lora_parameters",
    "lora_scale",
    "lora_state_dict",
    "merge_lora",
    "merged_weight",
    "parse_lora_argument",
    "parse_target_modules",
    "read_lora",
    "save_lora",
    "set_lora_strengths",
    "unload_lora",
]
