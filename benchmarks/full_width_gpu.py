"""What full Kolors' U-Net costs on a GPU: memory and speed of our training step and of guided sampling.

    python benchmarks/full_width_gpu.py --output full_width_gpu.json
    python benchmarks/full_width_gpu.py --compare --output ways.json   # eager, recorded and compiled, in one run
    python benchmarks/full_width_gpu.py --tiny --output tiny.json      # the same at a tiny width, on any machine

The weights are random, which changes neither memory nor speed. Every part trains a LoRA of rank 16 on the attention
layers with batch 1 at 1024 px, latents and captions cached, as `kolors-course train-lora` does. The file is written
anew after each part; a part that fails or no longer fits into --seconds is named in it, and the others go on.
Quantized parts need bitsandbytes (for CUDA 13: 0.48 or newer).

--compare takes the training step, and sampling, in several ways: as they are, recorded as a CUDA graph (one for
each shape of pictures; without a GPU it runs plainly), and by torch.compile, whose compiling takes minutes. The
losses of the first steps, which start alike, are told too: a way must not change what is learnt. Recorded and
compiled steps have not run on a GPU yet.
"""

import argparse
import gc
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from denoising_tensors import DenoisingTensors, NoisyTensors
from diffusers import AutoencoderKL, EulerDiscreteScheduler, KolorsPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kolors_course.diffusion import NoiseSchedule
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, PromptEmbeds, Sampling, decode_latents, sample_latents, time_ids
from kolors_course.kolors.compact import compact_inputs, compact_rows, enable_text_bias
from kolors_course.kolors.configs import KOLORS_SCHEDULER, KOLORS_UNET, KOLORS_VAE
from kolors_course.kolors.prompts import MAX_SEQUENCE_LENGTH
from kolors_course.kolors.quantize import quantization_of, quantize_unet
from kolors_course.lora import LoraSettings
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.platform.provenance import provenance
from kolors_course.training.batches import NoisyBatches, PictureStream
from kolors_course.training.cache import EncodedPictures
from kolors_course.training.data import TrainingData
from kolors_course.training.distributed import make_accelerator
from kolors_course.training.learning import Gradients
from kolors_course.training.lora import restore
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.recorded import recorded_pass
from kolors_course.training.run import RunFolder
from kolors_course.training.trainer import LoraTrainer

TINY_UNET = KOLORS_UNET | {
    "sample_size": 8,
    "block_out_channels": (32, 64, 64),
    "transformer_layers_per_block": [1, 1, 1],
    "attention_head_dim": [1, 2, 2],
    "cross_attention_dim": 64,
    "encoder_hid_dim": 64,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 64 + 6 * 32,
}
TINY_VAE = KOLORS_VAE | {"sample_size": 64, "block_out_channels": (32, 32, 32, 32)}
CAPTION_TOKENS = 30  # a sentence; [gMASK] and sop included
PICTURES = 4
GUIDANCE = 5.0
LEAST_SECONDS = 3.0  # a part is not started with less
COMPARED = 10  # steps whose losses are told


