"""The three networks of Kolors, each loaded when it is wanted: together they need 18 GiB, the largest 12 of them."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import logging

from kolors_course.errors import CourseError
from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.configs import KOLORS_UNET, KOLORS_VAE
from kolors_course.kolors.layouts import ModelPaths, find_weights, read_model_config
from kolors_course.kolors.quantize import quantize_unet
from kolors_course.platform.pickles import load_pickle

Network: TypeAlias = UNet2DConditionModel | AutoencoderKL | ChatGLMModel

PARTS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": ChatGLMModel}
FULL_KOLORS = {"unet": KOLORS_UNET, "vae": KOLORS_VAE}  # for weight files that come without a config.json
# What diffusers, transformers, SentencePiece and torch raise on missing, damaged or foreign files.
LOAD_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    ImportError,  # transformers 5.0 asks for protobuf where a tokenizer is damaged
    RuntimeError,
    EOFError,
    SafetensorError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True)
class PartLoader:
    """Where the networks of a model come from and what they become.

    Attributes:
        device, dtype: where they compute, and in which type; `vae_dtype` is the VAE's own, if it has one.
        variant: see `load_model`.
        quantize: how the U-Net's linear layers are kept, one of `quantize.QUANTIZATIONS`; None keeps them plain.
    """

    paths: ModelPaths
    device: torch.device
    dtype: torch.dtype
    variant: str | None = None
    vae_dtype: torch.dtype | None = None
    quantize: str | None = None

    def load(self, part: str) -> Network:
        """One of `PARTS` with its weights, on its device, frozen.

        Raises:
            CourseError: it is missing or damaged.
        """
        if self._is_bare(part):
            module = _load_bare(part, getattr(self.paths, part))
            nn.Module.to(module, self._dtype(part))
        else:
            module = self._load_described(part)
        self._finish(part, module)
        if part == "unet" and self.quantize:
            quantize_unet(module, self.quantize, self.device)
        return module.to(self.device)

    def _load_described(self, part: str) -> nn.Module:
        with explained(self.paths.name):
            folder, variant = find_weights(getattr(self.paths, part), self.variant)
            if part != "text_encoder":
                options = {"torch_dtype": self._dtype(part), "use_safetensors": True}
                return load_part(PARTS[part], folder, variant, options)
            options = {"dtype": self.dtype, "ignore_mismatched_sizes": True} | _pickled(folder)
            return load_part(PARTS[part], folder, variant, options)

    def _is_bare(self, part: str) -> bool:
        """Whether it is a weight file without a config.json beside it."""
        path = getattr(self.paths, part)
        return part in FULL_KOLORS and path.is_file() and not (path.parent / "config.json").is_file()

    def skeleton(self, part: str) -> Network:
        """The same without weights, on the meta device: names, shapes and configuration.

        Raises:
            CourseError: its configuration is missing or damaged, or it has no weights that could be loaded later.
        """
        module = _bare(part) if self._is_bare(part) else self._described(part)
        nn.Module.to(module, self._dtype(part))
        self._finish(part, module)
        return module

    def _described(self, part: str) -> nn.Module:
        cls = PARTS[part]
        with explained(self.paths.name):
            folder, _ = find_weights(getattr(self.paths, part), self.variant)
            with torch.device("meta"):
                if part == "text_encoder":
                    config = cls.config_class.from_pretrained(folder, local_files_only=True)
                    return cls(config, empty_init=False)
                return cls.from_config(read_model_config(folder))

    def _dtype(self, part: str) -> torch.dtype:
        return self.vae_dtype or self.dtype if part == "vae" else self.dtype

    def _finish(self, part: str, module: nn.Module) -> None:
        if part == "unet":
            enable_text_bias(module)
        module.eval().requires_grad_(False)


def is_meta(module: nn.Module) -> bool:
    """Whether a network is without weights."""
    return next(module.parameters()).is_meta


def fill(skeleton: nn.Module, loaded: nn.Module) -> None:
    """Give `skeleton` all that is inside `loaded`, so that whoever holds it holds the weights too."""
    for name in ("_parameters", "_buffers", "_modules"):
        getattr(skeleton, name).update(getattr(loaded, name))


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the libraries raise on missing, damaged or foreign files into one clear line about `name`."""
    try:
        yield
    except LOAD_ERRORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        raise CourseError(f"cannot load the model {name}: {reason}; copy or download it again") from error


def _bare(part: str) -> nn.Module:
    with torch.device("meta"):
        return PARTS[part](**FULL_KOLORS[part])


def _load_bare(part: str, file: Path) -> nn.Module:
    """Full Kolors' `part` from a weight file that says nothing of itself but names and shapes."""
    module = _bare(part)
    with explained(file.name):
        tensors = load_file(file)
    wanted, found = ({name: t.shape for name, t in state.items()} for state in (module.state_dict(), tensors))
    if differing := sorted({name for name, _ in wanted.items() ^ found.items()}):
        raise CourseError(
            f"there is no config.json beside {file}, and it is not full Kolors' {part}: {len(differing)} tensors "
            f"differ (first: {differing[0]}); copy the config.json it belongs to there"
        )
    module.load_state_dict(tensors, assign=True)
    return module


def _pickled(folder: Path) -> dict[str, Any]:
    """Options for `from_pretrained` where a text encoder has only .bin files, as in the older layout.

    transformers itself reads those with torch 2.6 and newer only.
    """
    if any(folder.glob("*.safetensors")):
        return {}
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("pytorch_model*.bin")):
        tensors |= load_pickle(file, mmap=True)
    config = ChatGLMModel.config_class.from_pretrained(folder, local_files_only=True)
    return {"state_dict": tensors, "config": config}


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' bar: in a notebook it is a widget, which is broken once the kernel has gone."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_part(cls: Any, folder: Any, variant: str | None, options: dict[str, Any]) -> Any:
    """`cls.from_pretrained`, refusing files that leave a weight unset: it would be whatever was in memory."""
    files = None if "state_dict" in options else folder
    with _no_bars():
        part, info = cls.from_pretrained(
            files, variant=variant, output_loading_info=True, local_files_only=True, **options
        )
    unset = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    if unset:
        raise CourseError(
            f"the weights in {folder} do not fit its config.json: {len(unset)} are missing or of another shape "
            f"(first: {unset[0]}); copy both from the same model"
        )
    return part
