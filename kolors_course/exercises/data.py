"""Exercises of notebook 07: a perceptual hash, the right bucket, five faults, and a rule for captions."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.fft import dctn

from kolors_course.art import LANGUAGES, STYLE_ZH, Scene, caption, draw_scene, render
from kolors_course.art.facts import read_facts
from kolors_course.dataset import assign_bucket
from kolors_course.exercises.answers import as_shown, called, text_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right

FAULTS = ("blurred", "copy", "damaged", "tiny", "wrong caption")
# Where a rule that takes the nearest width/height, or always the square, chooses another bucket.
BUCKETS = ((704, 1408), (832, 1216), (1024, 1024), (1216, 832), (1408, 704))
SIZES = ((1000, 1000), (1920, 1080), (1080, 1920), (3000, 2480), (620, 1000), (1500, 1200), (600, 1600))


def _hash(grey: np.ndarray) -> np.ndarray:
    """The library's hash, of a grey picture that is 32 x 32 already."""
    frequencies = dctn(grey)[:8, :8].round(6)
    return (frequencies > np.median(frequencies)).ravel()


def _grey_pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    pictures = [render(draw_scene(rng), 32).convert("L") for _ in range(4)]
    return [np.asarray(picture, dtype=float) for picture in pictures]


@exercise(
    lambda: _hash,
    "dctn(grey) has the lowest frequencies in its upper left corner; compare 8 x 8 of them with their median.",
    "dctn(grey) 的左上角是最低的频率；取其中 8 x 8 个，和它们的中位数比较。",
)
def check_perceptual_hash(function: Callable[[np.ndarray], np.ndarray]) -> Right:
    """Whether `function(grey)`, for grey (32, 32), gives the 64 bits of pHash.

    Raises:
        Mistake, Unanswered: it does not.
    """
    for grey in _grey_pictures():
        answer = np.asarray(called(function, (grey.copy(),), _hash))
        if answer.size != 64:
            raise Mistake(
                f"It gives {answer.size} values; a hash has 64 bits, of the 8 x 8 lowest frequencies.",
                f"它给出 {answer.size} 个值；哈希有 64 位，来自最低的 8 x 8 个频率。",
            )
        if not set(np.unique(answer).tolist()) <= {0, 1}:
            raise Mistake(
                "It gives numbers, not bits: compare each with the median, >.",
                "它给出的是数，不是位：请把每个和中位数比较，用 >。",
            )
        bits, right = answer.ravel().astype(bool), _hash(grey)
        low = dctn(grey)[:8, :8]
        if not np.array_equal(bits, right) and np.array_equal(bits, (low > low.mean()).ravel()):
            raise Mistake(
                "Compared with the mean: the first frequency, the brightness of the whole picture, is so large "
                "that almost all others are below. The median halves them.",
                "和平均值比较了：第一个频率是整幅图的亮度，太大，几乎所有别的都在它下面。中位数才把它们分成两半。",
            )
        if np.array_equal(bits, ~right):
            raise Mistake("All bits are the other way round.", "所有的位都反了。")
        if (wrong := int((bits != right).sum())) > 2:
            raise Mistake(
                f"{wrong} of 64 bits differ: is it the upper left corner of the transform, [:8, :8]?",
                f"64 位里有 {wrong} 位不同：取的是变换的左上角 [:8, :8] 吗？",
            )
    return Right(
        "Scaled, compressed or brightened, a picture keeps its low frequencies, and its hash.",
        "缩放、压缩或调亮之后，图片的低频不变，哈希也不变。",
    )


@exercise(
    lambda: assign_bucket,
    "to cover a bucket, the picture is scaled, and cut. cropped_share(size, bucket) says how much.",
    "图片缩放到盖住桶，多出来的被裁掉。cropped_share(size, bucket) 就是被裁掉的部分。",
)
def check_bucket(function: Callable) -> Right:
    """Whether `function(size, buckets)` chooses the bucket that cuts off least of each of `SIZES`.

    Raises:
        Mistake, Unanswered: it does not.
    """
    for size in SIZES:
        answer, right = called(function, (size, BUCKETS), assign_bucket), assign_bucket(size, BUCKETS)
        if not isinstance(answer, (tuple, list)) or tuple(answer) not in BUCKETS:
            raise Mistake(
                f"For {size} it gives {as_shown(answer)}, which is none of the buckets.",
                f"对 {size} 它给出 {as_shown(answer)}，不是其中一个桶。",
            )
        if tuple(answer) != right:
            nearest = min(BUCKETS, key=lambda bucket: abs(bucket[0] / bucket[1] - size[0] / size[1]))
            why, why_zh = "", ""
            if tuple(answer) == nearest:
                why = " A difference of width / height is no distance: 2 and 1 are as far as 1 and 0.5."
                why_zh = "宽高比之差不是距离：2 到 1 和 1 到 0.5 应当一样远。"
            raise Mistake(
                f"{size} goes to {right}, not {tuple(answer)}, which cuts off more.{why}",
                f"{size} 应当进 {right}，而不是 {tuple(answer)}，后者裁掉更多。{why_zh}",
            )
    return Right(
        "Little is lost of any picture, and a batch has one size.", "每张图都损失很少，一批图大小一致。"
    )


