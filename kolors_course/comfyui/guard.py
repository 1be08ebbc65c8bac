"""Whose requests our ComfyUI answers: those of this machine's own programs and pages.

Every page in a browser may send requests to 127.0.0.1. ComfyUI itself refuses an `Origin` that is not its `Host`,
but not a page in a sandbox (`Origin: null`), and not one that made its own host name point to 127.0.0.1 ("DNS
rebinding"; then Host and Origin agree). So here the Host must be a name of this machine, or one that its owner
has named; and whoever names an Origin must be a page of that same Host.
"""

import functools
import importlib.util
import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

ANY = "*"
# Who asks under such a name comes through the tunnel: no stranger can point it to 127.0.0.1.
TUNNELS = ".trycloudflare.com"
_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
_ORIGIN = re.compile(r"https?://(?P<host>[^/?#@]+)")


def objection(hosts: Sequence[str], origins: Sequence[str], welcome: Collection[str] = ()) -> str | None:
    """Why a request with these headers is refused; None where it is served.

    Args:
        hosts: its `Host` headers; exactly one is right.
        origins: its `Origin` headers; browsers send one, programs none.
        welcome: the host names of proxies that show the page, or ANY.
    """
    host = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    if host is None:
        return "a request must name one host"
    name = host["name"]
    if not (_is_local(name) or name.endswith(TUNNELS) or name in welcome or ANY in welcome):
        return (
            f"this ComfyUI serves this machine only, and was asked for as {name[:80]}; if that is a proxy of "
            f"yours: kolors-course comfyui stop, then kolors-course comfyui start --origin https://{name[:80]}"
        )
    if origins and not (len(origins) == 1 and _is_of(origins[0].lower(), host, welcome)):
        return "this ComfyUI serves its own page only; if yours comes through a proxy: start --origin ADDRESS"
    return None


def _is_local(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_of(origin: str, host: re.Match, welcome: Collection[str]) -> bool:
    """Whether a page belongs to the host that it asks, or to one that is welcome by name."""
    address = _ORIGIN.fullmatch(origin)
    page = _HOST.fullmatch(address["host"]) if address else None
    if page is None:  # "null", and pages of browser extensions
        return False
    # Some proxies leave the port out of one of the two.
    same = page["name"] == host["name"] and (
        None in (page["port"], host["port"]) or page["port"] == host["port"]
    )
    return same or page["name"] in welcome


def guard_applications(welcome: Collection[str]) -> None:
    """From now on every aiohttp application of this process refuses what `objection` objects to."""
    if importlib.util.find_spec("aiohttp") is None:
        return  # then nothing can be served
    from aiohttp import web

    @web.middleware
    async def guard(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        headers = request.headers
        refusal = objection(headers.getall("Host", ()), headers.getall("Origin", ()), welcome)
        return web.Response(status=403, text=refusal) if refusal else await handler(request)

    original = web.Application.__init__

    @functools.wraps(original)
    def guarded(self: Any, *arguments: Any, middlewares: Sequence[Any] = (), **options: Any) -> None:
        original(self, *arguments, middlewares=(guard, *middlewares), **options)

    web.Application.__init__ = guarded
