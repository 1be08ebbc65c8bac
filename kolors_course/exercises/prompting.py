"""Exercises of notebook 06: the bias of a weight, templates that count, the step of a switch, all facts at once."""

from collections.abc import Callable, Sequence
from math import ceil, inf, log

from kolors_course.art import Scene, caption
from kolors_course.art.unknown import unknown_words
from kolors_course.errors import CourseError
from kolors_course.evaluation import Verdict, agreement
from kolors_course.exercises.answers import called, number_of, text_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.prompting import read_template


def bias_of_weight(weight: float) -> float:
    """What is added to the attention scores of a word that counts `weight` times: its logarithm."""
    return log(weight) if weight else -inf


@exercise(
    lambda: bias_of_weight,
    "exp(s + b) has to be weight·exp(s); and what hides a word, weight 0, altogether?",
    "要让 exp(s + b) 等于 weight·exp(s)；而 weight 为 0、完全隐藏一个词时呢？",
)
def check_bias(bias: Callable[[float], float]) -> Right:
    """Whether `bias(weight)` makes a word count `weight` times.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    values = {weight: number_of(called(bias, (weight,), bias_of_weight)) for weight in (2.0, 1.0, 0.5)}
    if values[1.0] == 1:
        raise Mistake(
            "At weight 1 nothing may change, so 0 is added: a bias is added to scores, not multiplied with shares.",
            "权重为 1 时什么都不该变，所以加的是 0：偏置是加到分数上的，不是乘到占比上的。",
        )
    for weight, value in values.items():
        if abs(value - log(weight)) > 1e-5:
            raise Mistake(
                f"At weight {weight:g} it gives {value:.4g}. Solve exp(s + b) = {weight:g}·exp(s) for b.",
                f"权重为 {weight:g} 时它给出 {value:.4g}。请从 exp(s + b) = {weight:g}·exp(s) 解出 b。",
            )
    hidden = number_of(called(bias, (0.0,), bias_of_weight))
    if hidden != -inf:
        raise Mistake(
            f"At weight 0 it gives {hidden:g}; only exp(-∞) is 0: float('-inf').",
            f"权重为 0 时它给出 {hidden:g}；只有 exp(-∞) 才是 0：float('-inf')。",
        )
    return Right(
        "By hand: two words with equal scores share ½ and ½; with log 3 on one, 3/(3+1) = ¾.",
        "手算：两个词分数相等时各占 ½；给其中一个加上 log 3，就占 3/(3+1) = ¾。",
    )


def counting_template(count: int) -> str:
    """A template of `count` prompts."""
    return "a cat {" + "|".join(f"in place {i}" for i in range(1, count + 1)) + "}"


@exercise(
    counting_template,
    "choices in a row multiply, options within one add up: {a|b|c} {d|e} makes 3·2.",
    "并列的选择相乘，一个选择里的选项相加：{a|b|c} {d|e} 是 3·2 个。",
)
def check_template(template: object, count: int) -> Right:
    """Whether a template makes exactly `count` prompts, all different.

    Raises:
        Mistake, Unanswered: it does not; the message says how many.
    """
    try:
        read = read_template(text_of(template))
    except CourseError as error:
        raise Mistake(f"It cannot be read: {error}.", f"读不懂这个模板：{error}。") from error
    if read.count != count:
        raise Mistake(
            f"It makes {read.count:,} prompts, not {count:,}.",
            f"它产生 {read.count:,} 个提示词，不是 {count:,} 个。",
        )
    prompts = {read.at(place) for place in range(count)}
    if len(prompts) < count:
        raise Mistake(
            f"Of its {count:,} prompts only {len(prompts):,} are different: an option stands there twice.",
            f"{count:,} 个提示词里只有 {len(prompts):,} 个不同：有一个选项写了两遍。",
        )
    return Right(f"The first is “{read.at(0)}”.", f"第一个是“{read.at(0)}”。")


def step_of(share: float, steps: int) -> int:
    """The first step, counted from 0, that reads what is switched on at a share of the steps."""
    return ceil(share * steps - 1e-9)


@exercise(
    step_of,
    "step i of N, counted from 0, reads what stands there at i/N.",
    "从 0 数起，N 步中的第 i 步读的是 i/N 处的内容。",
)
def check_step(answer: object, share: float, steps: int) -> Right:
    """Whether `answer` is the first step that reads what is switched on at `share` of `steps` steps.

    Raises:
        Mistake, Unanswered: it is not.
    """
    step, right = number_of(answer), step_of(share, steps)
    if step != right:
        places = (
            f"step {int(step)} stands at {step / steps:.3g}"
            if step == int(step)
            else "a step is a whole number"
        )
        raise Mistake(
            f"Not {step:g}: {places}; looked for is the first at {share:g} or behind it.",
            f"不是 {step:g}：要找的是位于 {share:g} 或其后的第一步（第 i 步位于 i/{steps}）。",
        )
    return Right(f"{right}/{steps} = {right / steps:.3g}.", f"{right}/{steps} = {right / steps:.3g}。")


@exercise(
    lambda scene, look_at: caption(scene, "en", "detailed"),
    "who, where and when in words of `kolors-course words`, and on which side.",
    "谁、在哪儿、什么时候，用 `kolors-course words` 里的词，再说明在哪一边。",
)
def check_all_facts(prompt: object, scene: Scene, look_at: Callable[[str], Sequence[Verdict]]) -> Right:
    """Whether most pictures of a prompt show every fact of a scene.

    Args:
        look_at: draws a prompt from some seeds and says what is seen.

    Raises:
        Mistake, Unanswered: they do not; the message names unknown words, or the fact that is missed most.
    """
    text = text_of(prompt)
    if unknown := unknown_words(text):
        raise Mistake(
            f"Kolors-mini does not know: {', '.join(unknown[:5])}. Such words only disturb.",
            f"Kolors-mini 不认识：{'、'.join(unknown[:5])}。这样的词只会添乱。",
        )
    try:
        seen = [agreement(scene, verdict) for verdict in look_at(text)]
    except CourseError as error:
        raise Mistake(f"It cannot be drawn: {error}.", f"画不出来：{error}。") from error
    right = sum(all(facts.values()) for facts in seen)
    if 2 * right <= len(seen):
        worst = min(seen[0], key=lambda fact: sum(facts[fact] for facts in seen))
        raise Mistake(
            f"{right} of {len(seen)} pictures show everything; missed most often is the {worst}.",
            f"{len(seen)} 张图里有 {right} 张全对；最常出错的是 {worst}。",
        )
    return Right(
        f"{right} of {len(seen)} pictures show everything.", f"{len(seen)} 张图里有 {right} 张全对。"
    )
