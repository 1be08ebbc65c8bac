"""What a file holds, as a digest: of all of it, or of the part that matters.

An input or product is written as `path` or `path#part`; a path may hold wildcards (`data/datasets/ink/**/*.png`).
What a part is depends on the kind of file:

    unet.safetensors#encoder.,quant_conv.   the tensors whose names begin so
    lesson.ipynb#code, lesson.ipynb#outputs the sources of the code cells, or what they printed and drew
    card.md#How good it is                  the section under this heading
    recipe.py#RECIPES,PICTURES              these definitions
    sampling.json#steps,sampler             these entries of the outermost object

Of a Python file imports, docstrings and lines of comment do not count. Line ends do not count in any text, so that a
checkout on Windows has the same digests. Nothing here depends on times of files, nor on the version of Python.
"""

import ast
import fnmatch
import hashlib
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

WILDCARD = re.compile(r"[*?\[]")


class Missing(Exception):
    """What was named is not there; the message says what."""


def overlap(first: str, second: str) -> bool:
    """Whether two `path#part` share anything, as far as their words tell: for this no file need exist."""
    (path, _, part), (other_path, _, other_part) = first.partition("#"), second.partition("#")
    if not (fnmatch.fnmatchcase(path, other_path) or fnmatch.fnmatchcase(other_path, path)):
        return False
    pairs = [(a, b) for a in part.split(",") for b in other_part.split(",")]
    return any(a.startswith(b) or b.startswith(a) for a, b in pairs)  # "" is the whole file


def digest(root: Path, what: str) -> str:
    """The SHA-256 of one `path#part` below `root`.

    Raises:
        Missing: no such file or part.
    """
    path, _, part = what.partition("#")
    if not WILDCARD.search(path):
        return _digest_of_file(root / path, part, what)
    files = sorted(file.relative_to(root).as_posix() for file in root.glob(path) if file.is_file())
    if not files:
        raise Missing(f"{what} is missing")
    return _sha(*(f"{name} {_digest_of_file(root / name, part, what)}\n".encode() for name in files))


def _digest_of_file(file: Path, part: str, what: str) -> str:
    if not file.is_file():
        raise Missing(f"{what} is missing")
    data = file.read_bytes()
    if b"\0" not in data:
        data = data.replace(b"\r\n", b"\n")
    if file.suffix != ".py" and not part:
        return _sha(data)
    try:
        return _sha(*READERS[file.suffix](data, part))
    except KeyError as error:
        raise Missing(f"{what}: there is no such part ({error.args[0]})") from error
    except (ValueError, SyntaxError) as error:
        raise Missing(f"{what} cannot be read: {error}") from error


def _sha(*pieces: bytes) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _tensors(data: bytes, part: str) -> Iterator[bytes]:
    """Name, type, shape and bytes of the tensors. The format: eight bytes of length, a JSON header, the numbers."""
    prefixes = tuple(part.split(","))
    (length,) = struct.unpack("<Q", data[:8])
    header, start = json.loads(data[8 : 8 + length]), 8 + length
    names = sorted(name for name in header if name != "__metadata__" and name.startswith(prefixes))
    if not names:
        raise KeyError(part)
    for name in names:
        entry = header[name]
        begin, end = entry["data_offsets"]
        yield json.dumps([name, entry["dtype"], entry["shape"]]).encode()
        yield data[start + begin : start + end]


def _cells(data: bytes, part: str) -> Iterator[bytes]:
    key = {"code": "source", "outputs": "outputs"}[part]
    for cell in json.loads(data)["cells"]:
        if cell["cell_type"] == "code":
            value = cell[key]
            text = "".join(value) if key == "source" else json.dumps(value, sort_keys=True)
            yield text.encode() + b"\0"


def _section(data: bytes, part: str) -> Iterator[bytes]:
    level = 0
    for line in data.decode().splitlines():
        heading = re.match(r"(#+) +(.*)", line)
        if heading and level and len(heading[1]) <= level:
            return
        if heading and heading[2].strip() == part:
            level = len(heading[1])
        if level:
            yield line.encode() + b"\n"
    if not level:
        raise KeyError(part)


def _definitions(data: bytes, part: str) -> Iterator[bytes]:
    """The lines of the definitions in `part`, or of all the file."""
    lines, tree = data.decode().splitlines(), ast.parse(data)
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    if part:
        named = {name: node for node in body for name in _names(node)}
        body = [named[name] for name in part.split(",")]
    silent = {number for node in ast.walk(tree) for number in _docstring(node)}
    for node in body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        for number in range(first, (node.end_lineno or first) + 1):
            line = lines[number - 1].rstrip()
            if line and number not in silent and not line.lstrip().startswith("#"):
                yield line.encode() + b"\n"


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    flat = [element for target in targets for element in getattr(target, "elts", [target])]
    return [element.id for element in flat if isinstance(element, ast.Name)]


def _docstring(node: ast.AST) -> range:
    """The lines of the docstring of a module, class or function."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
        first = node.body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            return range(first.lineno, (first.end_lineno or first.lineno) + 1)
    return range(0)


def _entries(data: bytes, part: str) -> Iterator[bytes]:
    value = json.loads(data)
    for name in part.split(","):
        yield json.dumps([name, value[name]], sort_keys=True).encode() + b"\0"


READERS = {
    ".safetensors": _tensors,
    ".ipynb": _cells,
    ".md": _section,
    ".py": _definitions,
    ".json": _entries,
}
