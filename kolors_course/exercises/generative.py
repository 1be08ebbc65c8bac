"""Exercises of notebook 01: the price of a code, change of variables, and the straight path of flow matching."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Right
from kolors_course.exercises.formulas import Slip, compare
from kolors_course.theory.flows import log_normal


def kl_to_standard_normal(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std²) ‖ N(0, 1)) in nats, summed over D: (B, D) twice -> (B,) (arXiv 1312.6114, appendix B)."""
    return ((mean**2 + std**2 - 1) / 2 - std.log()).sum(dim=-1)


@exercise(
    lambda: kl_to_standard_normal,
    "write out log q(z) - log p(z) and take its mean: z² is mean² + std² on average, (z - mean)² is std².",
    "写出 log q(z) - log p(z) 再取期望：z² 的均值是 mean² + std²，(z - mean)² 的均值是 std²。",
)
def check_kl(kl: Callable[[Tensor, Tensor], Tensor]) -> Right:
    """Whether `kl(mean, std)`, (B, D) each, is what a code costs.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    cases = (
        (torch.tensor([[1.0]]), torch.tensor([[1.0]])),
        # Three codes of two numbers: sums over the wrong dimension, or over none, have another shape.
        (
            torch.tensor([[0.0, 0.5], [-2.0, 0.0], [1.0, 1.0]]),
            torch.tensor([[0.2, 1.5], [0.5, 1.0], [2.0, 0.1]]),
        ),
    )
    slips = (
        Slip(
            lambda m, s: (m**2 + s**2 - 1 - 2 * s.log()).sum(dim=-1),
            "Twice too much: there is a ½ before the bracket.",
            "大了一倍：括号前还有 ½。",
        ),
        Slip(
            lambda m, s: ((m**2 + s**2 - 1) / 2 - 2 * s.log()).sum(dim=-1),
            "log std² is 2·log std, and half of that is log std: the ½ holds for the logarithm too.",
            "log std² 等于 2·log std，再乘 ½ 就是 log std：½ 也要乘在对数上。",
        ),
        Slip(
            lambda m, s: ((m**2 + s - 1) / 2 - s.log() / 2).sum(dim=-1),
            "That takes std for the variance; the variance is std².",
            "这里把 std 当成了方差；方差是 std²。",
        ),
        Slip(
            lambda m, s: ((m**2 + s**2) / 2 - s.log()).sum(dim=-1),
            "The -1 is missing: the prior's own code, N(0, 1), has to cost nothing.",
            "漏了 -1：先验自己的编码 N(0, 1) 的代价应当是 0。",
        ),
        Slip(
            lambda m, s: ((m**2 + s**2 - 1) / 2 + s.log()).sum(dim=-1),
            "The sign of the logarithm: a code much narrower than the prior says much, and costs much.",
            "对数的符号反了：比先验窄得多的编码说明得多，代价也高。",
        ),
        Slip(
            lambda m, s: -((m**2 + s**2 - 1) / 2 - s.log()).sum(dim=-1),
            "The sign is turned round: a KL divergence is never negative.",
            "符号反了：KL 散度不会小于 0。",
        ),
        Slip(
            lambda m, s: kl_divergence(Normal(torch.zeros(()), 1.0), Normal(m, s)).sum(dim=-1),
            "That is KL(prior ‖ code). The VAE pays KL(code ‖ prior): the mean is taken over codes.",
            "这是 KL(先验 ‖ 编码)。VAE 要付的是 KL(编码 ‖ 先验)：期望对编码分布取。",
        ),
        Slip(
            lambda m, s: ((m**2 + s**2 - 1) / 2 - s.log()).mean(dim=-1),
            "Sum over the latent numbers, do not average: independent codes add up.",
            "对潜变量的各维求和，不要取平均：相互独立的编码，代价相加。",
        ),
    )
    compare(kl, kl_to_standard_normal, cases, slips)
    return Right(
        "By hand: a code one standard deviation off, N(1, 1), costs (1 + 1 - 1)/2 - log 1 = ½ nat.",
        "手算：偏离一个标准差的编码 N(1, 1) 的代价是 (1 + 1 - 1)/2 - log 1 = ½ 奈特。",
    )


def stretched_log_density(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """log density of x = shift + scale·z with z standard normal: (B, D), (D,), (D,) -> (B,)."""
    return log_normal((x - shift) / scale) - scale.abs().log().sum()


@exercise(
    lambda: stretched_log_density,
    "go back to the noise, z = (x - shift) / scale, take its log density, and add log |det ∂z/∂x|.",
    "先退回噪声 z = (x - shift) / scale，取它的对数密度，再加上 log |det ∂z/∂x|。",
)
def check_change_of_variables(log_density: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Right:
    """Whether `log_density(x, shift, scale)` is that of the stretched noise.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    x = torch.tensor([[0.0, 0.0], [1.0, -2.0], [0.5, 1.0]])
    cases = (
        (x, torch.zeros(2), torch.tensor([2.0, 1.0])),
        (x, torch.tensor([0.5, -1.0]), torch.tensor([0.3, 3.0])),
        (x, torch.tensor([0.0, 1.0]), torch.tensor([-0.5, 2.0])),  # a mirror stretches as well
    )
    slips = (
        Slip(
            lambda x, shift, scale: log_normal((x - shift) / scale),
            "The determinant is missing: where space is stretched, the same mass is spread more thinly.",
            "漏了行列式：空间拉伸以后，同样多的概率摊得更薄。",
        ),
        Slip(
            lambda x, shift, scale: log_normal((x - shift) / scale) + scale.abs().log().sum(),
            "The sign of the determinant: stretching (scale > 1) lowers the density. ∂z/∂x is 1/scale.",
            "行列式的符号反了：拉伸（scale > 1）会降低密度。∂z/∂x 是 1/scale。",
        ),
        Slip(
            lambda x, shift, scale: log_normal((x - shift) / scale) - scale.log().sum(),
            "A negative scale mirrors, and log of a negative number is not a number: take |scale|.",
            "scale 为负表示镜像，而负数的对数不是数：要取 |scale|。",
        ),
        Slip(
            lambda x, shift, scale: log_normal((x - shift) / scale) - scale.abs().sum().log(),
            "The determinant is the product of the scales, so its log is the sum of the logs.",
            "行列式是各个 scale 的乘积，所以它的对数是对数之和。",
        ),
        Slip(
            lambda x, shift, scale: (log_normal((x - shift) / scale) - scale.abs().log().sum()).exp(),
            "That is the density itself; wanted is its logarithm.",
            "这是密度本身；需要的是它的对数。",
        ),
        Slip(
            lambda x, shift, scale: log_normal(scale * x + shift) - scale.abs().log().sum(),
            "Go from x back to the noise: z = (x - shift)/scale.",
            "要从 x 走回噪声：z = (x - shift)/scale。",
        ),
    )
    compare(log_density, stretched_log_density, cases, slips)
    return Right(
        "By hand: noise stretched by 2 in one direction has half the density at its centre, 1/(2·2π).",
        "手算：沿一个方向拉伸 2 倍的噪声，中心处的密度减半，为 1/(2·2π)。",
    )


