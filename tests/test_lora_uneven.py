"""Files whose layers differ in rank or alpha or have a third factor do what they did, in one rank and scale."""

import json
from dataclasses import replace

import pytest
import torch
from loras import ATTENTION, random_state, small_unet
from safetensors.torch import save_file

from kolors_course.errors import CourseError
from kolors_course.lora import (
    LoraSettings,
    adaptable_layers,
    add_lora,
    check_fit,
    inspect_lora,
    load_lora,
    lora_state_dict,
    merge_lora,
    read_lora,
    write_lora,
)
from kolors_course.lora.kinds import part_shapes, weight_change

UNET = small_unet()
LAYERS = adaptable_layers(UNET)
CONV, LINEAR = "mid_block.resnets.0.conv1", "mid_block.attentions.0.proj_in"
OUT, IN = LAYERS[CONV].weight.shape[:2]


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kohya(layer: str, parts: dict[str, torch.Tensor], alpha: float | None = None, prefix: str = "lora_unet_"):
    stem = prefix + layer.replace(".", "_")
    alphas = {} if alpha is None else {f"{stem}.alpha": torch.tensor(alpha)}
    return {f"{stem}.{part}": tensor for part, tensor in parts.items()} | alphas


def pair(layer: str, rank: int, seed: int = 0) -> dict[str, torch.Tensor]:
    out, *rest = LAYERS[layer].weight.shape
    ones = (1,) * (len(rest) - 1)
    return {
        "lora_down.weight": numbers(rank, *rest, seed=seed),
        "lora_up.weight": numbers(out, rank, *ones, seed=seed + 1),
    }


def change(lora, layer: str) -> torch.Tensor:
    return lora.settings.scale * weight_change(lora.state_dict, layer, lora.settings.adapter)


def product(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    return parts["lora_up.weight"].flatten(1) @ parts["lora_down.weight"].flatten(1)


def merged(path) -> dict[str, torch.Tensor]:
    """What loading and merging the file adds to each weight."""
    unet = small_unet()
    load_lora(unet, path)
    merge_lora(unet)
    before = UNET.state_dict()
    return {name: tensor - before[name] for name, tensor in unet.state_dict().items()}


@pytest.mark.parametrize(
    ("ranks", "alphas", "settings"),
    [
        ((8, 2), (4.0, 1.0), (8, 4.0)),  # kohya's conv_dim and conv_alpha: the same scale
        ((8, 2), (4.0, 2.0), None),
        ((4, 4), (4.0, 1.0), None),
        ((4, 1), (16.0, 0.5), None),
    ],
)
def test_ranks_and_alphas_of_their_own(tmp_path, ranks, alphas, settings):
    parts = {LINEAR: pair(LINEAR, ranks[0]), CONV: pair(CONV, ranks[1], seed=5)}
    tensors = kohya(LINEAR, parts[LINEAR], alphas[0]) | kohya(CONV, parts[CONV], alphas[1])
    path = tmp_path / "locon.safetensors"
    save_file(tensors, path)
    lora = read_lora(path, unet=UNET)
    assert check_fit(UNET, lora) == 4
    assert lora.settings.rank == max(ranks)
    if settings:
        assert (lora.settings.rank, lora.settings.alpha) == settings
    for layer, rank, alpha in zip((LINEAR, CONV), ranks, alphas, strict=True):
        torch.testing.assert_close(
            change(lora, layer), alpha / rank * product(parts[layer]), rtol=1e-6, atol=1e-6
        )
        weight = merged(path)[f"{layer}.weight"].flatten(1)
        torch.testing.assert_close(weight, alpha / rank * product(parts[layer]), rtol=1e-4, atol=1e-4)
    for layout in ("kohya", "diffusers"):
        out = write_lora(tmp_path / f"{layout}.safetensors", lora, layout, UNET)
        again = read_lora(out, unet=UNET)
        assert again.settings == lora.settings
        assert all(torch.equal(tensor, lora.state_dict[name]) for name, tensor in again.state_dict.items())


def test_an_alpha_that_is_given_is_that_of_every_layer(tmp_path):
    parts = {LINEAR: pair(LINEAR, 8), CONV: pair(CONV, 2, seed=5)}
    save_file(kohya(LINEAR, parts[LINEAR]) | kohya(CONV, parts[CONV]), tmp_path / "x.safetensors")
    lora = read_lora(tmp_path / "x.safetensors", unet=UNET, alpha=4.0)
    for layer, rank in ((LINEAR, 8), (CONV, 2)):
        torch.testing.assert_close(
            change(lora, layer), 4 / rank * product(parts[layer]), rtol=1e-6, atol=1e-6
        )
    tools = {tool.name: tool for tool in inspect_lora(tmp_path / "x.safetensors", unet=UNET, alpha=4.0).tools}
    assert tools["ComfyUI LoraLoaderModelOnly"].verdict == "no"  # each layer would need another strength


@pytest.mark.parametrize("use_rslora", [False, True])
def test_patterns_of_peft(tmp_path, use_rslora):
    """By whole names, by endings, and by regular expressions, as peft looks them up."""
    settings = LoraSettings(4, 2.0, ("to_q", "to_k", "to_v"), use_rslora=use_rslora)
    unet = small_unet()
    add_lora(unet, settings, generator=torch.Generator().manual_seed(0))
    state = {
        name: numbers(*tensor.shape, seed=i) for i, (name, tensor) in enumerate(lora_state_dict(unet).items())
    }
    for name in state:
        if ".to_k." in name:  # rank 2
            state[name] = state[name][:2] if "lora_A" in name else state[name][:, :2]
    entry = {
        "r": 4,
        "lora_alpha": 2.0,
        "use_rslora": use_rslora,
        "target_modules": list(settings.target_modules),
    }
    entry |= {"rank_pattern": {"to_k": 2}, "alpha_pattern": {"to_k": 8.0, r"mid_block\..*\.to_v": 1.0}}
    metadata = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in entry.items()})}
    tensors = {f"unet.{name}": tensor.contiguous() for name, tensor in state.items()}
    save_file(tensors, tmp_path / "x.safetensors", metadata=metadata)
    lora = read_lora(tmp_path / "x.safetensors", unet=UNET)
    assert check_fit(UNET, lora) == len(state)
    for layer in {name.rsplit(".lora_", 1)[0] for name in state}:
        rank = 2 if layer.endswith("to_k") else 4
        alpha = (
            8.0
            if layer.endswith("to_k")
            else 1.0
            if layer.startswith("mid") and layer.endswith("to_v")
            else 2.0
        )
        true = alpha / (rank**0.5 if use_rslora else rank) * weight_change(state, layer, "lora")
        torch.testing.assert_close(change(lora, layer), true, rtol=1e-5, atol=1e-6)


