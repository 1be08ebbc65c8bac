"""Train Kolors-mini's AutoencoderKL on rendered scenes in all styles (arXiv 1312.6114, 2112.10752)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from PIL import Image
from tqdm.auto import tqdm

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.mini.network import CONTENTS, NetworkLearner
from kolors_course.mini.pictures import PictureSpec, PictureStore, draw_pictures, to_model
from kolors_course.mini.recorded import recorded_pass, to_device
from kolors_course.platform.device import pick_device
from kolors_course.training.checkpoint import restoring
from kolors_course.training.learning import Material, Training, parameters_of
from kolors_course.training.limits import check_numbers
from kolors_course.training.run import RunFolder, in_autocast, warmup_cosine

FLAGS = {"steps": "--vae-steps", "learning_rate": "--vae-learning-rate"}


@dataclass(frozen=True)
class VaeConfig:
    """How the VAE is trained, and on how many pictures.

    Losses are means over pixels in -1..1; `kl_weight` multiplies the mean KL per latent value.

    `edge_weight` multiplies the mean absolute error of differences between neighbouring pixels: squared errors
    alone are content with soft edges.
    """

    steps: int = 4000
    batch_size: int = 24
    learning_rate: float = 2e-3
    warmup: int = 100
    mse_weight: float = 4.0
    l1_weight: float = 0.5
    kl_weight: float = 1e-4
    edge_weight: float = 0.0
    block_out_channels: tuple[int, ...] = (32, 64, 96, 128)
    pictures: int = 14000
    seed: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.pictures < self.batch_size:
            raise CourseError(f"{self.pictures} pictures do not fill a batch of {self.batch_size}; take more")


def build_vae(config: VaeConfig) -> AutoencoderKL:
    """An untrained AutoencoderKL with Kolors' four latent channels and no attention in the middle."""
    levels = len(config.block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.block_out_channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def vae_loss(
    vae: AutoencoderKL, pixels: torch.Tensor, config: VaeConfig, noise: torch.Tensor
) -> torch.Tensor:
    """Negative ELBO up to constants: weighted MSE, L1 and edge error plus a small KL to the unit Gaussian.

    `pixels` (B, 3, H, W) in -1..1; `noise` (B, 4, H/f, W/f), standard normal, drives the reparametrisation.
    """
    posterior = vae.encode(pixels).latent_dist
    decoded = vae.decode(posterior.mean + posterior.std * noise).sample.float()
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).float().mean()
    difference = decoded - pixels
    mse, l1 = difference.square().mean(), difference.abs().mean()
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return (
        config.mse_weight * mse + config.l1_weight * l1 + config.kl_weight * kl + config.edge_weight * edges
    )


