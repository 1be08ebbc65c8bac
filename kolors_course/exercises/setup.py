"""Exercises of notebook 00: say what a picture shows, and predict the sizes inside the model."""

from collections.abc import Iterable

from torch import Tensor

from kolors_course.art import TIMELESS, Scene, caption, find_subject
from kolors_course.art.facts import fact_words, read_facts, unread_words
from kolors_course.errors import brief
from kolors_course.exercises.answers import as_shown, number_of, text_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import MAX_SEQUENCE_LENGTH, token_ids

# What a scene's fact is when no prompt mentions it.
UNSAID = {"size": "normal", "position": "middle"}
MOST_UNREAD = 5  # words that one message shows
FACT_ZH = {
    "subject": "主体",
    "place": "地点",
    "time": "时间",
    "size": "大小",
    "position": "位置",
}


def puzzle_scene() -> Scene:
    """The scene of the first exercise. It stands here because a cell that made it would tell the answer."""
    return Scene((find_subject("owl"),), place="mountain", time="dusk", size="big", position="right", seed=4)


@exercise(
    lambda scene: caption(scene, "en"),
    "one sentence between quotes: who, where, when, how big, on which side.",
    "用引号写一句话：谁、在哪里、什么时候、多大、在哪一边。",
)
def check_prompt(prompt: object, scene: Scene) -> Right:
    """Compare the facts that a prompt states with those of a scene.

    Raises:
        Mistake: a fact is missing, wrong, or not in the picture; the first one found is named.
    """
    prompt = text_of(prompt)
    if not prompt.strip():
        raise Mistake(
            "The prompt is empty: say who, where and when.", "提示词是空的：请写出谁、在哪里、什么时候。"
        )
    said, unread = (
        read_facts(prompt),
        ", ".join(brief(word, 24) for word in unread_words(prompt)[:MOST_UNREAD]),
    )
    for kind, truth in _facts(scene).items():
        _compare(kind, said[kind], truth, unread)
    if unread:
        raise Mistake(
            f"{unread}: I know no such thing in this picture. If it names something more, leave it out; if not, say "
            "it more plainly.",
            f"{unread}：我不知道画面里有这个。如果说的是另外的东西，请删掉；如果不是，请换个更简单的说法。",
        )
    return Right(
        f"The prompt says all that the picture shows. The world itself would say: {caption(scene, 'en')}.",
        f"画面里的内容都写到了。这个世界自己会写：{caption(scene, 'zh')}。",
    )


def _facts(scene: Scene) -> dict[str, set[str]]:
    facts = {"subject": {subject.en for subject in scene.subjects}, "place": {scene.place}}
    facts["time"] = set() if scene.time == TIMELESS else {scene.time}
    if len(scene.subjects) == 1:
        facts |= {"size": {scene.size}, "position": {scene.position}}
    return facts


def _compare(kind: str, said: set[str], truth: set[str], unread: str) -> None:
    """Raise a Mistake unless the prompt says of this kind of fact what is true, and nothing else."""
    unsaid = UNSAID.get(kind)
    wrong, missing = sorted(said - truth), sorted(truth - said - {unsaid})
    if wrong and missing:
        raise Mistake(
            f"{kind}: the prompt says {', '.join(wrong)}, the picture shows {', '.join(missing)}.",
            f"{FACT_ZH[kind]}：提示词写的是{_chinese(kind, wrong)}，画面里是{_chinese(kind, missing)}。",
        )
    if missing:
        more, more_zh = (f" (nor do I know: {unread})", f"（另外我不认识：{unread}）") if unread else ("", "")
        raise Mistake(
            f"{kind}: the picture shows {', '.join(missing)}, and I found no {kind} word that I know{more}.",
            f"{FACT_ZH[kind]}：画面里是{_chinese(kind, missing)}，我没找到表示{FACT_ZH[kind]}的词{more_zh}。",
        )
    if wrong:
        raise Mistake(
            f"{kind}: the prompt says {', '.join(wrong)}, which the picture does not show. Leave it out: the "
            "model draws what it reads.",
            f"{FACT_ZH[kind]}：提示词写了画面里没有的{_chinese(kind, wrong)}。请删掉：模型读到什么就画什么。",
        )


def _chinese(kind: str, values: Iterable[str]) -> str:
    if kind == "subject":
        return "、".join(find_subject(value).zh for value in values)
    return "、".join(
        next(word for word in fact_words()[kind][value] if not word.isascii()) for value in values
    )


def latents_shape(model: KolorsModel, width: int, height: int) -> tuple[int, int, int, int]:
    """The shape of the latents of one picture of `width` x `height` pixels."""
    factor = model.vae_scale_factor
    return 1, model.unet.config.in_channels, height // factor, width // factor