@exercise(
    lambda truth: dict(truth),
    "the sheet and the report name them all; the wrong caption only shows when you read it.",
    "缩略图和报告里都能看到；只有错误的描述要读了才知道。",
)
def check_faults(answer: object, truth: Mapping[str, str]) -> Right:
    """Whether `answer` says of each faulty picture which of `FAULTS` it has: file name -> fault.

    Raises:
        Mistake: it does not; the first that is wrong is named, not the answer.
    """
    if not isinstance(answer, Mapping):
        raise Mistake(
            f"The answer is {as_shown(answer)}; wanted is file name -> fault, {{'000.png': 'blurred', …}}.",
            f"答案是 {as_shown(answer)}；需要 文件名 -> 毛病，{{'000.png': 'blurred', …}}。",
        )
    for name, fault in answer.items():
        if fault not in FAULTS:
            raise Mistake(
                f"{as_shown(fault)} is none of {', '.join(FAULTS)}.",
                f"{as_shown(fault)} 不在 {'、'.join(FAULTS)} 之中。",
            )
        if name not in truth:
            raise Mistake(f"Nothing is wrong with {as_shown(name)}.", f"{as_shown(name)} 没有毛病。")
        if truth[name] != fault:
            raise Mistake(f"{name} has another fault.", f"{name} 是别的毛病。")
    if missing := [fault for name, fault in truth.items() if name not in answer]:
        raise Mistake(
            f"{len(missing)} of {len(truth)} to go; one of them: {missing[0]}.",
            f"{len(truth)} 个里还差 {len(missing)} 个；其中一个：{missing[0]}。",
        )
    return Right(
        "Four of them a program finds. The wrong caption takes someone, or a model, that looks and reads.",
        "其中四个程序就能发现。错误的描述需要一个既看图又读字的人或模型。",
    )


def _detailed(scene: Scene, language: str) -> str:
    return caption(scene, language, "detailed")


@exercise(
    lambda: _detailed,
    "caption(scene, language, 'detailed') says all; scene.subjects, scene.place and scene.time are the parts.",
    "caption(scene, language, 'detailed') 全都说了；scene.subjects、scene.place、scene.time 是各个部分。",
)
def check_caption_rule(rule: Callable[[Scene, str], str]) -> Right:
    """Whether `rule(scene, language)` says all that varies, in words that the model knows, and leaves out the style.

    Raises:
        Mistake, Unanswered: it does not; the first scene that shows it is named.
    """
    rng = np.random.default_rng(1)
    written = []
    for i in range(24):
        scene, language = draw_scene(rng), LANGUAGES[i % 2]
        text = text_of(called(rule, (scene, language), _detailed))
        _refuse_style(text)
        _refuse_missing(text, scene)
        is_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
        if is_chinese != (language == "zh"):
            raise Mistake(f"'{text}' is not in '{language}'.", f"“{text}”不是 '{language}' 的。")
        written.append(text)
    return Right(
        f"{len(set(written))} captions of {len(written)} scenes, such as: {written[0]}",
        f"{len(written)} 个场景，{len(set(written))} 条描述，例如：{written[1]}",
    )


def _refuse_style(text: str) -> None:
    for english, chinese in STYLE_ZH.items():
        if english != "colour" and (english in text or chinese in text or english.replace("-", " ") in text):
            raise Mistake(
                f"'{text}' names the style. What is named stays bound to its name; without it all pictures share it.",
                f"“{text}”写出了风格。写出来的会绑定在那个词上；不写，它就成为所有图片的共同点。",
            )


def _refuse_missing(text: str, scene: Scene) -> None:
    """Every fact that a learner's rule must say, as a reader of prompts finds it."""
    told = read_facts(text)
    wanted: Sequence[tuple[str, set[str]]] = (
        ("subject", {subject.en for subject in scene.subjects}),
        ("place", {scene.place}),
        ("time", {scene.time} - {"timeless"}),
    )
    for kind, values in wanted:
        if missing := values - told[kind]:
            fact = sorted(missing)[0]
            raise Mistake(
                f"'{text}' does not say the {kind} '{fact}', which then counts as a part of the style.",
                f"“{text}”没有说出 {kind}“{fact}”，它就会被当成风格的一部分。",
            )
