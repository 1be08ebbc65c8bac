"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

from collections.abc import Callable

from kolors_course.registry import Registry

_HERE = "kolors_course.diffusion"

# Deterministic. A new sampler is its step (see steps.py) and one line here; what a line fixes cannot be chosen.
SAMPLERS: Registry[Callable] = Registry(
    {
        "euler": f"{_HERE}.ode:euler",
        "heun": f"{_HERE}.ode:heun",
        "dpm++2m": f"{_HERE}.multistep:dpmpp_2m",
        # Its spacing is fixed, because Karras' levels are what they are: none can be chosen.
        "dpm++2m-karras": (f"{_HERE}.multistep:dpmpp_2m", {"use_karras_sigmas": True, "spacing": "leading"}),
        "unipc": f"{_HERE}.multistep:unipc",
    }
)
# They draw noise on the way, and need a `generator`.
STOCHASTIC_SAMPLERS: Registry[Callable] = Registry(
    {
        "ddpm": f"{_HERE}.ancestral:ddpm",
        "ddim-eta1": (f"{_HERE}.ancestral:ddim", {"eta": 1.0}),
        "euler-ancestral": f"{_HERE}.ancestral:euler_ancestral",
        "reverse-sde": f"{_HERE}.ancestral:reverse_sde",
        "lcm": f"{_HERE}.consistency:lcm",
    }
)
SPACINGS = ("leading", "trailing", "linspace")
