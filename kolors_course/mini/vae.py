"""Train Kolors-mini's AutoencoderKL on rendered scenes in all styles (arXiv 1312.6114, 2112.10752)."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn
from tqdm.auto import tqdm

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.mini.critic import Critic, CriticisedLearner, adversarial_losses
from kolors_course.mini.foreign import FOREIGN_KINDS, foreign_pictures, foreign_pool
from kolors_course.mini.mixed import mixed_pictures
from kolors_course.mini.network import CONTENTS, NetworkLearner
from kolors_course.mini.pictures import PictureSpec, PictureStore, draw_pictures, to_model
from kolors_course.mini.reconstructions import psnr, reconstruction_sheet
from kolors_course.platform.device import pick_device
from kolors_course.training.checkpoint import restoring
from kolors_course.training.learning import Objective, Optimizer, Training, parameters_of
from kolors_course.training.limits import check_numbers
from kolors_course.training.muon import MuonAdamW
from kolors_course.training.recorded import recorded_pass
from kolors_course.training.run import RunFolder, in_autocast, warmup_cosine

FLAGS = {"steps": "--vae-steps", "learning_rate": "--vae-learning-rate"}


@dataclass(frozen=True)
class VaeConfig:
    """How the VAE is trained, and on how many pictures.

    Losses are means over pixels in -1..1; `kl_weight` multiplies the mean KL per latent value.

    `edge_weight` multiplies the mean absolute error of differences between neighbouring pixels: squared errors
    alone are content with soft edges. `log_weight` multiplies the mean over pictures of log(MSE + 1e-4): what it
    falls by the mean PSNR rises, so that one picture drawn badly does not outweigh ten drawn well.

    `critic_weight` is how much a critic counts beside all of these (see `critic`): it asks for crisp edges, of a VAE
    that draws well already.

    `foreign_share` of each batch are pictures that are not of our world (see `foreign`): new ones in every step, or
    out of `foreign_pool` drawn beforehand, because a GPU would have to wait. `anchor_weight` multiplies how far the
    latents of the world have moved from where they were at the start, as a squared distance in standard deviations:
    a U-Net that knows them stays valid.

    `muon` trains kernels by Muon instead of AdamW (see `kolors_course.training.muon`), at the same learning rate. To
    teach our VAE foreign pictures it takes about half as many steps.

    Each cell of the latents has `latent_channels` numbers. At each of the `block_out_channels` the encoder has
    `layers_per_block` residual blocks, and the decoder one more.
    """

    steps: int = 4000
    batch_size: int = 24
    learning_rate: float = 2e-3
    warmup: int = 100
    mse_weight: float = 4.0
    l1_weight: float = 0.5
    kl_weight: float = 1e-4
    edge_weight: float = 0.0
    log_weight: float = 0.0
    critic_weight: float = 0.0
    foreign_share: float = 0.0
    foreign_pool: int = 0
    anchor_weight: float = 0.0
    muon: bool = False
    latent_channels: int = 4
    layers_per_block: int = 1
    block_out_channels: tuple[int, ...] = (32, 64, 96, 128)
    pictures: int = 14000
    seed: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.pictures < self.batch_size:
            raise CourseError(f"{self.pictures} pictures do not fill a batch of {self.batch_size}; take more")
        if self.foreign_pool > self.pictures:
            raise CourseError(
                f"foreign_pool is {self.foreign_pool}, but each is made of another one of {self.pictures} pictures"
            )
        if self.critic_weight and self.anchor_weight:
            raise CourseError(
                "critic_weight is for a decoder alone, which needs no anchor_weight; choose one"
            )


def build_vae(config: VaeConfig) -> AutoencoderKL:
    """An untrained AutoencoderKL: Kolors' own, only smaller, and without attention in the middle."""
    levels = len(config.block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def vae_loss(
    vae: AutoencoderKL,
    pixels: torch.Tensor,
    config: VaeConfig,
    noise: torch.Tensor,
    posterior: DiagonalGaussianDistribution | None = None,
) -> torch.Tensor:
    """Negative ELBO up to constants: weighted MSE, L1 and edge error plus a small KL to the unit Gaussian.

    Args:
        pixels: (B, 3, H, W) in -1..1.
        noise: (B, C, H/f, W/f), standard normal, drives the reparametrisation.
        posterior: of `pixels`, if it is known already.
    """
    posterior = posterior or vae.encode(pixels).latent_dist
    return reconstruction_loss(reconstruction(vae, posterior, noise), pixels, config, posterior)


def reconstruction(
    vae: AutoencoderKL, posterior: DiagonalGaussianDistribution, noise: torch.Tensor
) -> torch.Tensor:
    """(B, 3, H, W), decoded from a sample of the posterior."""
    return vae.decode(posterior.mean + posterior.std * noise).sample.float()


def reconstruction_loss(
    decoded: torch.Tensor, pixels: torch.Tensor, config: VaeConfig, posterior: DiagonalGaussianDistribution
) -> torch.Tensor:
    """`vae_loss` of pictures that are decoded."""
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).float().mean()
    difference = decoded - pixels
    mse, l1 = difference.square().mean(), difference.abs().mean()
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    logs = (difference.square().mean((1, 2, 3)) + 1e-4).log().mean()
    return (
        config.mse_weight * mse
        + config.l1_weight * l1
        + config.kl_weight * kl
        + config.edge_weight * edges
        + config.log_weight * logs
    )