def build_model(tiny: bool, device: torch.device, seed: int) -> KolorsModel:
    """Kolors without its text encoder, with random weights in bfloat16, made where they are needed."""
    torch.manual_seed(seed)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**(TINY_UNET if tiny else KOLORS_UNET))
        vae = AutoencoderKL(**(TINY_VAE if tiny else KOLORS_VAE))
    for part in (unet, vae):
        part.bfloat16().to_empty(device=device)
        for module in part.modules():
            initialise(module)
        part.eval().requires_grad_(False)
    enable_text_bias(unet)
    return KolorsModel(unet, vae, None, None, NoiseSchedule.kolors(), "Kolors with random weights")


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Weights that keep the size of what passes through, normalisation that does nothing."""
    for name, parameter in module.named_parameters(recurse=False):
        if name == "bias":
            parameter.zero_()
        elif parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            parameter.normal_(std=parameter[0].numel() ** -0.5)


def prompts_of(model: KolorsModel, count: int, tokens: int, compacted: bool) -> PromptEmbeds:
    """Random text rows of `count` prompts: `tokens` real ones and a pad row, or all 256."""
    lengths = torch.full((count,), tokens, device=model.device)
    width, rows, bias = model.unet.config.encoder_hid_dim, MAX_SEQUENCE_LENGTH, None
    if compacted:
        needed = compact_rows([tokens], MAX_SEQUENCE_LENGTH)
        bias = compact_inputs(lengths, needed, MAX_SEQUENCE_LENGTH)[1]
        rows = bias.shape[1]
    generator = torch.Generator(model.device).manual_seed(0)
    options = {"generator": generator, "device": model.device, "dtype": model.unet.dtype}
    pads = torch.randn(count, 1, width, **options).expand(-1, rows - tokens, -1)
    real = torch.randn(count, tokens, width, **options)
    bias = torch.zeros(count, rows, device=model.device) if bias is None else bias
    return PromptEmbeds(torch.cat([pads, real], 1), torch.randn(count, width, **options), bias)


def training_data(model: KolorsModel, compacted: bool) -> TrainingData:
    """Random pictures, as if encoded."""
    side = model.unet.config.sample_size
    latents = torch.randn(1, PICTURES, 4, side, side, generator=torch.Generator().manual_seed(0))
    ids = time_ids(model.default_size, model.default_size).expand(1, PICTURES, -1)
    latents, ids = latents.to(model.device), ids.to(model.device)
    prompts = prompts_of(model, PICTURES + 1, CAPTION_TOKENS, compacted)
    cache = EncodedPictures(latents, torch.zeros_like(latents), ids, prompts)
    return TrainingData(PictureStream((cache,), 0, 0.1), None, (), None)


def recorded_training(trainer: LoraTrainer) -> Gradients:
    """The trainer's pass, recorded as a CUDA graph where there is a GPU; it sees the same material."""
    recipe, model = trainer.recipe, trainer.model
    noisy = NoisyBatches(trainer.data.train, model.schedule.num_train_timesteps, recipe.batch_size)
    objective = DenoisingTensors(recipe.loss)

    def in_precision(model: KolorsModel, **material: Any) -> dict[str, Tensor]:
        with trainer.accelerator.autocast():
            return objective(model, **material)

    material = NoisyTensors(noisy, model.schedule, recipe.loss)
    return recorded_pass(trainer.learner, in_precision, material, model.device)


def measure_way(model: KolorsModel, seconds: float, way: str) -> dict:
    """As `measure_training`, with the step taken in another way: "eager", "recorded" or "compiled"."""

    def change(trainer: LoraTrainer) -> None:
        if way == "recorded":
            trainer.training.gradients = recorded_training(trainer)
        elif way == "compiled":
            trainer.learner.wrap(cast(nn.Module, torch.compile(trainer.learner.module)))

    with trainer_of(model, compacted=True, checkpointing=False) as trainer:
        change(trainer)
        losses = [trainer.train_step() for _ in range(COMPARED)]
        with peak_memory(model.device) as memory:
            per_step = repeat(trainer.train_step, seconds)
    return {**speed_of(per_step), "losses": [round(loss, 5) for loss in losses], **memory}


def measure_training(model: KolorsModel, seconds: float, compacted: bool, checkpointing: bool) -> dict:
    """Steps per second, operations and peak memory of our training step."""
    with trainer_of(model, compacted, checkpointing) as trainer:
        trainer.train_step()  # the optimizer's averages are made in the first step
        with FlopCounterMode(display=False) as counter:
            trainer.train_step()
        with peak_memory(model.device) as memory:
            per_step = repeat(trainer.train_step, seconds)
    return {
        **speed_of(per_step),
        "TFLOP per step": round(counter.get_total_flops() / 1e12, 4),
        **memory,
    }


def speed_of(per_step: float) -> dict[str, float]:
    return {"seconds per step": round(per_step, 4), "steps per second": round(1 / per_step, 3)}