def psnr(vae: AutoencoderKL, pictures: torch.Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of reconstructions (posterior mean) of uint8 pictures."""
    errors = []
    with torch.no_grad():
        for batch in pictures.split(50):
            pixels = to_model(batch.to(vae.device))
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
            errors.append(((decoded - pixels) / 2).square().mean((1, 2, 3)))
    return float((-10 * torch.log10(torch.cat(errors))).mean())


def reconstruction_sheet(vae: AutoencoderKL, pictures: torch.Tensor) -> Image.Image:
    """Originals above their reconstructions, one column each."""
    with torch.no_grad():
        decoded = vae.decode(vae.encode(to_model(pictures.to(vae.device))).latent_dist.mean).sample
    decoded = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
    rows = torch.cat([torch.cat(list(row), dim=2) for row in (pictures.cpu(), decoded)], dim=1)
    return Image.fromarray(rows.permute(1, 2, 0).numpy())


def vae_learner(vae: AutoencoderKL, decoder_only: bool = False) -> NetworkLearner:
    """The learner of a VAE, or of its decoder alone; then encoder and latents stay as they are."""
    vae.requires_grad_(True)
    for part in (vae.encoder, vae.quant_conv) if decoder_only else ():
        part.requires_grad_(False)
    return NetworkLearner(vae)


def vae_material(
    pictures: torch.Tensor, config: VaeConfig, cells: int, generator: torch.Generator
) -> Material:
    """Batches of `pictures`, each once in every pass over them, and the noise of the posterior.

    Args:
        pictures: uint8 (N, 3, H, W), where they are trained on.
        cells: the side of the latents.
    """

    def batches() -> Iterator[torch.Tensor]:
        while True:
            for rows in torch.randperm(len(pictures), generator=generator).split(config.batch_size):
                if len(rows) == config.batch_size:
                    pixels = to_model(pictures[to_device(rows, pictures.device)])
                    yield pixels.contiguous(memory_format=torch.channels_last)

    endless = batches()

    def material(step: int) -> dict[str, torch.Tensor]:
        noise = torch.randn((config.batch_size, 4, cells, cells), generator=generator)
        return {"noise": to_device(noise, pictures.device), "pixels": next(endless)}

    return material


def train_mini_vae(
    config: VaeConfig,
    store: PictureStore,
    output: Path,
    start: AutoencoderKL | None = None,
    *,
    decoder_only: bool = False,
) -> AutoencoderKL:
    """Train (or resume) the VAE in `output`; writes log.jsonl, samples.png and, at the end, vae/.

    The saved `scaling_factor` makes the latents of the first pictures unit variance, as Stable Diffusion does it
    (arXiv 2112.10752, appendix G).

    Args:
        store: the first `config.pictures` of it are trained on.
        start: a finished VAE to train further. Its latents change, and a U-Net must learn them anew, unless
            `decoder_only`: then encoder and scaling factor stay as they are.
    """
    torch.manual_seed(config.seed)
    device, run = pick_device(), RunFolder(output)
    vae = (start or build_vae(config)).to(device, memory_format=torch.channels_last)
    learner = vae_learner(vae, decoder_only)
    optimizer = torch.optim.AdamW(
        learner.groups(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    state = run.resume(config, CONTENTS, FLAGS)
    generator = torch.Generator().manual_seed(config.seed + (state["step"] if state else 0))
    pictures = store.read(0, config.pictures).to(device)
    cells = store.spec.size >> (len(config.block_out_channels) - 1)

    def objective(vae: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": vae_loss(vae, pixels, config, noise)}

    training = Training(
        learner,
        recorded_pass(
            learner,
            in_autocast(objective, device),
            vae_material(pictures, config, cells, generator),
            device,
        ),
        optimizer,
        rates=lambda step: [config.learning_rate * warmup_cosine(step, config.steps, config.warmup)],
        clip=lambda: torch.nn.utils.clip_grad_norm_(parameters_of(learner), 1.0),
    )
    if state:
        with restoring(run.checkpoint):
            learner.load(state)
            training.load(state)
    _run(training, config, run, store.spec)
    vae.eval().requires_grad_(False)
    if not decoder_only:
        std = vae.encode(to_model(pictures[:500])).latent_dist.mean.std()
        vae.register_to_config(scaling_factor=round(1 / float(std), 5))
    vae.save_pretrained(run.path / "vae")
    return vae


def _run(training: Training, config: VaeConfig, run: RunFolder, spec: PictureSpec) -> None:
    """To the last step, with a log, checkpoints, and what fresh pictures of all subjects look like."""
    vae = training.learner.model
    fresh = draw_pictures(replace(spec, seed=spec.seed + 1, lora_subjects="all"), 200).to(vae.device)
    steps = training.steps(lambda: training.step >= config.steps)
    progress = tqdm(steps, initial=training.step, total=config.steps, desc="VAE")
    for losses in progress:
        done = training.step - 1
        if done % 20 == 0:
            run.log(done, loss=losses["loss"], learning_rate=training.optimizer.param_groups[0]["lr"])
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            run.save(config, **training.learner.state(), **training.state())
            quality = psnr(vae, fresh)
            run.log(done, psnr=quality)
            progress.set_postfix(psnr=f"{quality:.2f} dB")
            with atomic_path(run.path / "samples.png") as path:
                reconstruction_sheet(vae, fresh[:16]).save(path)