@dataclass(frozen=True)
class PlainObjective:
    """`vae_loss`."""

    config: VaeConfig

    def __call__(
        self, vae: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor, **world: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {"loss": vae_loss(vae, pixels, self.config, noise)}


@dataclass(frozen=True)
class CriticisedObjective:
    """`vae_loss`, and what a critic says, which learns in the same pass."""

    config: VaeConfig
    critic: Critic

    def __call__(
        self, vae: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor, **world: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        posterior = vae.encode(pixels).latent_dist
        decoded = reconstruction(vae, posterior, noise)
        loss = reconstruction_loss(decoded, pixels, self.config, posterior)
        weight = self.config.critic_weight
        return {"loss": loss, **adversarial_losses(self.critic, vae, pixels, decoded, loss, weight)}


class AnchoredObjective:
    """`vae_loss`, and an anchor that holds the latents of the world where `vae` has them now."""

    def __init__(self, vae: AutoencoderKL, config: VaeConfig):
        self.config = config
        self.before = deepcopy(vae).requires_grad_(False)

    def __call__(
        self, vae: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor, world: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Losses of a batch of which the pictures where `world` (B,) is 1.0 and not 0.0 are of the world."""
        posterior = vae.encode(pixels).latent_dist
        loss = vae_loss(vae, pixels, self.config, noise, posterior)
        with torch.no_grad():
            before = self.before.encode(pixels).latent_dist.mean.float()
        moved = (posterior.mean.float() - before) / before.std((0, 2, 3), keepdim=True)
        anchor = (moved.square().mean((1, 2, 3)) * world).sum() / world.sum().clamp(min=1)
        return {"loss": loss, "anchor": self.config.anchor_weight * anchor}


def vae_learner(
    vae: AutoencoderKL, decoder_only: bool = False, critic: Critic | None = None
) -> NetworkLearner:
    """The learner of a VAE, or of its decoder alone; then encoder and latents stay as they are."""
    vae.requires_grad_(True)
    for part in (vae.encoder, vae.quant_conv) if decoder_only else ():
        part.requires_grad_(False)
    return CriticisedLearner(vae, critic) if critic else NetworkLearner(vae)


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
    critic = Critic().to(device) if config.critic_weight else None
    learner = vae_learner(vae, decoder_only, critic)
    learning = parameters_of(learner)
    optimizer = _optimizer(config, learning)
    state = run.resume(config, CONTENTS | ({"critic": dict} if critic else {}), FLAGS)
    pictures = store.read(0, config.pictures).to(device)
    pool = foreign_pool(store, config.foreign_pool, config.seed).to(device) if config.foreign_pool else None
    cells = store.spec.size >> (len(vae.config.block_out_channels) - 1)
    material = mixed_pictures(
        pictures,
        config.batch_size,
        (vae.config.latent_channels, cells, cells),
        config.seed,
        foreign_share=config.foreign_share,
        pool=pool,
        done=state["step"] if state else 0,
    )
    objective = _objective(vae, config, critic)
    training = Training(
        learner,
        recorded_pass(learner, in_autocast(objective, device), material, device),
        optimizer,
        rates=lambda step: (
            [config.learning_rate * warmup_cosine(step, config.steps, config.warmup)]
            * len(optimizer.param_groups)
        ),
        clip=lambda: torch.nn.utils.clip_grad_norm_(learning, 1.0),
    )
    if state:
        with restoring(run.checkpoint):
            learner.load(state)
            training.load(state)
    _run(training, config, run, store.spec)
    vae.eval().requires_grad_(False)
    if not decoder_only and not config.anchor_weight:
        std = vae.encode(to_model(pictures[:500])).latent_dist.mean.std()
        vae.register_to_config(scaling_factor=round(1 / float(std), 5))
    vae.save_pretrained(run.path / "vae")
    return vae


def _optimizer(config: VaeConfig, learning: list[nn.Parameter]) -> Optimizer:
    settings: dict[str, Any] = {"lr": config.learning_rate, "betas": (0.9, 0.99), "weight_decay": 1e-4}
    return (
        MuonAdamW(learning, **settings)
        if config.muon
        else torch.optim.AdamW(learning, fused=True, **settings)
    )


def _objective(vae: AutoencoderKL, config: VaeConfig, critic: Critic | None) -> Objective:
    if critic:
        return CriticisedObjective(config, critic)
    return AnchoredObjective(vae, config) if config.anchor_weight else PlainObjective(config)


def _run(training: Training, config: VaeConfig, run: RunFolder, spec: PictureSpec) -> None:
    """To the last step, with a log, checkpoints, and what fresh pictures of all subjects look like."""
    vae = training.learner.model
    fresh = draw_pictures(replace(spec, seed=spec.seed + 1, lora_subjects="all"), 200).to(vae.device)
    kinds = {kind: foreign_pictures(fresh[:60], kind) for kind in FOREIGN_KINDS if config.foreign_share}
    steps = training.steps(lambda: training.step >= config.steps)
    progress = tqdm(steps, initial=training.step, total=config.steps, desc="VAE")
    for losses in progress:
        done = training.step - 1
        if done % 20 == 0:
            run.log(done, **losses, learning_rate=training.optimizer.param_groups[0]["lr"])
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            run.save(config, **training.learner.state(), **training.state())
            quality = psnr(vae, fresh)
            run.log(done, psnr=quality, **{f"psnr {kind}": psnr(vae, kinds[kind]) for kind in kinds})
            progress.set_postfix(psnr=f"{quality:.2f} dB")
            with atomic_path(run.path / "samples.png") as path:
                shown = torch.cat([fresh[:16], *(pictures[:2] for pictures in kinds.values())])
                reconstruction_sheet(vae, shown).save(path)