@exercise(
    latents_shape,
    "four numbers in brackets: batch, channels, height, width.",
    "括号里四个数：批量、通道、高、宽。",
)
def check_latents_shape(answer: object, model: KolorsModel, width: int, height: int) -> Right:
    """Whether `answer` is the shape of the latents of one picture of `width` x `height` pixels.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    right, factor = latents_shape(model, width, height), model.vae_scale_factor
    sides = _whole_numbers(answer)
    if sides == right:
        share = width * height * 3 // (right[1] * right[2] * right[3])
        return Right(
            f"{right[1]} channels, each side divided by {factor}: {share} times fewer numbers than the pixels.",
            f"{right[1]} 个通道，每条边除以 {factor}：数字的个数是像素数值的 1/{share}。",
        )
    raise Mistake(*_latents_mistake(sides, right, (height, width), factor))


def _whole_numbers(answer: object) -> tuple[float, ...]:
    if isinstance(answer, Tensor):
        raise Mistake("That is a tensor; wanted is its shape.", "这是张量；需要的是它的形状。")
    if not isinstance(answer, (tuple, list)):
        raise Mistake(
            f"The answer is {as_shown(answer)}; wanted are numbers in brackets, (batch, channels, height, width).",
            f"答案是 {as_shown(answer)}；需要写在括号里的几个数：(批量, 通道, 高, 宽)。",
        )
    return tuple(map(number_of, answer))


def _latents_mistake(
    answer: tuple[float, ...], right: tuple[int, ...], pixels: tuple[int, int], factor: int
) -> tuple[str, str]:
    if answer == right[1:]:
        return (
            "Torch counts pictures too: the shape starts with the batch, here 1.",
            "张量的第一维是批量大小（batch），这里是 1。",
        )
    if len(answer) != 4:
        return (
            f"{answer} has {len(answer)} numbers; four are wanted: batch, channels, height, width.",
            f"{answer} 有 {len(answer)} 个数；应该是四个：批量、通道、高、宽。",
        )
    if answer[1] == 3:
        return (
            "3 channels is red, green, blue: pixels. The VAE has its own channels; see unet.config.in_channels.",
            "3 个通道是红绿蓝，那是像素。VAE 有自己的通道数，看 unet.config.in_channels。",
        )
    if answer[2:] == right[:1:-1]:
        return (
            "Width and height are swapped: torch writes height first, people write width x height.",
            "宽和高写反了：torch 先写高，而人们习惯写 宽×高。",
        )
    if answer[2:] == pixels:
        return (
            "Those are the picture's own sides; the VAE divides them by model.vae_scale_factor.",
            "这还是图片本身的边长；VAE 会把它除以 model.vae_scale_factor。",
        )
    if answer[2:] == tuple(2 * side // factor for side in pixels):
        times = factor.bit_length() - 1
        return (
            f"You halved once too few: this VAE halves each side {times} times, a factor of {factor}.",
            f"少减半了一次：这个 VAE 把每条边减半 {times} 次，也就是除以 {factor}。",
        )
    return (
        f"{answer} is not it: divide height and width by model.vae_scale_factor, keep the VAE's channels.",
        f"{answer} 不对：高和宽各除以 model.vae_scale_factor，通道数用 VAE 的。",
    )


@exercise(
    lambda model, prompt: len(token_ids(model.tokenizer, prompt)),
    "count the pieces above, and think of what ChatGLM puts before every text.",
    "数一数上面的片段，再想想 ChatGLM 在每段文本前面加了什么。",
)
def check_token_count(answer: object, model: KolorsModel, prompt: str) -> Right:
    """Whether `answer` is the number of tokens that ChatGLM reads for `prompt`, prefix included, padding not.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    answer, right = number_of(answer), len(token_ids(model.tokenizer, prompt))
    if answer == right:
        return Right(
            f"{right} tokens: [gMASK], sop and {right - 2} pieces. Padding fills up to {MAX_SEQUENCE_LENGTH}.",
            f"{right} 个词元：[gMASK]、sop 和 {right - 2} 个片段；再补齐到 {MAX_SEQUENCE_LENGTH}。",
        )
    if answer == right - 2:
        raise Mistake(
            "You counted the pieces of the prompt; ChatGLM puts two tokens before them, [gMASK] and sop.",
            "你只数了提示词的片段；ChatGLM 还会在前面加两个词元 [gMASK] 和 sop。",
        )
    if answer == MAX_SEQUENCE_LENGTH:
        raise Mistake(
            f"{MAX_SEQUENCE_LENGTH} is the length after padding; how many of those are real?",
            f"{MAX_SEQUENCE_LENGTH} 是补齐以后的长度；其中真正的词元有几个？",
        )
    if answer in (len(prompt), len(prompt) + 2):
        raise Mistake(
            "Characters are not tokens: SentencePiece has learnt pieces of several characters, such as whole words.",
            "字符不等于词元：SentencePiece 学到的片段常常包含好几个字符，甚至整个词。",
        )
    raise Mistake(
        f"{answer:g} is not it: list the pieces with model.tokenizer.tokenize(prompt), then think of the prefix.",
        f"{answer:g} 不对：先用 model.tokenizer.tokenize(prompt) 列出片段，再想想前缀。",
    )