@contextmanager
def trainer_of(model: KolorsModel, compacted: bool, checkpointing: bool) -> Iterator[LoraTrainer]:
    """A trainer before its first step; afterwards the model is without LoRA again."""
    recipe = LoraTraining(
        batch_size=1,
        learning_rate=1e-4,
        settings=LoraSettings(rank=16, alpha=16.0),
        gradient_checkpointing=checkpointing,
        precision="bf16",
    )
    with tempfile.TemporaryDirectory() as folder:
        accelerator = make_accelerator(recipe, model.device)
        model.vae.to("cpu")  # as the trainer does once pictures are encoded
        data = training_data(model, compacted)
        try:
            yield LoraTrainer(model, recipe, data, RunFolder(Path(folder)), accelerator, {})
        finally:
            restore(model)


def our_sampler(model: KolorsModel, steps: int, latents: Tensor) -> Callable[[], object]:
    prompts = prompts_of(model, 1, CAPTION_TOKENS, True)
    empty = prompts_of(model, 1, 2, True)
    sampling = Sampling(steps=steps, guidance_scale=GUIDANCE)

    @torch.no_grad()
    def draw() -> object:
        *_, last = sample_latents(model, prompts, empty, latents, sampling)
        return decode_latents(model, last.sample.to(model.vae.dtype))

    return draw


def stock_sampler(model: KolorsModel, steps: int, latents: Tensor) -> Callable[[], object]:
    """diffusers' own pipeline, given encoded prompts of 256 rows, as it makes them."""
    scheduler = EulerDiscreteScheduler(**KOLORS_SCHEDULER)
    pipeline = KolorsPipeline(
        vae=model.vae,
        text_encoder=None,
        tokenizer=None,
        unet=model.unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    prompts, empty = (prompts_of(model, 1, tokens, False) for tokens in (CAPTION_TOKENS, 2))

    def draw() -> object:
        return pipeline(
            prompt_embeds=prompts.prompt_embeds,
            pooled_prompt_embeds=prompts.pooled_prompt_embeds,
            negative_prompt_embeds=empty.prompt_embeds,
            negative_pooled_prompt_embeds=empty.pooled_prompt_embeds,
            latents=latents.clone(),
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            height=model.default_size,
            width=model.default_size,
        ).images

    return draw


def measure_sampling(
    model: KolorsModel, seconds: float, steps: int, stock: bool, compiled: bool = False
) -> dict:
    """Seconds and peak memory of one picture, VAE included, text encoder not."""
    if compiled:
        model = replace(model, unet=torch.compile(model.unet))
    side = model.unet.config.sample_size
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, side, side, generator=generator).to(model.device, model.unet.dtype)
    if stock:
        model.unet.set_attn_processor(AttnProcessor2_0())
    try:
        draw = (stock_sampler if stock else our_sampler)(model, steps, latents)
        draw()
        with peak_memory(model.device) as memory:
            per_picture = repeat(draw, seconds)
    finally:
        enable_text_bias(model.unet)
    return {"seconds per picture": round(per_picture, 3), **memory}


