"""The trained models of the plane: what must hold exactly, and that a few seconds of training teach something."""

from functools import partial

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from toy_plane import mass_of, seeded

from kolors_course.diffusion import NoiseSchedule, classifier_guided, euler, flow_euler, guided, lcm
from kolors_course.errors import CourseError
from kolors_course.theory import toys, transport
from kolors_course.theory.classifier import log_probability, train_classifier
from kolors_course.theory.consistency import consistent, distil_consistency
from kolors_course.theory.denoiser import conditioned, diffusion_loss, label_of, train_denoiser
from kolors_course.theory.flows import (
    continuous_flow,
    coupling_flow,
    follow,
    log_density,
    log_normal,
    train_flow,
)
from kolors_course.theory.gan import gan_samples, train_gan
from kolors_course.theory.matching import as_velocity, curvature, reflow_pairs, train_velocity
from kolors_course.theory.measures import energy_distance, modes_covered, stray_share
from kolors_course.theory.nets import TimeNet, fit, weights_from
from kolors_course.theory.teachers import Mixture, eight_gaussians
from kolors_course.theory.vae import TinyVAE, train_vae

KOLORS = NoiseSchedule.kolors()
CENTRES = toys.eight_centres()


@pytest.fixture(scope="module")
def ring():
    """Points and labels of eight_gaussians."""
    return toys.eight_gaussians(4000, seeded())


@pytest.fixture(scope="module")
def moons():
    return toys.two_moons(4000, seeded())[0]


def share_in(points, centre):
    """Share of points within three deviations of a mode."""
    return ((points - centre).norm(dim=1) < 3 * toys.BLOB_STD).float().mean().item()


# --- Variational autoencoder --------------------------------------------------------------------------


def test_kl_equals_torchs(moons):
    with weights_from(seeded()):
        vae = TinyVAE()
    mean, std = vae.encode(moons[:50])
    expected = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(vae.elbo(moons[:50], seeded()).kl, expected)


def test_density_is_one_in_all_and_above_the_bound(moons):
    vae, losses = train_vae(moons, generator=seeded(), steps=300)
    assert sum(losses[-20:]) < sum(losses[:20])
    axis = torch.linspace(-6, 6, 121)
    grid = torch.cartesian_prod(axis, axis)
    mass = torch.cat([vae.log_density(part).exp() for part in grid.split(2000)]).sum() * 0.1**2
    assert mass.item() == pytest.approx(1, abs=0.01)
    with torch.no_grad():
        bound = vae.elbo(moons, seeded(1)).bound.mean()
    # The bound holds on average; its own noise over 4000 points is about 0.02.
    assert bound < vae.log_density(moons[:1000]).mean() + 0.05
    # A Gaussian with the data's spread has about this loss; the model must know more than that.
    cov = torch.cov(moons.T)
    gaussian = torch.distributions.MultivariateNormal(moons.mean(dim=0), cov).log_prob(moons).mean()
    assert vae.log_density(moons[:1000]).mean() > gaussian


def test_dear_codes_say_nothing(moons):
    vae, _ = train_vae(moons, generator=seeded(), beta=20.0, steps=200)
    with torch.no_grad():
        assert vae.elbo(moons[:500], seeded()).kl.mean() < 0.02


# --- Generative adversarial network -------------------------------------------------------------------


def modes_of(ring, rounds, **options):
    *_, last = train_gan(ring[0], generator=seeded(), rounds=rounds, **options)
    assert last.round == rounds
    return modes_covered(gan_samples(last.net, 1000, seeded(1)), CENTRES, toys.BLOB_STD)


def test_fair_game_covers_all_modes(ring):
    assert modes_of(ring, rounds=600) >= 7


def test_hasty_generator_collapses(ring):
    assert modes_of(ring, rounds=100, generator_steps=10) <= 2


def test_gan_needs_a_generator_that_learns(ring):
    with pytest.raises(CourseError, match="generator_steps is 0"):
        next(train_gan(ring[0], generator=seeded(), generator_steps=0))


# --- Flows --------------------------------------------------------------------------------------------


def test_coupling_flow_is_invertible_normalised_and_learns(moons):
    flow = coupling_flow(seeded())
    losses = train_flow(flow, moons, generator=seeded(), steps=100)
    assert sum(losses[-10:]) < sum(losses[:10]) - 3  # nats, over 10 steps
    z, log_det = flow.to_noise(moons)
    torch.testing.assert_close(flow.to_data(z), moons, rtol=1e-4, atol=1e-4)
    assert mass_of(flow.log_density) == pytest.approx(1, abs=0.01)
    # The determinant, against the Jacobian itself.
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: flow.to_noise(x[None])[0][0]))(moons[:20])
    torch.testing.assert_close(log_det[:20], torch.linalg.slogdet(jacobian)[1], rtol=1e-3, atol=1e-3)


