"""A Jupyter client that always notices the kernel's answer.

A cell with a widget makes nbclient send messages to the kernel while it waits for the cell's answer, and both use one
socket. jupyter_client sends past asyncio (`zmq.Socket.shadow`), which uses up the socket's only sign that an answer
has come; the waiting side is never woken, and the notebook hangs with an idle kernel until the cell's timeout, or for
ever (https://github.com/jupyter/nbclient/issues/312). Looking at the socket anew now and then ends the wait.
"""

from queue import Empty
from time import monotonic
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import DottedObjectName, Type

LOOK_EVERY = 0.25  # seconds


class AttentiveChannel(AsyncZMQSocketChannel):
    """A channel whose waiting does not depend on being woken."""

    # jupyter_client's asynchronous channel overrides a synchronous one in the same way.
    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        """The next message; raises `queue.Empty` if none comes within `timeout` seconds."""
        deadline = float("inf") if timeout is None else monotonic() + timeout
        while True:
            left = max(0.0, deadline - monotonic())
            if await self.socket.poll(int(1000 * min(left, LOOK_EVERY))):
                return await self._recv()
            if left <= LOOK_EVERY:
                raise Empty


class AttentiveClient(AsyncKernelClient):
    """A client with that channel where the kernel answers."""

    shell_channel_class = Type(AttentiveChannel)


class AttentiveManager(AsyncKernelManager):
    """What nbclient takes as `kernel_manager_class`."""

    client_class = DottedObjectName(f"{__name__}.AttentiveClient")
    client_factory = Type(AttentiveClient)