def straight_path(x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_t and the velocity of flow matching, (B, D) each; `t` is (B, 1), 0 for data, 1 for noise."""
    return torch.lerp(x0, noise, t), noise - x0


@exercise(
    lambda: straight_path,
    "x_t is x0 at t = 0, noise at t = 1, and moves evenly between them; the velocity is dx_t/dt.",
    "t = 0 时 x_t 是 x0，t = 1 时是 noise，中间匀速移动；速度是 dx_t/dt。",
)
def check_straight_path(path: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Right:
    """Whether `path(x0, noise, t)` gives x_t and the velocity that the network is to predict there.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    cases = (
        (torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]]), torch.tensor([[0.25]])),
        (
            torch.tensor([[1.0, 1.0], [0.0, -1.0]]),
            torch.tensor([[0.5, 0.0], [2.0, 1.0]]),
            torch.tensor([[0.9], [0.1]]),
        ),
    )
    slips = (
        Slip(
            lambda x0, noise, t: (t * x0 + (1 - t) * noise, noise - x0),
            "At t = 0 there should be data: x_t = (1-t)·x₀ + t·ε. (The papers run time the other way.)",
            "t = 0 时应是数据：x_t = (1-t)·x₀ + t·ε。（论文里时间方向相反。）",
        ),
        Slip(
            lambda x0, noise, t: (noise - x0, torch.lerp(x0, noise, t)),
            "The two halves are swapped: first x_t, then the velocity.",
            "两个返回值的顺序反了：先是 x_t，再是速度。",
        ),
        Slip(
            lambda x0, noise, t: (torch.lerp(x0, noise, t), x0 - noise),
            "The velocity is dx_t/dt, and t grows towards the noise: ε - x₀. Yours runs towards the data.",
            "速度是 dx_t/dt，而 t 增大的方向是噪声：ε - x₀。你的方向是朝着数据。",
        ),
        Slip(
            lambda x0, noise, t: (torch.lerp(x0, noise, t), noise),
            "That is the noise, the target of a diffusion model; the velocity is dx_t/dt = ε - x₀.",
            "这是噪声，是扩散模型的目标；速度是 dx_t/dt = ε - x₀。",
        ),
        Slip(
            lambda x0, noise, t: (x0 + t * noise, noise - x0),
            "The data have to fade out while the noise comes in: x_t = (1-t)·x₀ + t·ε.",
            "噪声进来的同时，数据应当淡出：x_t = (1-t)·x₀ + t·ε。",
        ),
        Slip(
            lambda x0, noise, t: (torch.lerp(x0, noise, t), noise - torch.lerp(x0, noise, t)),
            "ε - x_t is the way that is left at t; the velocity is the whole way, ε - x₀, in time 1.",
            "ε - x_t 是 t 时刻剩下的路程；速度是用时间 1 走完全程，即 ε - x₀。",
        ),
        Slip(
            lambda x0, noise, t: (torch.lerp(x0, noise, t), t * (noise - x0)),
            "A straight path at even speed has one velocity for every t; t·(ε - x₀) is the way covered so far.",
            "匀速直线：速度在每个 t 都一样。t·(ε - x₀) 是已经走过的路程。",
        ),
        Slip(
            lambda x0, noise, t: ((1 - t).sqrt() * x0 + t.sqrt() * noise, noise - x0),
            "With square roots it is diffusion's path, which bends; flow matching goes straight.",
            "带平方根的是扩散的路径，它是弯的；流匹配走直线。",
        ),
    )
    compare(path, straight_path, cases, slips)
    return Right(
        "By hand: a quarter of the way from (2, 0) to (0, 4) is (1.5, 1), and the velocity is (-2, 4).",
        "手算：从 (2, 0) 到 (0, 4) 走四分之一是 (1.5, 1)，速度是 (-2, 4)。",
    )