def test_continuous_flow_is_invertible_normalised_and_learns(moons):
    flow = continuous_flow(seeded())
    losses = train_flow(flow, moons, generator=seeded(), steps=40)
    assert sum(losses[-10:]) < sum(losses[:10]) - 2
    z, spread = follow(flow, moons[:100], 0.0, 1.0, 20)
    there_and_back, opposite = follow(flow, z, 1.0, 0.0, 20)
    # Errors of Runge-Kutta at 20 steps.
    torch.testing.assert_close(there_and_back, moons[:100], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(spread, -opposite, rtol=1e-3, atol=1e-3)
    assert mass_of(flow.log_density) == pytest.approx(1, abs=0.02)


def test_divergence_in_closed_form_equals_autograd(moons):
    flow, x, t = continuous_flow(seeded()), moons[:20], torch.tensor(0.3)
    velocity, spread = flow(x, t)
    expected = transport.with_divergence(lambda x, t: flow(x, t)[0])(x, t)
    torch.testing.assert_close(velocity, expected[0])
    torch.testing.assert_close(spread, expected[1])


def test_density_of_an_exact_velocity_is_exact():
    """The velocity of Gaussian data carries standard normal noise to exactly those data."""
    mixture = Mixture(torch.tensor([[0.5, -1.0]], dtype=torch.float64), 0.7)
    x, _ = mixture.sample(50, seeded())
    found = log_density(transport.with_divergence(mixture.velocity()), x, steps=40)
    torch.testing.assert_close(found, mixture.log_density(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_normal(x), Normal(torch.zeros(2).double(), 1.0).log_prob(x).sum(dim=1))


# --- Transport equation -------------------------------------------------------------------------------


def test_flow_matching_velocity_obeys_the_continuity_equation():
    mixture = eight_gaussians()
    x = torch.randn(50, 2, generator=seeded())
    for t in (0.3, 0.6, 0.9):
        residual = transport.continuity_residual(
            lambda x, t: mixture.log_density(x, 1 - t, t), mixture.velocity(), x, torch.tensor(t)
        )
        # Terms are up to about 100 in size, in float32.
        assert residual.abs().max() < 0.02
        wrong = transport.continuity_residual(
            lambda x, t: mixture.log_density(x, 1 - t, t),
            lambda x, t: 1.1 * mixture.velocity()(x, t),
            x,
            torch.tensor(t),
        )
        assert wrong.abs().max() > 0.1


def test_ode_and_sde_have_the_same_density():
    """Variance-exploding noise x₀ + σw: the SDE has no drift, the ODE half the score and no noise."""
    mixture = Mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.5]], dtype=torch.float64), 0.4)
    x = torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    σ = torch.tensor(0.8, dtype=torch.float64)

    def log_p(x, σ):
        return mixture.log_density(x, 1.0, σ)

    def ode(x, σ):
        return (x - mixture.posterior_mean(x, 1.0, σ)) / σ  # dx/dσ = ε

    assert transport.continuity_residual(log_p, ode, x, σ).abs().max() < 1e-9
    residual = transport.fokker_planck_residual(
        log_p, lambda x, σ: torch.zeros_like(x), lambda σ: (2 * σ).sqrt(), x, σ
    )
    assert residual.abs().max() < 1e-9


# --- Diffusion, guidance, flow matching ---------------------------------------------------------------


@pytest.fixture(scope="module")
def denoiser(ring):
    return train_denoiser(ring[0], KOLORS, generator=seeded(), labels=ring[1], steps=800)


def draw_points(denoise, count=500):
    with torch.no_grad():
        *_, last = euler(denoise, torch.randn(count, 2, generator=seeded(4)), KOLORS, 25)
    return last.sample


def test_denoiser_learns_and_draws_all_modes(denoiser, ring):
    net, losses = denoiser
    assert sum(losses[-50:]) < 0.6 * sum(losses[:50])
    points = draw_points(net)
    assert modes_covered(points, CENTRES, toys.BLOB_STD) == 8
    noise = torch.randn(500, 2, generator=seeded(5))
    assert energy_distance(points, ring[0][:500]) < energy_distance(noise, ring[0][:500]) / 2


def test_loss_of_the_exact_denoiser_is_the_smallest(denoiser, ring):
    class Exact(TimeNet):
        def forward(self, x, t, label=None):
            return eight_gaussians().denoiser(KOLORS)(x, t)

    with torch.no_grad():
        best, learned = (
            diffusion_loss(net, ring[0], KOLORS, generator=seeded(6)) for net in (Exact(), denoiser[0])
        )
    assert best < learned


def test_guidance_and_negative_prompts_move_samples(denoiser):
    net = denoiser[0]
    call, empty = partial(conditioned, net), label_of(net.classes, 500)
    plain = draw_points(net)
    asked = draw_points(guided(call, label_of(3, 500), empty, 1.0))
    strong = draw_points(guided(call, label_of(3, 500), empty, 3.0))
    assert share_in(plain, CENTRES[3]) < 0.3 < 0.6 < share_in(asked, CENTRES[3])
    assert share_in(strong, CENTRES[3]) > 0.9
    # Away from mode 3: the opposite side of the ring.
    away = draw_points(guided(call, empty, label_of(3, 500), 3.0))
    assert (away @ CENTRES[3]).mean() < (plain @ CENTRES[3]).mean() - 0.2


