"""Pictures that the model's VAE cannot draw are found, and named with numbers."""

import json

import numpy as np
import pytest
from command_line import command
from PIL import Image

from kolors_course.art import draw_scene, render
from kolors_course.cli import main
from kolors_course.dataset import check_dataset, write_dataset
from kolors_course.dataset.check import LEAST_PSNR, TOGETHER
from kolors_course.kolors import current_profile, load_round_trip


def noise(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    """Two scenes of the world, and a picture that no VAE can draw."""
    rng = np.random.default_rng(3)
    pictures = [render(draw_scene(rng), 128, "colour"), noise(0), render(draw_scene(rng), 128, "woodcut")]
    return write_dataset(tmp_path / "set", [(picture, f"picture {i}") for i, picture in enumerate(pictures)])


def test_the_number_is_the_peak_signal_to_noise_ratio():
    trip = load_round_trip(current_profile("mini").folder)
    picture = noise(1)
    (psnr,) = trip.psnr([picture])
    import torch

    pixels = torch.from_numpy(np.asarray(picture, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        again = trip.vae.decode(trip.vae.encode(pixels).latent_dist.mode()).sample
    difference = (again.clamp(-1, 1) - pixels).numpy() * 127.5
    assert psnr == pytest.approx(10 * np.log10(255**2 / np.square(difference).mean()), abs=0.01)
    assert trip.name == "kolors-mini"


def test_the_world_can_be_drawn_and_noise_cannot(folder, monkeypatch, capsys):
    monkeypatch.delenv("KOLORS_PROFILE", raising=False)
    monkeypatch.delenv("KOLORS_MODEL", raising=False)
    report = folder.parent / "report.json"
    assert main(command("check-dataset", folder, "--json", report)) == 0
    out = capsys.readouterr().out
    assert (
        "warning: 1 of 3 pictures come back from the model's VAE at under 21 dB, the worst are 001.png ("
        in out
    )
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert (
        facts["psnr"]["001.png"] < 15 < LEAST_PSNR < min(facts["psnr"]["000.png"], facts["psnr"]["002.png"])
    )
    assert main(command("check-dataset", folder, "--json", report, "--no-vae")) == 0
    assert "VAE" not in capsys.readouterr().out
    assert json.loads(report.read_text(encoding="utf-8"))["psnr"] == {}


def test_few_pictures_are_in_memory_at_a_time(folder, tmp_path):
    batches, progress = [], []

    def redraw(pictures):
        batches.append([picture.size for picture in pictures])
        return [30.0] * len(pictures)

    side = 8 * round((TOGETHER / 2) ** 0.5 / 8)
    report = check_dataset(
        folder, (side, side), redraw=redraw, progress=lambda done, total: progress.append((done, total))
    )
    assert batches == [[(side, side)] * 2, [(side, side)]]
    assert progress == [(2, 3), (3, 3)]
    assert report.psnr == {"000.png": 30.0, "001.png": 30.0, "002.png": 30.0}
    assert not [finding for finding in report.findings if finding.topic == "vae" and finding.verdict != "ok"]


def test_a_model_that_is_not_here_leaves_the_vae_out(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KOLORS_PROFILE", "kolors")
    monkeypatch.delenv("KOLORS_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(command("check-dataset", folder)) == 0
    out = capsys.readouterr().out
    assert "the pictures are not sent through a VAE: there is no model folder models/Kolors-diffusers" in out
    assert "through the VAE and back" not in out