def tucker(shape_a: tuple[int, ...], shape_b: tuple[int, ...], rank: int = 3) -> tuple[torch.Tensor, ...]:
    return numbers(rank, rank, 3, 3), numbers(*shape_a, seed=1), numbers(*shape_b, seed=2)


def test_a_tucker_core_of_a_locon(tmp_path):
    core, down, up = tucker((3, IN, 1, 1), (OUT, 3, 1, 1))
    parts = {"lora_mid.weight": core, "lora_down.weight": down, "lora_up.weight": up}
    save_file(kohya(CONV, parts, 1.5), tmp_path / "x.safetensors")
    true = 0.5 * torch.einsum("or,rshw,si->oihw", up[..., 0, 0], core, down[..., 0, 0])
    lora = read_lora(tmp_path / "x.safetensors", unet=UNET)
    assert (lora.settings.rank, lora.settings.adapter) == (3, "lora")
    torch.testing.assert_close(change(lora, CONV).reshape(true.shape), true, rtol=1e-5, atol=1e-5)


def test_tucker_cores_of_a_loha(tmp_path):
    halves = [tucker((3, OUT), (3, IN)), tucker((3, OUT), (3, IN))]
    parts, products = {}, []
    for i, (core, a, b) in enumerate(halves, 1):
        core = core + i
        parts |= {f"hada_t{i}": core, f"hada_w{i}_a": a, f"hada_w{i}_b": b}
        products.append(torch.einsum("rshw,ro,si->oihw", core, a, b))
    save_file(kohya(CONV, parts, 6.0, "lycoris_"), tmp_path / "x.safetensors")
    lora = read_lora(tmp_path / "x.safetensors", unet=UNET)
    assert (lora.settings.rank, lora.settings.adapter, check_fit(UNET, lora)) == (3, "loha", 4)
    true = 2 * products[0] * products[1]
    torch.testing.assert_close(change(lora, CONV).reshape(true.shape), true, rtol=1e-4, atol=1e-3)


LOKRS = {  # W₁ (l, m), and W₂ whole, or cut at a rank
    "cut otherwise than by peft": ((4, 2), None),
    "whole, W₁ larger than peft's": ((16, 16), None),
    "in two factors": ((4, 4), 2),
    "W₁ in two factors too": ((8, 4), 2),
}