def test_classifier_guidance_finds_the_class(ring):
    net, losses = train_classifier(*ring, KOLORS, generator=seeded(), steps=400)
    assert sum(losses[-20:]) < sum(losses[:20])
    denoise = classifier_guided(
        eight_gaussians().denoiser(KOLORS), log_probability(net, 3), KOLORS, guidance_scale=2.0
    )
    assert share_in(draw_points(denoise), CENTRES[3]) > 0.5


def test_reflow_straightens_paths(ring):
    velocity, losses = train_velocity(ring[0], generator=seeded(), steps=500)
    assert sum(losses[-20:]) < sum(losses[:20])
    points, noise = reflow_pairs(velocity, 4000, seeded(3), steps=20)
    straight, _ = train_velocity(points, generator=seeded(), noise=noise, steps=500)
    start = torch.randn(500, 2, generator=seeded(4))
    assert curvature(straight, start, 20) < curvature(velocity, start, 20) / 5
    with torch.no_grad():
        one_step = [list(flow_euler(v, start, 1))[-1].sample for v in (velocity, straight)]
    assert modes_covered(one_step[0], CENTRES, toys.BLOB_STD) < 3
    assert modes_covered(one_step[1], CENTRES, toys.BLOB_STD) == 8


def test_a_diffusion_model_is_a_velocity_too():
    """Exactly where the schedule has the noise level; nearly so beyond its last one."""
    mixture, x = eight_gaussians(), torch.randn(200, 2, generator=seeded())
    velocity, exact = as_velocity(mixture.denoiser(KOLORS), KOLORS), mixture.velocity()
    for t in (0.05, 0.5, 0.9, 0.96):
        torch.testing.assert_close(
            velocity(x, torch.tensor(t)), exact(x, torch.tensor(t)), rtol=1e-3, atol=1e-3
        )
    noise = torch.tensor(1.0)  # the schedule ends at σ = 29: 1/29 of the signal is still taken to be there
    torch.testing.assert_close(velocity(x, noise), exact(x, noise), rtol=0.05, atol=0.02)
    assert velocity(x, torch.tensor(0.0)).isfinite().all()


def test_exact_straight_pairs_have_no_curvature():
    class Shift(TimeNet):
        def forward(self, x, t, label=None):
            return torch.tensor([2.0, -1.0]).expand_as(x)

    assert curvature(Shift(), torch.randn(10, 2, generator=seeded())) == pytest.approx(0, abs=1e-10)


def test_true_samples_stray_as_often_as_they_should():
    points, _ = eight_gaussians().sample(50_000, seeded())
    assert stray_share(points, CENTRES, toys.BLOB_STD) == pytest.approx(
        torch.tensor(-4.5).exp().item(), rel=0.1
    )
    assert stray_share(torch.zeros(10, 2), CENTRES, toys.BLOB_STD) == 1


# --- Consistency -------------------------------------------------------------------------------------


def test_a_distilled_student_draws_all_modes_in_one_step(ring):
    student, losses = distil_consistency(
        eight_gaussians().denoiser(KOLORS),
        ring[0],
        KOLORS,
        generator=seeded(),
        steps=800,
        original_inference_steps=10,
    )
    assert all(torch.tensor(losses).isfinite())
    noise = torch.randn(500, 2, generator=seeded(4))
    with torch.no_grad():
        *_, drawn = lcm(
            student,
            noise,
            KOLORS,
            1,
            generator=seeded(),
            original_inference_steps=10,
            prediction_type="sample",
        )
        *_, blurred = lcm(eight_gaussians().denoiser(KOLORS), noise, KOLORS, 1, generator=seeded())
    assert modes_covered(drawn.sample, CENTRES, toys.BLOB_STD) == 8
    assert modes_covered(blurred.sample, CENTRES, toys.BLOB_STD) == 0


def test_a_student_leaves_clean_samples_alone():
    with weights_from(seeded()):
        student = TimeNet(horizon=KOLORS.num_train_timesteps)
    x = torch.randn(4, 2, generator=seeded())
    assert torch.equal(consistent(student, x, torch.zeros(4, dtype=torch.long)), x)


# --- Networks -----------------------------------------------------------------------------------------


def test_networks_follow_the_generator_and_leave_the_global_state():
    before = torch.random.get_rng_state()
    nets = []
    for seed in (1, 1, 2):
        with weights_from(seeded(seed)):
            nets.append(TimeNet())
    assert torch.equal(torch.random.get_rng_state(), before)
    first, again, other = (net.body[0].weight for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_missing_label_is_the_extra_one():
    with weights_from(seeded()):
        net = TimeNet(classes=4)
    x, t = torch.randn(3, 2, generator=seeded()), torch.tensor(0.5)
    assert torch.equal(net(x, t), net(x, t, torch.tensor([4, 4, 4])))
    assert not torch.equal(net(x, t), net(x, t, torch.tensor([0, 1, 2])))
    with pytest.raises(CourseError, match="without classes"):
        TimeNet()(x, t, torch.tensor([0, 1, 2]))


def test_a_loss_that_blows_up_is_told():
    weight = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(CourseError, match="loss is inf at step 0"):
        fit([weight], lambda: weight * float("inf"), 3)
