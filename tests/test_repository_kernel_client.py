"""Rendering notebooks does not hang where nbclient's own client does."""

import asyncio
import time

import nbformat
import pytest
import zmq
import zmq.asyncio
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session
from kernel_client import AttentiveChannel, AttentiveManager
from nbclient import NotebookClient

WIDGET = """
from ipywidgets import IntSlider, interact
@interact(n=IntSlider(3))
def f(n):
    for k in range(n):
        print(k)
        display({"text/plain": "x"}, raw=True)
"""


async def answer_after_a_lost_sign(channel_class: type[AsyncZMQSocketChannel]) -> dict:
    """Wait for a message whose sign is used up by sending past asyncio, as widgets make nbclient do."""
    session = Session(key=b"key")
    kernel = zmq.Context.instance().socket(zmq.PAIR)
    port = kernel.bind_to_random_port("tcp://127.0.0.1")
    socket = zmq.asyncio.Context.instance().socket(zmq.PAIR)
    socket.connect(f"tcp://127.0.0.1:{port}")
    channel = channel_class(socket, session)
    waiting = asyncio.ensure_future(channel.get_msg(timeout=60))
    try:
        await asyncio.sleep(0.2)
        session.send(kernel, "execute_reply")
        time.sleep(0.2)  # it arrives, and asyncio has had no time to see it
        for _ in range(2):  # the second uses up what the first one's own delivery signals
            channel.send(session.msg("comm_msg"))
            time.sleep(0.2)
        return await asyncio.wait_for(waiting, 5)
    finally:
        socket.close(0)
        kernel.close(0)


def test_an_answer_is_seen_though_its_sign_was_lost():
    assert asyncio.run(answer_after_a_lost_sign(AttentiveChannel))["msg_type"] == "execute_reply"


def test_the_clients_own_channel_does_not_see_it():
    """When this fails, jupyter_client is mended and scripts/kernel_client.py can go."""
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(answer_after_a_lost_sign(AsyncZMQSocketChannel))


def test_widgets_run_to_the_end():
    cells = [nbformat.v4.new_code_cell(WIDGET) for _ in range(10)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        notebook, kernel_name="python3", kernel_manager_class=AttentiveManager, timeout=60
    ).execute()
    assert [cell.execution_count for cell in cells] == list(range(1, 11))