@pytest.mark.parametrize("layer", [LINEAR, CONV])
@pytest.mark.parametrize("case", LOKRS)
def test_a_lokr_may_be_cut_anyhow(tmp_path, case, layer):
    (l, m), rank = LOKRS[case]
    out, inside, *kernel = LAYERS[layer].weight.shape
    k, n = out // l, inside // m
    w1 = numbers(l, m)
    parts = {"lokr_w1": w1}
    if "W₁ in two" in case:
        one, two = numbers(l, 2, seed=3), numbers(2, m, seed=4)
        w1, parts = one @ two, {"lokr_w1_a": one, "lokr_w1_b": two}
    if rank is None:
        w2 = numbers(k, n, *kernel, seed=1)
        parts |= {"lokr_w2": w2}
    else:
        a, b = numbers(k, rank, seed=1), numbers(rank, n * (9 if kernel else 1), seed=2)
        w2 = (a @ b).reshape(k, n, *kernel)
        parts |= {"lokr_w2_a": a, "lokr_w2_b": b}
    path = tmp_path / "x.safetensors"
    save_file(
        kohya(layer, parts, 9999999999.0 if rank is None else 1.0, "lycoris_"), path
    )  # ai-toolkit's alpha
    scale = 1.0 if rank is None else 0.5  # LyCORIS and ComfyUI: no alpha where W₂ is whole
    true = scale * torch.einsum("lm,kn...->lkmn...", w1, w2).reshape(out, -1)
    lora = read_lora(path, unet=UNET)
    assert check_fit(UNET, lora) == len(lora.state_dict)
    torch.testing.assert_close(change(lora, layer), true, rtol=1e-5, atol=1e-5)
    for file in (path, write_lora(tmp_path / "y.safetensors", lora, "diffusers")):
        weight = merged(file)[f"{layer}.weight"].flatten(1)
        torch.testing.assert_close(weight, true, rtol=1e-4, atol=1e-4)


def test_lokrs_of_several_kinds_of_layers_keep_one_scale(tmp_path):
    """W₂ whole in one layer and cut in another: LyCORIS scales only the second."""
    cut = {"lokr_w1": numbers(4, 4), "lokr_w2_a": numbers(16, 2), "lokr_w2_b": numbers(2, 16)}
    whole = {"lokr_w1": numbers(8, 8, seed=5), "lokr_w2": numbers(OUT // 8, IN // 8, 3, 3, seed=6)}
    save_file(kohya(LINEAR, cut, 1.0) | kohya(CONV, whole, 1.0), tmp_path / "x.safetensors")
    lora = read_lora(tmp_path / "x.safetensors", unet=UNET)
    one = 0.5 * torch.kron(cut["lokr_w1"], cut["lokr_w2_a"] @ cut["lokr_w2_b"])
    torch.testing.assert_close(change(lora, LINEAR), one, rtol=1e-5, atol=1e-5)
    two = torch.einsum("lm,knhw->lkmnhw", whole["lokr_w1"], whole["lokr_w2"]).reshape(OUT, -1)
    torch.testing.assert_close(change(lora, CONV), two, rtol=1e-5, atol=1e-5)


def test_factors_that_do_not_fit_each_other(tmp_path):
    bad = {
        "lora_mid.weight": (numbers(3, 3, 3, 3), "incomplete: it has lora_mid.weight and no lora_"),
        "hada_t1": (numbers(3, 3, 3, 3), "incomplete: it has hada_t1 and no"),
        "lokr_w1_a": (numbers(4, 2), "incomplete: it has lokr_w1_a and no lokr_w1_b"),
    }
    for part, (tensor, message) in bad.items():
        save_file(kohya(CONV, {part: tensor}, 1.0), tmp_path / "x.safetensors")
        with pytest.raises(CourseError, match=message):
            read_lora(tmp_path / "x.safetensors", unet=UNET)
    core, down, up = tucker((3, IN, 1, 1), (OUT, 3, 1, 1), rank=4)
    parts = {"lora_mid.weight": core, "lora_down.weight": down, "lora_up.weight": up}
    save_file(kohya(CONV, parts, 1.5), tmp_path / "x.safetensors")
    with pytest.raises(CourseError, match="do not fit each other"):
        read_lora(tmp_path / "x.safetensors", unet=UNET)


def test_a_lokr_of_the_wrong_size_does_not_fit(tmp_path):
    parts = {"lokr_w1": numbers(3, 3), "lokr_w2": numbers(5, 5)}
    save_file(kohya(LINEAR, parts, 1.0), tmp_path / "x.safetensors")
    with pytest.raises(CourseError, match=r"lokr_w\d is .*, but this model needs"):
        load_lora(small_unet(), tmp_path / "x.safetensors")


def test_even_files_keep_every_bit(tmp_path):
    """Half precision stays what it is."""
    state = random_state(UNET, replace(ATTENTION, use_rslora=True), dtype=torch.bfloat16)
    save_file({f"unet.{name}": tensor for name, tensor in state.items()}, tmp_path / "x.safetensors")
    read = read_lora(tmp_path / "x.safetensors", alpha=1.5)
    assert all(tensor.dtype == torch.bfloat16 for tensor in read.state_dict.values())
    assert all(torch.equal(tensor, state[name]) for name, tensor in read.state_dict.items())
    assert part_shapes(LAYERS[LINEAR], "lora", 3).keys() == {"lora_A.weight", "lora_B.weight"}
