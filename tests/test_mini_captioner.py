"""Training of the captioner: a toy learns eight pictures by heart, and a run that stops ends in the same bits."""

from dataclasses import replace

import pytest
import torch
from captioners import TINY, mini_words
from diffusers import AutoencoderKL
from PIL import Image

from kolors_course.art import LANGUAGES, LENGTHS, caption
from kolors_course.art.parsing import parse_caption
from kolors_course.captioner import SmallCaptioner, score_captions
from kolors_course.captioner.network import CaptionerShape
from kolors_course.captioner.tasks import TASKS
from kolors_course.mini import captioner as training
from kolors_course.mini.captioner import CaptionerConfig, choose_rows, tell, train_captioner
from kolors_course.mini.pictures import PictureSpec, PictureStore, choose_scene
from kolors_course.mini.vae import VaeConfig, build_vae
from kolors_course.training.run import RunFolder, read_log

SPEC = PictureSpec(seed=3)
TOY = CaptionerConfig(
    steps=450,
    batch_size=8,
    learning_rate=4e-3,
    warmup=10,
    pictures=8,
    through_vae=0,
    checkpoint_every=1000,
)
SHAPE = CaptionerShape(stem=8, widths=(16, 16, 32, 64), depths=(1, 1, 1, 1), width=64, layers=2, heads=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PictureStore(SPEC, tmp_path_factory.mktemp("pictures"), chunk=8)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return build_vae(VaeConfig(block_out_channels=(8, 16, 16))).eval().requires_grad_(False)


def test_a_toy_learns_eight_pictures(store, vae, tmp_path):
    words = mini_words()
    network = train_captioner(TOY, SHAPE, store, vae, words, tmp_path)
    captioner = SmallCaptioner(network, words)
    scenes = [choose_scene(SPEC, i)[0] for i in range(8)]
    pictures = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in store.read(0, 8)]
    texts = {task: captioner.caption(pictures, *task) for task in TASKS}
    scores = {task: score_captions(scenes, said, [task] * 8) for task, said in texts.items()}
    assert all(each.hallucination_rate < 0.1 for each in scores.values()), texts
    assert sum(each.all_facts.right for each in scores.values()) > 0.85 * sum(
        each.all_facts.total for each in scores.values()
    ), texts
    losses = [row for _, row in read_log(RunFolder(tmp_path).path / "log.jsonl")]
    assert losses[-1]["caption"] < losses[0]["caption"] / 5
    assert losses[-1]["facts"] < losses[0]["facts"] / 5


def test_a_run_that_was_stopped_ends_in_the_same_bits(store, vae, tmp_path, monkeypatch):
    config = replace(TOY, steps=6, through_vae=4, vae_share=0.5, checkpoint_every=2)
    words = mini_words()
    whole = train_captioner(config, TINY, store, vae, words, tmp_path / "whole")
    take_step = training.Training.take_step

    def stops(self):
        if self.step == 3:
            raise KeyboardInterrupt
        return take_step(self)

    monkeypatch.setattr(training.Training, "take_step", stops)
    with pytest.raises(KeyboardInterrupt):
        train_captioner(config, TINY, store, vae, words, tmp_path / "cut")
    monkeypatch.undo()
    torch.manual_seed(99)
    rest = train_captioner(config, TINY, store, vae, words, tmp_path / "cut")
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True)
    )


def test_what_a_step_sees_is_a_function_of_seed_and_step():
    config = replace(TOY, through_vae=4, vae_share=0.5)
    rows, seen = choose_rows(config, 7)
    again, seen_again = choose_rows(config, 7)
    assert torch.equal(rows, again)
    assert torch.equal(seen, seen_again)
    assert rows[seen].max() < 4
    assert 0 < seen.sum() < len(seen)
    assert not torch.equal(rows, choose_rows(config, 8)[0])
    assert not choose_rows(TOY, 7)[1].any()


@pytest.mark.parametrize("step", range(6))
def test_captions_of_a_step_are_true_in_both_languages(step):
    words, scenes = mini_words(), [choose_scene(SPEC, i)[0] for i in range(6)]
    read, answer = tell(scenes, words, TOY, step)
    assert read.shape == answer.shape
    length, told = LENGTHS[step % 3], set()
    for scene, first, row in zip(scenes, read[:, 0].tolist(), answer, strict=True):
        language = LANGUAGES[first == words.task("zh", length)]
        assert first == words.task(language, length)
        text = words.decode(row[row >= 0], language)
        facts = parse_caption(text, language, length)
        assert facts == parse_caption(caption(scene, language, length), language, length)
        told.add(language)
    assert told == set(LANGUAGES)
