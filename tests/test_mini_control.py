"""Training a ControlNet on the world's hints: what it starts as, what learns, and that a resumed run is the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import state_of

from kolors_course.hints import HINTS, scene_boxes, scene_depth
from kolors_course.kolors import Control, Sampling, generate, load_controlnet, new_controlnet
from kolors_course.mini.control import ControlConfig, coloured, hints_of, known_rows, train_control
from kolors_course.mini.pictures import PictureSpec, PictureStore, choose_scene
from kolors_course.training.controlnet import ControlLearner, ControlledDenoising
from kolors_course.training.losses import LossSettings
from kolors_course.training.objective import Batch, denoising_loss
from kolors_course.training.run import RunFolder

SPEC = PictureSpec(seed=10, size=32, styled_share=0.6)
CONFIG = ControlConfig(
    steps=4,
    batch_size=4,
    warmup=1,
    pictures=12,
    captions=2,
    size=32,
    embedding=(8, 8, 16),
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PictureStore(SPEC, tmp_path_factory.mktemp("control") / "pictures", chunk=12)


@pytest.fixture(scope="module")
def trained(tiny_model, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("control-run")
    return folder, train_control(CONFIG, tiny_model, store, folder)


def a_batch(model):
    from kolors_course.kolors import encode_prompts, time_ids

    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    prompts = encode_prompts(model.tokenizer, model.text_encoder, ["a cat", "一只兔子"])
    batch = Batch(latents, prompts, time_ids(32, 32).expand(2, -1))
    hints = torch.rand(2, 3, 32, 32, generator=generator)
    return batch, noise, torch.tensor([100, 900]), hints


def test_at_the_start_the_loss_is_the_plain_one_and_only_the_last_zeros_learn(tiny_model):
    learner = ControlLearner(tiny_model, new_controlnet(tiny_model))
    batch, noise, timesteps, hints = a_batch(tiny_model)
    loss = ControlledDenoising(LossSettings())(learner.model, batch, noise, timesteps, hints)["loss"]
    plain = denoising_loss(tiny_model, batch, noise, timesteps, LossSettings())
    torch.testing.assert_close(loss, plain)
    loss.backward()
    gradients = {name: weight.grad for name, weight in learner.module.named_parameters()}
    moved = {
        name.split(".")[0] for name, grad in gradients.items() if grad is not None and grad.abs().max() > 0
    }
    assert moved == {"controlnet_down_blocks", "controlnet_mid_block"}, "∂y/∂w = x is not 0 where w is"
    assert not any(weight.grad is not None for weight in tiny_model.unet.parameters())


def test_hints_are_those_of_the_scene_and_boxes_are_red():
    for index in range(4):
        scene, style = choose_scene(SPEC, index)
        stored = hints_of(SPEC, index)
        assert stored.shape == (len(HINTS), 32, 32)
        pixels = coloured(torch.from_numpy(stored), torch.arange(3))
        for number, wanted in ((1, scene_boxes(scene, 32, style)), (2, scene_depth(scene, 32, style))):
            shown = (pixels[number].permute(1, 2, 0) * 255).round().byte().numpy()
            assert np.array_equal(shown, np.asarray(wanted))


def test_training_moves_the_net_and_leaves_the_model(tiny_model, store, tmp_path):
    before = state_of(tiny_model.unet)[0]
    net = train_control(CONFIG, tiny_model, store, tmp_path)
    after = state_of(tiny_model.unet)[0]
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert torch.equal(net.encoder_hid_proj.weight, tiny_model.unet.encoder_hid_proj.weight)
    assert net.controlnet_mid_block.weight.abs().max() > 0
    assert len(known_rows(SPEC, 12)) < 12, "styles that are kept for LoRAs are left out"


def test_a_resumed_run_is_the_same_to_the_bit(tiny_model, store, trained, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    save = RunFolder.save

    def killed(self, config, **state):
        save(self, config, **state)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", killed)
        with pytest.raises(Killed):
            train_control(CONFIG, tiny_model, store, tmp_path)
    again = train_control(CONFIG, tiny_model, store, tmp_path).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained[1].state_dict().items())


def test_what_is_written_is_read_and_drawn_with(tiny_model, trained):
    folder, net = trained
    read = load_controlnet(folder / "controlnet", tiny_model)
    hint = scene_boxes(choose_scene(SPEC, 0)[0], 32)
    sampling = replace(Sampling(2), spacing="trailing")
    drawn = [
        generate(tiny_model, ["a cat"], [1], sampling, controls=[Control(each, [hint])])[0]
        for each in (net, read)
    ]
    assert drawn[0].tobytes() == drawn[1].tobytes()