def quantized_training(model: KolorsModel, seconds: float, kind: str, checkpointing: bool) -> dict:
    """As `measure_training`, on `kind` weights; the U-Net stays quantized."""
    if quantization_of(model.unet) is None:
        quantize_unet(model.unet, kind, model.device)
    release(model.device)
    found = measure_training(model, seconds, True, checkpointing)
    del found["TFLOP per step"]  # torch cannot see all that bitsandbytes does
    return found


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, float]]:
    """Within this context the peak is taken; the dictionary holds it afterwards, in GiB (empty on a CPU)."""
    found: dict[str, float] = {}
    release(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["peak GiB"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
        found["peak GiB reserved"] = round(torch.cuda.max_memory_reserved(device) / 2**30, 2)


def release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def repeat(job: Callable[[], object], seconds: float) -> float:
    """Mean seconds of `job`, run again and again for about `seconds`, at least twice. It must wait for the GPU."""
    started, count = time.perf_counter(), 0
    while count < 2 or time.perf_counter() - started < seconds:
        job()
        count += 1
    return (time.perf_counter() - started) / count


def parts(arguments: argparse.Namespace, seconds: float) -> dict[str, Callable[[KolorsModel], dict]]:
    """What is measured, by name; parts on quantized weights come last, each on a model of its own."""
    steps = arguments.steps

    def training(compacted: bool, checkpointing: bool) -> Callable[[KolorsModel], dict]:
        return lambda model: measure_training(model, seconds, compacted, checkpointing)

    def quantized(kind: str, checkpointing: bool) -> Callable[[KolorsModel], dict]:
        return lambda model: quantized_training(model, seconds, kind, checkpointing)

    def way(name: str) -> Callable[[KolorsModel], dict]:
        return lambda model: measure_way(model, seconds, name)

    def sampling(stock: bool = False, compiled: bool = False) -> Callable[[KolorsModel], dict]:
        return lambda model: measure_sampling(model, seconds, steps, stock, compiled)

    if arguments.compare:
        return {
            "training, bf16, eager": way("eager"),
            "training, bf16, recorded": way("recorded"),
            f"sampling, {steps} steps, ours": sampling(),
            "training, bf16, compiled": way("compiled"),
            f"sampling, {steps} steps, ours, compiled": sampling(compiled=True),
        }
    return {
        "training, bf16": training(True, False),
        "training, bf16, 256 text rows": training(False, False),
        "training, bf16, checkpointing": training(True, True),
        f"sampling, {steps} steps, ours": sampling(),
        f"sampling, {steps} steps, stock": sampling(stock=True),
        "training, nf4, checkpointing": quantized("nf4", True),
        "training, nf4": quantized("nf4", False),
        "training, int8, checkpointing": quantized("int8", True),
    }


def run_parts(arguments: argparse.Namespace, device: torch.device, write: Callable[[dict], None]) -> None:
    """Measure part after part, calling `write` with all results so far after each."""
    deadline = time.monotonic() + arguments.seconds
    results: dict[str, dict] = {}
    model, quantized = None, None
    for name, measure in parts(arguments, arguments.seconds_per_part).items():
        kind = next((kind for kind in ("nf4", "int8") if kind in name), None)
        if deadline - time.monotonic() < LEAST_SECONDS:
            results[name] = {"skipped": f"--seconds {arguments.seconds:g} were over"}
            write(results)
            continue
        started = time.monotonic()
        try:
            if model is None or kind != quantized:
                model = None
                release(device)
                model, quantized = build_model(arguments.tiny, device, arguments.seed), kind
            results[name] = measure(model)
        except Exception as error:  # one part must not cost the others; what went wrong stands in the results
            results[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            traceback.print_exc()
            model = None
        results[name]["seconds in all"] = round(time.monotonic() - started, 1)
        print(f"{name}: {results[name]}", flush=True)
        write(results)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("full_width_gpu.json"))
    parser.add_argument("--device", help="default: the best there is")
    parser.add_argument("--tiny", action="store_true", help="a tiny width, to try the script")
    parser.add_argument(
        "--compare", action="store_true", help="ways to take a step, instead of the usual parts"
    )
    parser.add_argument("--steps", type=int, default=25, help="sampling steps (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=75, help="start no part after (default %(default)s)")
    parser.add_argument("--seconds-per-part", type=float, default=4, help="timed (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default %(default)s)")
    parser.add_argument("--commit", help="of this copy, where git cannot tell")
    arguments = parser.parse_args()
    limit_threads()
    device = pick_device(arguments.device)
    command = f"python benchmarks/full_width_gpu.py --steps {arguments.steps} --seed {arguments.seed}"
    report = {
        "command": command
        + "".join(f" --{flag}" for flag in ("compare", "tiny") if getattr(arguments, flag)),
        **provenance(device, arguments.commit),
        "what": "U-Net of full Kolors with random weights, LoRA rank 16 on attention, batch 1, "
        f"{CAPTION_TOKENS} text tokens, bf16",
    }

    def write(results: dict) -> None:
        with atomic_path(arguments.output) as path:
            path.write_text(json.dumps({**report, "results": results}, indent=2) + "\n", encoding="utf-8")

    run_parts(arguments, device, write)


if __name__ == "__main__":
    main()
