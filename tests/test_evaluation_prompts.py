"""The fixed test prompts."""

from kolors_course.art import LENGTHS, caption, find_subject, is_held_out, style_test_subjects
from kolors_course.evaluation import held_out_prompts

PINNED = [
    "flamingo and swan, desert, dusk",
    "火烈鸟和天鹅，沙漠，黄昏",
    "a pig and a snowman in a room at sunset",
    "黄昏房间里的一头猪和一个雪人",
    "a picture of a kangaroo on the left and a pineapple on the right, on a snowy field in the daytime",
    "一幅画：白天的雪地上，左边是一只袋鼠，右边是一个菠萝",
]


def test_every_scene_is_held_out_and_asked_twice():
    prompts = held_out_prompts(60)
    assert len(prompts) == 120
    for index, (english, chinese) in enumerate(zip(prompts[::2], prompts[1::2], strict=True)):
        assert (english.language, chinese.language) == ("en", "zh")
        assert english.scene is chinese.scene
        assert english.seed == chinese.seed == 10_000 + index
        assert is_held_out(english.scene)
        length = LENGTHS[index % 3]
        assert english.prompt == caption(english.scene, "en", length)
        assert chinese.prompt == caption(chinese.scene, "zh", length)
    assert len({prompt.scene for prompt in prompts}) == 60


def test_the_prompts_never_change():
    prompts = held_out_prompts(3)
    assert prompts == held_out_prompts(60)[:6]
    # Published scores were measured on exactly these.
    assert [p.prompt for p in prompts] == PINNED
    assert held_out_prompts(3, seed=1) != prompts


def test_a_pool_limits_the_subjects():
    pool = style_test_subjects()
    prompts = held_out_prompts(40, pool)
    assert {subject for p in prompts for subject in p.scene.subjects} <= set(pool)
    assert find_subject("cat") not in pool
