"""LoRA files of every program: read to the same tensors, written without losing a bit, refused when odd."""

import itertools
import math
import os
import pickle

import pytest
import torch
from loras import ATTENTION, WIDE, foreign_names, random_lora, random_state, small_unet, write_foreign
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kolors_course.errors import CourseError
from kolors_course.lora import LoraFile, LoraSettings, check_fit, read_lora, write_lora
from kolors_course.lora.files import SUFFIXES

FOREIGN = ("diffusers", "diffusers-old", "diffusers-legacy", "peft", "kohya", "kohya-sgm")
UNET = small_unet()


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and torch.equal(one[name], two[name]) for name in one
    )


def write(folder, lora: LoraFile, layout: str, name: str = "lora"):
    return write_lora(folder / f"{name}{SUFFIXES[layout]}", lora, layout, UNET)


def alpha_for(layout: str, settings: LoraSettings) -> float | None:
    """What a reader has to add: DiffSynth's layout cannot hold alpha."""
    return settings.plain_alpha if layout == "diffsynth" else None


# --- round trips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("one", "two"), list(itertools.permutations(SUFFIXES, 2)))
def test_from_any_layout_to_any_other_and_back_is_exact(tmp_path, one, two, dtype):
    state = random_state(UNET, WIDE, dtype=dtype)
    lora = LoraFile(tmp_path, state, WIDE, {"base_model": "small", "提示": "水墨"})
    first = read_lora(write(tmp_path, lora, one, "first"), unet=UNET, alpha=alpha_for(one, WIDE))
    second = read_lora(write(tmp_path, first, two, "second"), unet=UNET, alpha=alpha_for(two, WIDE))
    back = read_lora(write(tmp_path, second, one, "back"), unet=UNET, alpha=alpha_for(one, WIDE))
    for read, layout in ((first, one), (second, two), (back, one)):
        assert read.layout == layout
        assert same(read.state_dict, state)
        assert (read.settings.rank, read.settings.alpha, read.settings.scale) == (3, 1.5, 0.5)
        assert check_fit(UNET, read) == len(state)
    if "diffsynth" not in (one, two):
        assert back.settings == WIDE
        assert back.metadata == second.metadata == lora.metadata | back.metadata
    files = [tmp_path / f"{name}{SUFFIXES[one]}" for name in ("first", "back")]
    tensors = [torch.load(f, weights_only=True) if one == "diffsynth" else load_file(f) for f in files]
    assert same(*tensors)


@pytest.mark.parametrize("rank", [3, 49, 98])  # 1 / 49 * 49 is not 1 in 64 bits
@pytest.mark.parametrize("alpha", [0.1, 1 / 3, 1.0, 4.0, 1e-3])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_alpha_and_scale_survive_kohya_exactly(tmp_path, rank, alpha, use_rslora):
    settings = LoraSettings(rank, alpha, ("conv_in",), use_rslora=use_rslora)
    path = write(tmp_path, LoraFile(tmp_path, random_state(UNET, settings), settings, {}), "kohya")
    assert read_lora(path, unet=UNET).settings == settings
    with safe_open(path, "pt") as file:
        assert float(file.metadata()["ss_network_alpha"]) == settings.plain_alpha
    tensors = load_file(path)
    save_file(tensors, path)  # another program, which drops the metadata
    plain = read_lora(path, unet=UNET).settings
    assert not plain.use_rslora
    assert use_rslora or plain.alpha == alpha
    # alpha·√r / r in place of alpha / √r: one rounding of a 64-bit number more.
    assert plain.scale == pytest.approx(settings.scale, rel=1e-15 if use_rslora else 0, abs=0)


@pytest.mark.parametrize("layout", FOREIGN)
def test_files_of_other_programs(tmp_path, layout):
    state = random_state(UNET, WIDE)
    read = read_lora(write_foreign(tmp_path, layout, UNET, state, 6.0), unet=UNET)
    assert read.layout == layout
    assert same(read.state_dict, state)
    assert (read.settings.rank, read.settings.alpha, read.metadata) == (3, 6.0, {})
    assert check_fit(UNET, read) == len(state)


