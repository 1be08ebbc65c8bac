"""The cells that axes make, and what cannot be a cell."""

from pathlib import Path

import pytest
from PIL import Image

from kolors_course.art import Scene, find_subject
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling
from kolors_course.sweep import Fixed, Wanted, parse_axis, plan_sweep

CAT = Scene((find_subject("cat"),), "city", "night")
PROMPT = Fixed((Wanted("a cat in the city at night", 7, CAT),), Sampling(steps=4, guidance_scale=1.0))


def plan(*texts, fixed=PROMPT, **options):
    return plan_sweep([parse_axis(text) for text in texts], fixed, **options)


def test_the_first_axis_changes_fastest_and_values_reach_the_sampling():
    sweep = plan("steps=2,3", "guidance=1,2", "sampler=euler,heun")
    assert [cell.values for cell in sweep.cells][:5] == [
        *((2, 1.0, "euler"), (3, 1.0, "euler"), (2, 2.0, "euler"), (3, 2.0, "euler"), (2, 1.0, "heun"))
    ]
    last = sweep.cells[-1]
    assert (last.sampling.steps, last.sampling.guidance_scale, last.sampling.sampler) == (3, 2.0, "heun")
    assert [cell.calls for cell in sweep.cells] == [2, 3, 4, 6, 3, 5, 6, 10]
    assert sweep.named(last) == "steps 3, guidance 2, sampler heun"


def test_seed_spacing_and_denoise():
    image = Image.new("RGB", (32, 32))
    fixed = Fixed(PROMPT.wanted, PROMPT.sampling, image=image)
    sweep = plan("seed=3,4", "spacing=leading,trailing", "denoise=0.5,1", fixed=fixed)
    assert [cell.wanted[0].seed for cell in sweep.cells[:2]] == [3, 4]
    assert {cell.sampling.spacing for cell in sweep.cells} == {"leading", "trailing"}
    assert [cell.calls for cell in sweep.cells] == [2] * 4 + [4] * 4


def test_words_take_the_place_of_the_first_and_the_scene_follows():
    sweep = plan("word=cat,owl,unicorn", "word=city,snow")
    prompts = {cell.values: cell.wanted[0].prompt for cell in sweep.cells}
    assert prompts["cat", "city"] == "a cat in the city at night"
    assert prompts["owl", "snow"] == "a owl in the snow at night"
    scenes = {cell.values: cell.wanted[0].scene for cell in sweep.cells}
    assert scenes["cat", "city"] == CAT
    assert scenes["owl", "snow"] == Scene((find_subject("owl"),), "snow", "night")
    assert scenes["unicorn", "snow"] is None


def test_a_sweep_of_weights_asks_for_the_same_scene_in_every_cell():
    sweep = plan("word=cat,(cat:2),(cat:0.5)")
    assert [cell.wanted[0].prompt for cell in sweep.cells][1:] == [
        "a (cat:2) in the city at night",
        "a (cat:0.5) in the city at night",
    ]
    assert [cell.wanted[0].scene for cell in sweep.cells] == [CAT] * 3


def test_words_are_whole_in_latin_and_anywhere_in_chinese_and_never_replaced_twice():
    caterpillar = Fixed((Wanted("a cat, Cat and caterpillar, 黑猫cat", 0, None),), Sampling())
    sweep = plan("word=cat,dog", fixed=caterpillar)
    assert sweep.cells[1].wanted[0].prompt == "a dog, Cat and caterpillar, 黑猫dog"
    swapped = plan("word=cat,city", "word=city,cat").cells[-1].wanted[0].prompt
    assert swapped == "a city in the cat at night"
    longer = Fixed((Wanted("一只猫和一只猫头鹰", 0, None),), Sampling())
    assert plan("word=猫,狗", "word=猫头鹰,鱼", fixed=longer).cells[-1].wanted[0].prompt == "一只狗和一只鱼"
    chinese = Fixed((Wanted("夜晚城市里的一只黑猫", 0, None),), Sampling())
    assert plan("word=猫,狗", fixed=chinese).cells[1].wanted[0].prompt == "夜晚城市里的一只黑狗"


def test_loras_and_their_strength():
    base = Fixed(PROMPT.wanted, PROMPT.sampling, loras=((Path("base.safetensors"), 0.5),))
    sweep = plan("lora=none,ink.safetensors:0.25", fixed=base)
    assert [cell.loras for cell in sweep.cells] == [
        ((Path("base.safetensors"), 0.5),),
        ((Path("base.safetensors"), 0.5), (Path("ink.safetensors"), 0.25)),
    ]
    assert [cell.loras[0][1] for cell in plan("strength=0,2", fixed=base).cells] == [0.0, 2.0]
    both = plan("lora=a.safetensors,b.safetensors", "strength=0.5,1", fixed=base)
    assert [(cell.loras[1][0].stem, cell.loras[1][1]) for cell in both.cells] == [
        *(("a", 0.5), ("b", 0.5), ("a", 1.0), ("b", 1.0))
    ]
    assert {cell.loras[0] for cell in both.cells} == set(base.loras)
    assert [path.stem for path in both.lora_files] == ["base", "a", "b"]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("steps=1,2", "steps=3"), "two axes change steps"),
        (("word=cat,dog", "word=cat,owl"), "two axes change word"),
        (("word=dog,cat",), "'dog' is not in the prompt"),
        (("denoise=0.5",), "give --image"),
        (("strength=1,2",), "give --lora once, not 0 times"),
        (("strength=1,2", "lora=none,a.safetensors"), "lora none has no strength"),
        (("strength=1,2", "lora=a.safetensors:0.5"), "its strength is said twice"),
        (("lora=a.safetensors:strong",), "lora a:strong: LoRA 'a.safetensors:strong': the strength"),
        (
            ("sampler=euler,lcm", "spacing=trailing"),
            'sampler lcm, spacing trailing: sampler "lcm" has timesteps',
        ),
        (
            tuple(f"{name}=1..64" for name in ("steps", "guidance", "seed")),
            "262,144 cells, and at most 10,000",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_model(texts, said):
    with pytest.raises(CourseError) as caught:
        plan(*texts)
    assert said in str(caught.value)


def test_too_little_denoise_names_its_cell():
    fixed = Fixed(PROMPT.wanted, PROMPT.sampling, image=Image.new("RGB", (32, 32)))
    with pytest.raises(CourseError, match=r"steps 2, denoise 0.3: denoise 0.3 of 2 steps"):
        plan("steps=8,2", "denoise=0.3", fixed=fixed)


def test_spacings_that_a_sampler_lacks_are_left_out_where_asked_for():
    sweep = plan("sampler=euler,lcm", "spacing=leading,trailing", skip_impossible=True)
    assert [cell.values for cell in sweep.cells] == [
        *(("euler", "leading"), ("lcm", "leading"), ("euler", "trailing"))
    ]
    with pytest.raises(CourseError, match="let spacing be leading"):
        plan("sampler=lcm", "spacing=trailing", skip_impossible=True)
