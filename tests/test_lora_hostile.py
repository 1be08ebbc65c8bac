"""Files that are made to harm, or damaged beyond sense: one clear line, no code run, no memory, in every command."""

import json
import math
import pickle
import resource
import struct
import zipfile

import pytest
import torch
from command_line import refused
from loras import ATTENTION, foreign_names, random_state, small_unet
from safetensors.torch import save_file

from kolors_course.errors import CourseError
from kolors_course.lora import inspect_lora, load_lora, read_lora

UNET = small_unet()
A, B = "mid_block.attentions.0.proj_in.lora_A.weight", "mid_block.attentions.0.proj_in.lora_B.weight"
LIMIT = 300 * 2**20  # bytes by which reading may let the process grow


@pytest.fixture(autouse=True)
def bounded_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < LIMIT


def header(path, tensors: dict, metadata=None, data: bytes = b""):
    """A safetensors file with a header as it pleases us."""
    text = json.dumps(tensors | ({"__metadata__": metadata} if metadata is not None else {})).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape, dtype="F32", start=0, end=0) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def quantized() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(2, 64), 0.1, 0, torch.qint8)


# What a pickle can hold besides plain tensors.
TENSORS = {
    "expanded": lambda: torch.ones(1).expand(2**20, 2**20),
    "expanded, half": lambda: torch.ones(2, 1).expand(2, 2**34),
    "sparse": lambda: torch.sparse_coo_tensor([[0], [0]], [1.0], (2**20, 2**20)),
    "sparse rows": lambda: torch.ones(2, 64).to_sparse_csr(),
    "without numbers": lambda: torch.ones(2, 2**40, device="meta"),
    "quantized": quantized,
    "empty": lambda: torch.ones(2**40, 0),
    "of many axes": lambda: torch.ones((1,) * 40),
    "whole numbers": lambda: torch.ones(2, 64, dtype=torch.int64),
    "complex": lambda: torch.ones(2, 64, dtype=torch.complex64),
    "truth values": lambda: torch.ones(2, 64, dtype=torch.bool),
    "not finite": lambda: torch.full((2, 64), math.nan),
    "a number": lambda: torch.tensor(1.0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", TENSORS)
def test_what_a_pickle_can_hold(tmp_path, case, legacy):
    path = tmp_path / "x.ckpt"
    tensors = {A: TENSORS[case](), B: torch.ones(64, 2)}
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CourseError, match=r"x\.ckpt") as caught:
        read_lora(path, unet=UNET, alpha=1.0)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_many_views_of_one_storage(tmp_path):
    """Each is as large as the file, together they are a thousand times that."""
    whole = torch.ones(256, 256)
    torch.save({f"layer{i}.lora_A.weight": whole for i in range(1000)}, tmp_path / "x.ckpt")
    with pytest.raises(CourseError, match="more numbers than the file holds"):
        read_lora(tmp_path / "x.ckpt", alpha=1.0)


def test_an_archive_that_unpacks_to_more_than_it_is(tmp_path):
    torch.save({A: torch.zeros(2**24), B: torch.ones(64, 2)}, tmp_path / "plain.ckpt")
    with (
        zipfile.ZipFile(tmp_path / "plain.ckpt") as plain,
        zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / "x.ckpt").stat().st_size < 2**20
    with pytest.raises(CourseError, match=r"x\.ckpt is compressed"):
        read_lora(tmp_path / "x.ckpt", alpha=1.0)


@pytest.mark.parametrize(
    "content",
    [{1: torch.ones(2, 64)}, {A: [torch.ones(2, 64)]}, {A: "x"}, {A: {B: torch.ones(2)}}, [[[[]]]] * 9, None],
)
def test_tables_of_other_things(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CourseError, match="not a table of tensors"):
        read_lora(tmp_path / "x.ckpt", unet=UNET)


def test_a_deep_pickle(tmp_path):
    (tmp_path / "x.ckpt").write_bytes(b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".")
    with pytest.raises(CourseError, match=r"x\.ckpt"):
        read_lora(tmp_path / "x.ckpt")


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('sprung')",))


def test_code_under_another_name_is_not_run_either(tmp_path):
    """What the file is called does not matter: here a pickle with code in place of safetensors."""
    for name in ("x.safetensors", "x.bin", "x"):
        (tmp_path / name).write_bytes(pickle.dumps({A: Trap()}, protocol=2))
        with pytest.raises(CourseError, match="holds Python objects or code"):
            read_lora(tmp_path / name)


def factors(layer: str, **shapes) -> dict[str, torch.Tensor]:
    return {f"lora_unet_{layer}.{part}": torch.ones(shape) for part, shape in shapes.items()}


def lora_pair(layer: str, down: tuple[int, ...], up: tuple[int, ...], **more) -> dict[str, torch.Tensor]:
    return factors(layer, **{"lora_down.weight": down, "lora_up.weight": up, "alpha": (), **more})


ONE, TWO = "mid_block_attentions_0_proj_in", "mid_block_attentions_0_proj_out"
# Small files that would need memory without end where their factors are multiplied out or filled up.
GROWING = {
    "a LoKr": factors(ONE, lokr_w1=(1000, 1000), lokr_w2=(1000, 1000), alpha=()),
    "W₁ of two": factors(ONE, lokr_w1_a=(2**19, 1), lokr_w1_b=(1, 2**19), lokr_w2=(2, 2), alpha=()),
    "W₂ of two": factors(ONE, lokr_w1=(2, 2), lokr_w2_a=(2**19, 1), lokr_w2_b=(1, 2**19), alpha=()),
    "a LoHa": factors(
        ONE, hada_w1_a=(2**19, 1), hada_w1_b=(1, 2**19), hada_w2_a=(2**19, 1), hada_w2_b=(1, 2**19), alpha=()
    ),
    "a core": lora_pair(ONE, (1, 2**19, 1, 1), (4, 1, 1, 1), **{"lora_mid.weight": (1, 1, 1000, 1000)}),
    "two ranks": lora_pair(ONE, (2**16, 1), (1, 2**16)) | lora_pair(TWO, (1, 2**18), (2**18, 1)),
}


@pytest.mark.parametrize("case", GROWING)
def test_what_is_small_does_not_grow(tmp_path, case):
    save_file(GROWING[case], tmp_path / "x.safetensors")
    for use in (inspect_lora, load_lora_here):
        with pytest.raises(CourseError, match="numbers would become|but this model needs"):
            use(tmp_path / "x.safetensors", unet=UNET)


def load_lora_here(path, unet):
    return load_lora(unet, path)


def test_a_rank_without_end_is_measured(tmp_path):
    """65536 · 65536 numbers, if it were done the usual way."""
    save_file(lora_pair(ONE, (2**16, 1), (1, 2**16)), tmp_path / "x.safetensors")
    assert inspect_lora(tmp_path / "x.safetensors", unet=UNET).fits is False


HEADERS = {
    "absurd and empty": {A: entry((2**62, 0)), B: entry((0, 2**62))},
    "a product beyond all numbers": {A: entry((2**40, 2**40), end=4)},
    "negative": {A: entry((-1, 4), end=4)},
    "beyond the end": {A: entry((1, 2**40), end=2**42)},
    "overlapping": {A: entry((1, 2), end=8), B: entry((2, 1), end=8)},
    "another dtype": {A: entry((1, 2), "F99", end=8)},
    "a dtype of four bits": {A: entry((2, 4), "F4", end=4), B: entry((4, 2), "F4", 4, 8)},
    "bits": {A: entry((1, 8), "BOOL", end=8), B: entry((8, 1), "BOOL", 8, 16)},
    "fractions as shape": {A: {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}},
    "no shape": {A: {"dtype": "F32"}},
    "a list": {A: []},
    "nested": {A: {"a": {"b": {}}}},
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_safetensors(tmp_path, case):
    path = header(tmp_path / "x.safetensors", HEADERS[case], data=bytes(16))
    with pytest.raises(CourseError, match=r"x\.safetensors") as caught:
        read_lora(path, unet=UNET, alpha=1.0)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_keys_twice(tmp_path):
    one, two = (json.dumps(entry((1, 2), start=start, end=start + 8)) for start in (0, 8))
    text = f'{{"{A}": {one}, "{A}": {two}}}'.encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(CourseError, match=r"x\.safetensors"):
        read_lora(tmp_path / "x.safetensors", unet=UNET, alpha=1.0)


def test_a_header_larger_than_any(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 90 * 2**20) + b"{")
        file.truncate(100 * 2**20)
    with pytest.raises(CourseError, match="larger than that of any LoRA"):
        read_lora(path)


def lora(tmp_path, metadata: dict[str, str]):
    path = tmp_path / "x.safetensors"
    tensors = {f"unet.{A}": torch.ones(2, 64), f"unet.{B}": torch.ones(64, 2)}
    save_file(tensors, path, metadata=metadata)
    return path


ADAPTERS = {
    "nested": "[" * 200_000,
    "nested objects": '{"a":' * 100_000,
    "a number of 9999 digits": '{"unet.r": ' + "9" * 9999 + "}",
    "a rank": '{"unet.r": 1000000000, "unet.lora_alpha": 1}',
    "a rank that is no number": '{"unet.r": {"a": 1}, "unet.lora_alpha": 1}',
    "a rank of 0": '{"unet.r": 0, "unet.lora_alpha": 1}',
    "alpha not finite": '{"unet.r": 2, "unet.lora_alpha": NaN}',
    "alpha beyond": '{"unet.r": 2, "unet.lora_alpha": 1e999}',
    "alpha a list": '{"unet.r": 2, "unet.lora_alpha": [' + "1," * 10_000 + "1]}",
    "targets": '{"unet.r": 2, "unet.lora_alpha": 1, "unet.target_modules": [[1], {}]}',
    "a long target": '{"unet.r": 2, "unet.lora_alpha": 1, "unet.target_modules": [' + "3," * 9_999 + "3]}",
    "an expression without end": '{"unet.r": 2, "unet.lora_alpha": 1, "unet.rank_pattern": {"(.*)*(.*)*x": 2}}',
    "a bad expression": '{"unet.r": 2, "unet.lora_alpha": 1, "unet.alpha_pattern": {"a(": 2}}',
    "an init": '{"unet.r": 2, "unet.lora_alpha": 1, "unet.init_lora_weights": "' + "x" * 10_000 + '"}',
    "too much": '{"a": "' + "x" * (5 * 2**20) + '"}',
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_metadata_of_peft(tmp_path, case):
    path = lora(tmp_path, {"lora_adapter_metadata": ADAPTERS[case]})
    with pytest.raises(CourseError, match=r"x\.safetensors") as caught:
        read_lora(path, unet=UNET)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "course",
    [
        {"rank": "x", "alpha": 1, "target_modules": [], "use_rslora": 0, "use_dora": 0, "init": 5},
        {"base_model": ["x"] * 9999, "note": {"a": [1]}},
        {"base_model": "x\n\x1b[31m" * 999},
    ],
)
def test_the_courses_own_entry_is_not_believed(tmp_path, course):
    path = lora(tmp_path, {"kolors_course": json.dumps(course)})
    if "rank" in course:
        with pytest.raises(CourseError, match="rank must be .* not x"):
            inspect_lora(path, alpha=2.0, unet=UNET)
        return
    report = inspect_lora(path, alpha=2.0, unet=UNET)
    assert all(len(line) < 500 and line.isprintable() for line in report.lines())


@pytest.mark.parametrize("alpha", [math.nan, math.inf, -1.0, 0.0])
def test_alphas_that_are_none(tmp_path, alpha):
    state = foreign_names("kohya", UNET, random_state(UNET, ATTENTION), alpha)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(CourseError, match="alpha must be"):
        read_lora(tmp_path / "x.safetensors", unet=UNET)


def test_names_are_shown_in_one_short_line(tmp_path):
    name = "x\n\x1b[2J" * 10_000
    save_file(
        {f"{name}.lora_A.weight": torch.ones(2, 4), f"{name}.lora_B.weight": torch.ones(4, 2)},
        tmp_path / "x.pt",
    )
    with pytest.raises(CourseError) as caught:
        load_lora(small_unet(), tmp_path / "x.pt", alpha=1.0)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.usefixtures("tiny_profile")
@pytest.mark.filterwarnings("ignore")
def test_every_command_says_it_in_one_line(capsys, tmp_path, lora_file):
    bad, out = tmp_path / "bad.ckpt", tmp_path / "out.safetensors"
    torch.save({A: torch.ones(1).expand(2**20, 2**20), B: torch.ones(64, 2)}, bad)
    for arguments in (
        ("inspect-lora", bad),
        ("convert-lora", bad, out, "--to", "kohya", "--alpha", 4),
        ("combine-lora", bad, lora_file, "-o", out),
        ("merge-lora", bad, "-o", tmp_path / "merged"),
        ("generate", "--prompt", "x", "--lora", bad, "-o", tmp_path / "x.png"),
    ):
        assert "more numbers than the file holds" in refused(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.ckpt"]