@pytest.mark.parametrize("layout", FOREIGN)
def test_alpha_is_asked_for_and_never_guessed(tmp_path, layout):
    state = random_state(UNET, ATTENTION)
    path = write_foreign(tmp_path, layout, UNET, state)
    with pytest.raises(CourseError, match="does not say its alpha.*--alpha on the command line"):
        read_lora(path, unet=UNET)
    assert read_lora(path, unet=UNET, alpha=4).settings.scale == 4 / 3
    path = write_foreign(tmp_path, layout, UNET, state, 2.0)
    with pytest.raises(CourseError, match=r"says alpha 2\.0, not 4"):
        read_lora(path, unet=UNET, alpha=4)


def test_a_checkpoint_of_diffsynth_as_lightning_saves_it(tmp_path):
    lora = random_lora(UNET, ATTENTION)
    path = write(tmp_path, lora, "diffsynth", "epoch=0-step=500")
    tensors = torch.load(path, weights_only=True)
    assert "blocks.7.transformer_blocks.0.attn1.to_out.lora_A.default.weight" in tensors
    save_file(tensors, tmp_path / "same.safetensors")
    assert same(read_lora(tmp_path / "same.safetensors", unet=UNET, alpha=4).state_dict, lora.state_dict)


def test_only_the_tensors_themselves_are_written(tmp_path):
    """A tensor that is a view must not bring its whole storage along."""
    lora = random_lora(UNET, ATTENTION)
    big = torch.zeros(1000, 1000)
    name = next(iter(lora.state_dict))
    plain = write(tmp_path, lora, "diffsynth", "plain").stat().st_size
    tensor = lora.state_dict[name]
    view = big.view(-1)[: tensor.numel()].view(tensor.shape).copy_(tensor)
    views = LoraFile(tmp_path, lora.state_dict | {name: view}, ATTENTION, {})
    assert write(tmp_path, views, "diffsynth", "views").stat().st_size == pytest.approx(plain, abs=1000)


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["kohya", "kohya-sgm", "diffsynth"])
def test_names_that_need_the_layers_of_the_unet(tmp_path, layout):
    lora = random_lora(UNET, ATTENTION)
    path = write(tmp_path, lora, layout) if layout in SUFFIXES else None
    path = path or write_foreign(tmp_path, layout, UNET, lora.state_dict, 1.0)
    with pytest.raises(CourseError, match="the U-Net's layers are needed"):
        read_lora(path, alpha=alpha_for(layout, ATTENTION))


@pytest.mark.parametrize("layout", ["kohya", "diffsynth"])
def test_layers_of_another_unet(tmp_path, layout):
    deeper = small_unet()
    deeper.down_blocks[0].attentions = torch.nn.ModuleList([torch.nn.Linear(4, 4)])
    settings = LoraSettings(2, 1.0, ("to_q", "down_blocks.0.attentions.0"))
    lora = LoraFile(tmp_path, random_state(deeper, settings), settings, {})
    with pytest.raises(CourseError, match="1 of 35 layers are not in this U-Net"):
        write_lora(tmp_path / f"x{SUFFIXES[layout]}", lora, layout, UNET)
    path = write_lora(tmp_path / f"x{SUFFIXES[layout]}", lora, layout, deeper)
    with pytest.raises(CourseError, match=r"of 35 layers are not in this U-Net"):
        read_lora(path, unet=UNET, alpha=alpha_for(layout, settings))


def test_a_dora_stays_in_diffusers_layout(tmp_path):
    settings = LoraSettings(2, 1.0, ("to_q",), use_dora=True)
    state = random_state(UNET, settings)
    lengths = {
        name.replace("lora_B.weight", "lora_magnitude_vector"): tensor[:, 0]
        for name, tensor in state.items()
        if "lora_B" in name
    }
    lora = LoraFile(tmp_path, state | lengths, settings, {})
    assert read_lora(write(tmp_path, lora, "diffusers")).settings == settings
    for layout in ("kohya", "diffsynth"):
        with pytest.raises(CourseError, match=f"a DoRA cannot be written for {layout}"):
            write(tmp_path, lora, layout, "no")
    assert not list(tmp_path.glob("*no*"))


