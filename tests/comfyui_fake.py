"""A program that starts like a ComfyUI, in no time: what it then does is in its main.py."""

import sys
from pathlib import Path

from kolors_course.comfyui.install import Installation

# Takes the place of ComfyUI's Python: everything but main.py on the command line is passed over.
PYTHON = f"""#!{sys.executable}
import sys
script = next(word for word in sys.argv if word.endswith("main.py"))
exec(open(script).read())
"""
SERVES = """
import http.server
import sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"system": {}}')

print("I serve", flush=True)
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
HANGS = "import time; print('I hang', flush=True); time.sleep(600)"
ENDS = "print('one'); print('No module named x'); raise SystemExit(3)"


def fake_installation(folder: Path, does: str = SERVES) -> Installation:
    code, python = folder / "ComfyUI", folder / "env" / "bin" / "python"
    for path in (code, python.parent):
        path.mkdir(parents=True, exist_ok=True)
    (code / "main.py").write_text(does)
    python.write_text(PYTHON)
    python.chmod(0o755)
    return Installation(code, python, folder / "base")
