"""A real ComfyUI without its server: prompts are validated and executed in this process, asked for line by line.

python tests/comfyui_worker.py CODE BASE: reads one JSON request a line, writes one JSON answer a line. It runs in
ComfyUI's own environment, and `comfyui_process` talks to it.
"""

import asyncio
import importlib
import json
import sys
from pathlib import Path

CODE, BASE = map(Path, sys.argv[1:3])
ANSWERS = sys.stdout
sys.stdout = sys.stderr  # whatever else is printed is not an answer


class NoServer:
    """What ComfyUI takes for its server."""

    def __init__(self) -> None:
        self.client_id, self.last_node_id, self.sockets_metadata = "test", None, {}

    def send_sync(self, event, data, sid=None) -> None:
        """Nobody looks."""


def main() -> None:
    from kolors_course.comfyui.launch import register_stand_ins

    register_stand_ins()
    sys.path.insert(0, str(CODE))
    sys.argv = ["main.py", "--cpu", "--base-directory", str(BASE), "--disable-api-nodes"]
    import comfy.options

    comfy.options.enable_args_parsing()
    importlib.import_module("utils.extra_config")  # first, as in main.py: nodes put another utils on the path
    import comfy.model_management
    import comfy.utils
    import execution
    import nodes

    asyncio.run(nodes.init_external_custom_nodes())
    caches = {"cache_type": execution.CacheType.CLASSIC, "cache_args": {"lru": 0, "ram": 0}}
    executor = execution.PromptExecutor(NoServer(), **caches)
    progress: list[list] = []
    interrupt_at = None

    def watch(value, total, preview, node_id=None):
        progress.append([value, total, preview and preview[1].size])
        if value == interrupt_at:
            comfy.model_management.interrupt_current_processing()

    comfy.utils.set_progress_bar_global_hook(watch)
    answer({name: cls.GET_NODE_INFO_V1() for name, cls in nodes.NODE_CLASS_MAPPINGS.items() if ours(name)})
    for line in sys.stdin:
        request = json.loads(line)
        progress.clear()
        interrupt_at = request.get("interrupt_at")
        prompt = request["prompt"]
        valid, error, outputs, node_errors = asyncio.run(execution.validate_prompt("id", prompt, None))
        if not valid:
            answer({"error": error, "node_errors": node_errors})
            continue
        executor.execute(prompt, "id", {}, outputs)
        answer(
            {
                "node_errors": node_errors,
                "success": executor.success,
                "outputs": executor.history_result.get("outputs", {}),
                "messages": [[name, plain(data)] for name, data in executor.status_messages],
                "progress": progress,
            }
        )


def ours(name: str) -> bool:
    return name.startswith("KolorsCourse")


def plain(data: dict) -> dict:
    return {key: data.get(key) for key in ("node_id", "nodes", "exception_type", "exception_message")}


def answer(content: dict) -> None:
    print(json.dumps(content), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