@pytest.mark.parametrize(
    ("layout", "name", "message"),
    [
        ("kohya", "x.ckpt", r"something\.safetensors"),
        ("diffsynth", "x.safetensors", r"something\.ckpt"),
        ("onnx", "x.safetensors", "unknown LoRA layout 'onnx'"),
    ],
)
def test_layouts_and_endings_that_do_not_match(tmp_path, layout, name, message):
    with pytest.raises(CourseError, match=message):
        write_lora(tmp_path / name, random_lora(UNET, ATTENTION), layout, UNET)


KOHYA = "lora_unet_mid_block_attentions_0_proj_in"
PAIR = {f"{KOHYA}.lora_down.weight": torch.ones(2, 64), f"{KOHYA}.lora_up.weight": torch.ones(64, 2)}
ALPHA = {f"{KOHYA}.alpha": torch.tensor(1.0)}
OTHER = "lora_unet_mid_block_attentions_0_proj_out"
OTHER_PAIR = {f"{OTHER}.lora_down.weight": torch.ones(2, 64), f"{OTHER}.lora_up.weight": torch.ones(64, 2)}
ODD = {
    "half a LoHa": (
        {f"{OTHER}.hada_w1_a": torch.ones(64, 2)} | {f"{OTHER}.alpha": torch.tensor(1.0)},
        "is incomplete",
    ),
    "half a LoKr": (
        {f"{OTHER}.lokr_w1": torch.ones(2, 2)} | {f"{OTHER}.alpha": torch.tensor(1.0)},
        "is incomplete",
    ),
    "a LoKr elsewhere": ({"lycoris_mid_block.lokr_w1": torch.ones(2)}, "1 of 1 layers are not in this U-Net"),
    "a DoRA of kohya": (PAIR | {f"{KOHYA}.dora_scale": torch.ones(64, 1)}, "DoRA of kohya"),
    "a DoRA of ai-toolkit": (PAIR | {f"{KOHYA}.magnitude": torch.ones(64)}, "DoRA of ai-toolkit"),
    "an OFT": ({f"{KOHYA}.oft_blocks": torch.ones(2, 4, 4)}, "an OFT"),
    "a BOFT": ({"lycoris_x.boft_blocks": torch.ones(2, 4, 4)}, "an OFT"),
    "whole differences": (PAIR | {f"{OTHER}.diff": torch.ones(64, 64)}, "difference of whole weights"),
    "norms": (PAIR | {f"{OTHER}.w_norm": torch.ones(64)}, "norm layers"),
    "biases": ({"unet.conv_in.lora_B.bias": torch.ones(64)}, "biases"),
    "new words": (PAIR | {"bundle_emb.x.string_to_param.*": torch.ones(2)}, "new words"),
    "a text encoder": (
        PAIR | {"lora_te1_x.lora_down.weight": torch.ones(2)},
        "text encoder too .*lora_te1_x",
    ),
    "a stranger": (PAIR | {f"{KOHYA}.what": torch.ones(2)}, r"1 of 3 tensors do not belong.*what"),
    "no LoRA": ({"conv_in.weight": torch.ones(2)}, r"no LoRA tensors \(it holds: conv_in\.weight\)"),
    "half a pair": ({f"{KOHYA}.lora_up.weight": torch.ones(64, 2)} | ALPHA, "is incomplete"),
    "no up": (PAIR | OTHER_PAIR | ALPHA | {f"{OTHER}.alpha": torch.tensor(1.0)}, None),
    "alpha missing once": (PAIR | OTHER_PAIR | ALPHA, "only 1 of 2 layers have an .alpha"),
    "alpha not a number": (PAIR | {f"{KOHYA}.alpha": torch.ones(2)}, "should be one number"),
    "alpha not finite": (PAIR | {f"{KOHYA}.alpha": torch.tensor(math.nan)}, "alpha must be"),
    "a layer twice": (
        PAIR | {name.replace("mid_block_attentions_0", "middle_block_1"): t + 1 for name, t in PAIR.items()},
        "names some layers twice",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_tensors(tmp_path, case):
    tensors, message = ODD[case]
    save_file(tensors, tmp_path / "odd.safetensors")
    if message is None:  # the complete file, to show that the others fail for the reason given
        assert len(read_lora(tmp_path / "odd.safetensors", unet=UNET).state_dict) == 4
        return
    with pytest.raises(CourseError, match=rf"odd\.safetensors.*{message}"):
        read_lora(tmp_path / "odd.safetensors", unet=UNET)


class Trap:
    """What a hostile checkpoint would hold: unpickling it calls a function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    tensors = foreign_names("kohya", UNET, random_state(UNET, ATTENTION), 1.0)
    torch.save(tensors | {"x": Trap(tmp_path / "sprung")}, tmp_path / "trap.ckpt")
    with open(tmp_path / "plain.bin", "wb") as file:
        pickle.dump(Trap(tmp_path / "sprung"), file, protocol=2)
    for name in ("trap.ckpt", "plain.bin"):
        with pytest.raises(CourseError, match=f"{name} holds Python objects or code"):
            read_lora(tmp_path / name, unet=UNET)
    assert not (tmp_path / "sprung").exists()


class Shell:
    """What torch blocks by another message than unknown classes."""

    def __reduce__(self):
        return (os.system, ("true",))


def test_other_code_in_a_pickle_is_called_code(tmp_path):
    (tmp_path / "shell.ckpt").write_bytes(pickle.dumps(Shell(), protocol=2))
    with pytest.raises(CourseError, match="holds Python objects or code"):
        read_lora(tmp_path / "shell.ckpt", unet=UNET)


@pytest.mark.parametrize("message", ["Unsupported class posix.system", "Unsupported operand 118"])
def test_what_older_torch_says_of_a_pickle(tmp_path, monkeypatch, message):
    def load(*args, **kwargs):
        raise pickle.UnpicklingError(f"Weights only load failed. {message}")

    (tmp_path / "x.ckpt").touch()
    monkeypatch.setattr(torch, "load", load)
    expected = "objects or code" if "class" in message else "cut short or not a torch checkpoint"
    with pytest.raises(CourseError, match=expected):
        read_lora(tmp_path / "x.ckpt", unet=UNET)


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n")
    with pytest.raises(CourseError, match=rf"{name} is a pointer of Git LFS .*git lfs pull"):
        read_lora(tmp_path / name, unet=UNET)


GARBAGE = [b"version 1", b"not a checkpoint\n" * 9, b"<html></html>", bytes(99), b"\x80\x02."]


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_is_not_called_code(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CourseError, match="cut short or not a torch checkpoint"):
        read_lora(tmp_path / "x.ckpt", unet=UNET)


def test_another_text_encoder_is_refused_in_a_pickle_too(tmp_path):
    tensors = foreign_names("diffusers", UNET, random_state(UNET, ATTENTION), None)
    stem = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    tensors |= {f"{stem}.lora_A.weight": torch.ones(3, 8), f"{stem}.lora_B.weight": torch.ones(8, 3)}
    torch.save(tensors, tmp_path / "clip.bin")
    with pytest.raises(CourseError, match=r"clip\.bin: it is a LoRA of another text encoder too"):
        read_lora(tmp_path / "clip.bin", unet=UNET, alpha=1)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("layout", ["kohya", "diffsynth"])
def test_truncated(tmp_path, layout, kept):
    path = write(tmp_path, random_lora(UNET, ATTENTION), layout)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CourseError, match="cut short"):
        read_lora(path, unet=UNET, alpha=4)


@pytest.mark.parametrize("content", [{"step": 3, "x": torch.ones(2)}, torch.ones(2), [torch.ones(2)]])
def test_a_checkpoint_that_is_no_table_of_tensors(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CourseError, match="not a table of tensors"):
        read_lora(tmp_path / "x.pt", unet=UNET)
