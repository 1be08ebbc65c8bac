"""inspect-lora, convert-lora, merge-lora, extract-lora and combine-lora as a user types them."""

import json
import shutil

import pytest
import torch
from command_line import command, refused, tree
from loras import ATTENTION, random_state, small_unet, write_foreign
from PIL import Image
from safetensors.torch import load_file, save_file

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.kolors.skeleton import kolors_skeleton
from kolors_course.lora import (
    LoraFile,
    LoraSettings,
    inspect_lora,
    load_lora,
    read_lora,
    save_lora,
    target_layers,
    write_lora,
)
from kolors_course.platform.paths import data_dir

pytestmark = pytest.mark.usefixtures("tiny_profile")


def say(capsys, *arguments) -> str:
    assert main(command(*arguments)) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def camp_file(tmp_path_factory):
    """A .ckpt as DiffSynth-Studio wrote it for full Kolors, of rank 1 to be small."""
    unet, settings = kolors_skeleton(), LoraSettings(1, 4.0)
    state = random_state(unet, settings)
    path = tmp_path_factory.mktemp("camp") / "epoch=0-step=500.ckpt"
    return write_lora(path, LoraFile(path, state, settings, {}), "diffsynth", unet)


def test_inspect_says_rank_alpha_scale_layers_and_norms(capsys, tmp_path, lora_file):
    out = say(capsys, "inspect-lora", lora_file, "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["rank"], report["alpha"], report["scale"]) == (2, 4.0, 2.0)
    assert report["targets"].keys() == {"to_q", "to_k", "to_v", "to_out.0"}
    tensors = load_file(lora_file)
    squares = sum(
        (2.0 * tensors[name.replace("lora_A", "lora_B")].double() @ tensor.double()).square().sum()
        for name, tensor in tensors.items()
        if "lora_A" in name
    )
    assert sum(block["norm"] ** 2 for block in report["blocks"]) == pytest.approx(squares.item())
    assert (
        sum(block["layers"] for block in report["blocks"])
        == sum(report["targets"].values())
        == len(tensors) // 2
    )
    for text in ("rank    2", "alpha   4", "scale   2", "mid_block.attentions.0", "for tiny"):
        assert text in out
    verdicts = {tool["name"]: tool["verdict"] for tool in report["tools"]}
    assert verdicts["diffusers KolorsPipeline"] == "yes"
    assert verdicts["ComfyUI LoraLoaderModelOnly"] == "no"


def test_the_camps_file_on_a_laptop_without_full_kolors(capsys, tmp_path, camp_file):
    """The profile is mini; the layers of the file are those of full Kolors, which nobody downloaded."""
    out = say(capsys, "inspect-lora", camp_file)
    assert "unknown (not in the file)" in out
    assert "560: to_k 140, to_out.0 140, to_q 140, to_v 140" in out
    output = tmp_path / "ink.safetensors"
    assert "does not say its alpha" in refused(capsys, "convert-lora", camp_file, output, "--to", "kohya")
    assert tree(tmp_path) == set()
    out = say(capsys, "convert-lora", camp_file, output, "--to", "kohya", "--alpha", 4)
    assert "1120 tensors, rank 1, alpha 4, scale 4" in out
    assert len(load_file(output)) == 1120 + 560
    back = tmp_path / "back.ckpt"
    out = say(capsys, "convert-lora", output, back, "--to", "diffsynth")
    assert "cannot hold alpha: give 4" in out
    ours, theirs = (torch.load(path, weights_only=True) for path in (back, camp_file))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_running_the_camps_workflow_asks_for_the_alpha_of_its_file(capsys, tmp_path, camp_file):
    """Before anything is installed or started: a file trained at alpha 16 would show nothing at alpha 4."""
    workflow = data_dir() / "workflows" / "kolors_with_lora_example.json"
    said = refused(capsys, "comfyui", "run", workflow, "--lora", camp_file, "--folder", tmp_path / "comfyui")
    assert "does not say its alpha" in said
    assert "--alpha" in said
    assert "trained strength" not in said
    assert tree(tmp_path) == set()


def test_what_is_said_about_the_camps_tools(camp_file):
    """W += lora_alpha · B A in DiffSynth-Studio; alpha / rank, with alpha up to 4, in the camp's node."""
    unet = kolors_skeleton()
    for alpha, node in ((4.0, "set"), (8.0, "no")):
        tools = {tool.name: tool for tool in inspect_lora(camp_file, alpha=alpha, unet=unet).tools}
        assert tools["the camp's LoadKolorsLoRA node"].verdict == node
        assert f"lora_alpha={alpha:g}:" in tools["DiffSynth-Studio 1.x load_lora"].note
        assert tools["kolors-course"].verdict == "set"
    tools = {tool.name: tool for tool in inspect_lora(camp_file, unet=unet).tools}
    assert "lora_alpha=alpha/1" in tools["DiffSynth-Studio 1.x load_lora"].note


@pytest.mark.parametrize(
    ("layout", "alpha", "verdict"),
    [
        ("kohya", 1.5, "yes"),
        ("kohya-sgm", 1.5, "yes"),
        ("kohya", None, "set"),
        ("diffusers-legacy", 1.5, "set"),
        ("diffusers", 1.5, "no"),
        ("peft", 1.5, "no"),
    ],
)
def test_what_is_said_about_comfyui(tmp_path, layout, alpha, verdict):
    unet = small_unet()
    path = write_foreign(tmp_path, layout, unet, random_state(unet, ATTENTION), alpha)
    tools = {tool.name: tool for tool in inspect_lora(path, alpha=alpha or 1.5, unet=unet).tools}
    tool = tools["ComfyUI LoraLoaderModelOnly"]
    assert tool.verdict == verdict
    assert ("0.5" in tool.note) == (verdict == "set")


def verdict_of_the_course(path, unet) -> str:
    return next(t.verdict for t in inspect_lora(path, unet=unet).tools if t.name == "kolors-course")


@pytest.mark.parametrize("layout", ["diffusers", "peft", "diffusers-legacy", "kohya"])
@pytest.mark.parametrize("change", ["none", "wider", "other layers", "half of the targets"])
def test_the_verdict_on_the_course_is_what_loading_does(tmp_path, layout, change):
    """A file of Stable Diffusion 1.5 has other layers and shapes; `wider` has the same layers."""
    unet = small_unet()
    state = random_state(small_unet(blocks=(32, 96, 96)) if change == "wider" else unet, ATTENTION)
    if change == "other layers" and layout != "kohya":
        state = {name.replace("down_blocks.2", "down_blocks.3"): tensor for name, tensor in state.items()}
    if change == "half of the targets":
        state = {name: tensor for name, tensor in state.items() if ".attn2." in name}
    path = write_foreign(tmp_path, layout, unet, state, 1.5)
    if change == "half of the targets" and layout == "diffusers":
        save_lora(path, state, ATTENTION, base_model="small", dataset_hash="")
    try:
        load_lora(small_unet(), path)
        loads = True
    except CourseError:
        loads = False
    assert verdict_of_the_course(path, unet) == ("yes" if loads else "no")
    report = inspect_lora(path, unet=unet)
    assert report.fits == (change != "wider" and not (change == "other layers" and layout != "kohya"))
    if not report.fits:
        notes = {(tool.verdict, tool.note) for tool in report.tools}
        assert notes == {("no", "its layers or shapes are those of another model")}


def test_a_file_without_a_unet_is_not_judged_by_it(tmp_path, lora_file):
    assert inspect_lora(lora_file).fits is None


def test_inspect_finds_the_unet_that_fits_and_says_where_none_does(capsys, tmp_path):
    full, wide = kolors_skeleton(), small_unet(blocks=(32, 96, 96))
    settings = LoraSettings(1, 4.0)
    lora = LoraFile(tmp_path, random_state(full, settings), settings, {})
    fitting = write_lora(tmp_path / "full.safetensors", lora)
    lora = LoraFile(tmp_path, random_state(wide, ATTENTION), ATTENTION, {})
    foreign = write_lora(tmp_path / "wide.safetensors", lora)
    for path, fits in ((fitting, True), (foreign, False)):
        out = say(capsys, "inspect-lora", path, "--json", tmp_path / "report.json")
        report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        assert report["fits"] is fits
        assert ("another model" in out) is not fits


def test_the_error_is_that_of_the_unet_that_the_file_belongs_to(capsys, tmp_path):
    """The profile is mini, which does not fit, but that is not what is wrong with these files."""
    full, settings = kolors_skeleton(), LoraSettings(1, 0.5)
    lora = LoraFile(tmp_path, random_state(full, settings), settings, {})
    path = write_lora(tmp_path / "full.safetensors", lora, "kohya", full)
    assert "says alpha 0.5, not 4" in refused(capsys, "inspect-lora", path, "--alpha", 4)
    out = tmp_path / "out.safetensors"
    convert = ("convert-lora", "--to", "diffusers")
    assert "says alpha 0.5, not 4" in refused(capsys, *convert, path, out, "--alpha", 4)
    tensors = load_file(path)
    tensors[next(name for name in tensors if name.endswith(".alpha"))] = torch.tensor(1.0)
    save_file(tensors, path)
    assert "its layers differ (ranks 1)" in say(capsys, "inspect-lora", path)
    assert "rank 1, alpha 0.5, scale 0.5" in say(capsys, *convert, path, out)


def test_weights_that_are_not_merged_are_told(capsys, tmp_path, lora_file, tiny_folder):
    model = shutil.copytree(tiny_folder, tmp_path / "model")
    (model / "unet" / "diffusion_pytorch_model.bin").touch()
    out = say(capsys, "merge-lora", lora_file, "--model", model, "-o", tmp_path / "merged")
    assert "not copied, because these weights are not merged: diffusion_pytorch_model.bin" in out


def test_merge_then_extract_gives_the_lora_back(capsys, tmp_path, lora_file, tiny_folder):
    merged, found = tmp_path / "merged", tmp_path / "found.safetensors"
    assert "layers changed by 1" in say(capsys, "merge-lora", f"{lora_file}:0.5", "-o", merged)
    out = say(capsys, "extract-lora", tiny_folder, merged, "--rank", 2, "-o", found, "--device", "cpu")
    assert "of the squared change kept" in out
    lora, original = read_lora(found), read_lora(lora_file)
    assert lora.metadata["energy"] > 0.99  # the merged weights are stored in half precision
    assert set(target_layers(load_model(tiny_folder).unet, lora.settings.target_modules)) == set(
        target_layers(load_model(tiny_folder).unet, original.settings.target_modules)
    )
    for name in original.state_dict:
        if name.endswith("lora_A.weight"):
            key = name.replace("lora_A", "lora_B")
            expected = 0.5 * original.settings.scale * original.state_dict[key] @ original.state_dict[name]
            change = lora.state_dict[key] @ lora.state_dict[name]
            assert (change - expected).norm() < 0.02 * expected.norm()
    queries = tmp_path / "queries.safetensors"
    say(
        capsys,
        "extract-lora",
        tiny_folder,
        merged,
        "-o",
        queries,
        "--lora_target_modules",
        "to_q",
        "--device",
        "cpu",
    )
    assert {name.split(".")[-3] for name in load_file(queries)} == {"to_q"}


def test_combine(capsys, tmp_path, lora_file):
    both, small, report = (
        tmp_path / name for name in ("both.safetensors", "small.safetensors", "report.json")
    )
    assert "rank 4" in say(capsys, "combine-lora", f"{lora_file}:0.5", f"{lora_file}:0.25", "-o", both)
    say(capsys, "combine-lora", lora_file, lora_file, "-o", small, "--rank", 2, "--json", report)
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert facts["rank"] == 2
    assert facts["energy"] == pytest.approx(1)
    assert read_lora(both).base_model == "tiny"
    one, original = read_lora(both), read_lora(lora_file)
    name = next(iter(original.state_dict)).replace("lora_B", "lora_A")
    key = name.replace("lora_A", "lora_B")
    expected = 0.75 * original.settings.scale * original.state_dict[key] @ original.state_dict[name]
    torch.testing.assert_close(one.settings.scale * one.state_dict[key] @ one.state_dict[name], expected)


def test_generate_draws_with_a_kohya_file(capsys, tmp_path, lora_file):
    kohya, pictures = tmp_path / "k.safetensors", [tmp_path / f"{i}.png" for i in range(2)]
    say(capsys, "convert-lora", lora_file, kohya, "--to", "kohya")
    for lora, picture in zip((lora_file, kohya), pictures, strict=True):
        say(capsys, "generate", "--prompt", "夜晚", "--steps", 1, "--lora", lora, "-o", picture)
    assert Image.open(pictures[0]).tobytes() == Image.open(pictures[1]).tobytes()


def test_bad_input_is_one_line_and_writes_nothing(capsys, tmp_path, lora_file, tiny_folder):
    folder = tmp_path / "in"
    folder.mkdir()
    save_file({"conv_in.weight": torch.zeros(2)}, folder / "model.safetensors")
    (folder / "cut.safetensors").write_bytes(lora_file.read_bytes()[:-100])
    torch.save({"x": object}, folder / "code.ckpt")
    wide = small_unet(blocks=(32, 96, 96))
    other = write_foreign(folder, "kohya", wide, random_state(wide, ATTENTION), 1.0)
    out = tmp_path / "out.safetensors"
    convert = ("convert-lora", "--to", "kohya")
    for arguments, message in (
        ((*convert, "none.safetensors", out), "no LoRA file none.safetensors"),
        ((*convert, folder / "model.safetensors", out), "no LoRA tensors"),
        ((*convert, folder / "cut.safetensors", out), "cut short"),
        ((*convert, folder / "code.ckpt", out), "objects or code"),
        ((*convert, other, out), "layers are not in this U-Net"),
        ((*convert, lora_file, tmp_path / "out.ckpt"), "something.safetensors"),
        ((*convert, lora_file, out, "--alpha", "nan"), "--alpha: must be a number above 0"),
        ((*convert, lora_file, out, "--model", tmp_path), "no folder unet"),
        (("convert-lora", lora_file, out), "--to"),
        (("convert-lora", lora_file, out, "--to", "onnx"), "onnx"),
        (("inspect-lora", folder / "cut.safetensors"), "cut short"),
        (("merge-lora", lora_file, "-o", folder), "exists already"),
        (("merge-lora", f"{lora_file}:strong", "-o", out), "strong"),
        (("merge-lora", other, "-o", out), "layers are not in this U-Net"),
        (("merge-lora", lora_file, "-o", out, "--model", "none"), "no model folder none"),
        (("combine-lora", lora_file, "-o", out), "two or more"),
        (("combine-lora", lora_file, lora_file, "-o", out, "--rank", "4"), "from 1 to 3"),
        (("extract-lora", tiny_folder, tiny_folder, "-o", out), "changed: nothing"),
        (("extract-lora", tiny_folder, "none", "-o", out), "no model folder none"),
        (
            ("extract-lora", tiny_folder, tiny_folder, "-o", out, "--rank", "0"),
            "--rank: must be a whole number from 1",
        ),
        (("extract-lora", tiny_folder, tiny_folder, "-o", out, "--lora_target_modules", "to_x"), "to_x"),
    ):
        assert message in refused(capsys, *arguments)
        assert {path.name for path in tmp_path.iterdir()} == {"in"}
