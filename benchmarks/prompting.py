"""Which advice about prompts holds on Kolors-mini: every arm of every experiment drawn, and judged by the probe.

    python benchmarks/prompting.py                                     # about a quarter of an hour on one core
    python benchmarks/prompting.py --scenes 2 -o /tmp/prompting.json   # only to see it run

The arms of an experiment show the same held-out scenes from the same noise, in English and in Chinese, and differ in
one thing. Written after each arm are how many pictures were right, fact by fact; `all` is all facts of a scene at
once. Run again, it goes on where it was stopped; an arm whose prompts changed is drawn anew. Notebook 06 shows the
result, with Wilson intervals.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image

from kolors_course.art import BASE_MODEL_STYLES, BASE_STYLE, Scene, caption, draw_scene
from kolors_course.art.captions import PLACE_EN, PLACE_ZH, TIME_EN, TIME_ZH, in_style, with_article
from kolors_course.evaluation import Probe, agreement, load_probe, look, spread
from kolors_course.evaluation.suite import judge, suite_prompts
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, PromptEmbeds, current_profile, load_profile
from kolors_course.kolors.latents import decode_latents
from kolors_course.kolors.prompts import encode_texts, join, split_weights
from kolors_course.kolors.sampling import draw_latents
from kolors_course.kolors.stages import StagedPrompts, encode_stages
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.prompting import read_weights

SEED = 6
QUALITY = {"en": "masterpiece, best quality, 8k", "zh": "杰作，最高质量，超高清"}
MODIFIERS = {"en": "beautiful, delicate, exquisite", "zh": "美丽，精致，细腻"}
CAMPS_NEGATIVE = {
    "en": "ugly, deformed, noisy, blurred, low contrast",
    "zh": "丑陋、变形、嘈杂、模糊、低对比度",
}
COMMA = {"en": ", ", "zh": "，"}
LANGUAGES = ("en", "zh")
WEIGHTS = (0, 0.5, 1, 3)
STARTS = (0.0, 0.125, 0.25, 0.5, 1.0)  # shares of the steps


@dataclass(frozen=True)
class Ask:
    """One picture, and what it should show.

    Attributes:
        unwanted: the English name of a subject that is looked for besides.
        weigh: how the weights in the prompt are put in, one of `WEIGHINGS`.
        without: the prompt without the weighed words.
        guidance, steps: None for the model's own.
    """

    scene: Scene
    prompt: str
    seed: int
    negative: str = ""
    style: str = BASE_STYLE
    unwanted: str = ""
    weigh: str = "bias"
    without: str = ""
    guidance: float | None = None
    steps: int | None = None


Arms = dict[str, list[Ask]]


def _scenes(count: int, pairs: bool = False) -> list[Scene]:
    """Held-out scenes with one subject in the middle, or with two; fewer are the first of more."""
    rng = np.random.default_rng([SEED, pairs])
    found: list[Scene] = []
    while len(found) < count:
        scene = draw_scene(rng, held_out=True)
        if (len(scene.subjects) == 2) == pairs and scene.place != "space":
            found.append(replace(scene, size="normal", position="middle"))
    return found


def _asks(scenes: Sequence[Scene], write: Callable[[Scene], str], **more: Any) -> list[Ask]:
    return [Ask(scene, write(scene), 6000 + i, **more) for i, scene in enumerate(scenes)]


def _with_synonyms(scene: Scene, language: str) -> str:
    """A sentence with the second word for everything."""
    (subject,) = scene.subjects
    if language == "en":
        return f"{with_article(subject.en_synonym or subject.en)} {PLACE_EN[scene.place][1]} {TIME_EN[scene.time][1]}"
    name = subject.zh_synonym or subject.zh
    return f"{TIME_ZH[scene.time][1]}{PLACE_ZH[scene.place][1]}的一{subject.classifier}{name}"


def _turned_round(scene: Scene, language: str) -> str:
    """The words of a sentence, subject last in English and first in Chinese, as captions never have them."""
    (subject,) = scene.subjects
    if language == "en":
        return f"{TIME_EN[scene.time][0]} {PLACE_EN[scene.place][0]}, {with_article(subject.en)}"
    return f"一{subject.classifier}{subject.zh}，{PLACE_ZH[scene.place][0]}，{TIME_ZH[scene.time][0]}"


def wording(count: int, language: str) -> Arms:
    """Length, synonyms, order of words, and words that say nothing about the scene."""
    scenes, comma = _scenes(count), COMMA[language]

    def sentence(scene: Scene) -> str:
        return caption(scene, language)

    return {
        **{
            length: _asks(scenes, partial(caption, language=language, length=length))
            for length in ("label", "sentence")
        },
        "detailed": _asks(scenes, lambda s: caption(s, language, "detailed")),
        "synonyms": _asks(scenes, lambda s: _with_synonyms(s, language)),
        "turned round": _asks(scenes, lambda s: _turned_round(s, language)),
        "quality last": _asks(scenes, lambda s: sentence(s) + comma + QUALITY[language]),
        "quality first": _asks(scenes, lambda s: QUALITY[language] + comma + sentence(s)),
        "modifiers last": _asks(scenes, lambda s: sentence(s) + comma + MODIFIERS[language]),
    }


def style_place(count: int, language: str) -> Arms:
    """The style's word first or last; the styles take turns."""
    styles = [style for style in BASE_MODEL_STYLES if style != BASE_STYLE]
    arms: Arms = {}
    for name, first in (("style first", True), ("style last", False)):
        asks = _asks(_scenes(count), lambda s: caption(s, language))
        named = [(ask, styles[i % len(styles)]) for i, ask in enumerate(asks)]
        arms[name] = [
            replace(a, prompt=in_style(a.prompt, language, style, first), style=style) for a, style in named
        ]
    return arms


def negation(count: int, language: str) -> Arms:
    """Keeping a second subject away: not named, "no ..." in the prompt, or in the negative prompt."""
    asks = []
    for ask, pair in zip(
        _asks(_scenes(count), lambda s: caption(s, language)), _scenes(count, True), strict=True
    ):
        other = next(s for s in pair.subjects if s not in ask.scene.subjects)
        asks.append((replace(ask, unwanted=other.en), other))
    no = {"en": ", no {0.en}", "zh": "，没有{0.zh}"}[language]
    name = {"en": "a {0.en}", "zh": "{0.zh}"}[language]
    return {
        "not named": [ask for ask, _ in asks],
        "no ... in the prompt": [replace(a, prompt=a.prompt + no.format(o)) for a, o in asks],
        "in the negative": [replace(a, negative=name.format(o)) for a, o in asks],
    }


def guidance_negative(count: int, language: str) -> Arms:
    """Guidance, by what the negative prompt says: nothing, the camp's words, or a place that is not wanted."""
    scenes = _scenes(count)
    arms: Arms = {}
    for guidance in (1.0, 2.0, 4.0, 7.0):
        asks = _asks(scenes, lambda s: caption(s, language), guidance=guidance)
        arms[f"{guidance:g}, nothing"] = asks
        if guidance > 1:  # at 1 a negative has no part in the picture
            arms[f"{guidance:g}, the camp's"] = [replace(a, negative=CAMPS_NEGATIVE[language]) for a in asks]
            arms[f"{guidance:g}, the prompt's own place"] = [
                replace(a, negative={"en": PLACE_EN, "zh": PLACE_ZH}[language][a.scene.place][0])
                for a in asks
            ]
    return arms


def late_negative(count: int, language: str) -> Arms:
    """Two subjects in the prompt, the second also in the negative from a share of the steps on; 1 is never."""
    arms: Arms = {}
    scenes = _scenes(count, True)
    for start in STARTS:
        asks = []
        for ask in _asks(scenes, lambda s: caption(s, language), guidance=3.0, steps=16):
            second = ask.scene.subjects[1]
            name = with_article(second.en) if language == "en" else second.zh
            negative = name if start == 0 else f"[:{name}:{start}]"
            asks.append(replace(ask, negative="" if start == 1 else negative, unwanted=second.en))
        arms[f"{start:g}"] = asks
    return arms


def weights(count: int, language: str) -> Arms:
    """The second of two subjects weighed: on the attention, on its rows, on rows and summary, or left out."""
    arms: Arms = {}
    scenes = _scenes(count, True)
    for weigh in WEIGHINGS:
        for weight in WEIGHTS if weigh != "left out" else (0,):
            if weight == 1 and weigh != "bias":
                continue  # the same picture
            asks = []
            for ask in _asks(scenes, lambda s: caption(s, language), weigh=weigh):
                second = ask.scene.subjects[1]
                name = second.en if language == "en" else second.zh
                before, after = ask.prompt.rsplit(name, 1)
                weighed = f"{before}({name}:{weight}){after}"
                alone = caption(replace(ask.scene, subjects=ask.scene.subjects[:1]), language)
                asks.append(replace(ask, prompt=weighed, unwanted=second.en, without=alone))
            arms[f"{weigh} {weight:g}"] = asks
    return arms


def variety(count: int, language: str) -> Arms:
    """One prompt from many seeds; its spread is what is compared."""
    (scene,) = _scenes(1)
    arms: Arms = {}
    for length in ("label", "sentence", "detailed"):
        arms[length] = [Ask(scene, caption(scene, language, length), 6500 + i) for i in range(count)]
    for guidance in (1.0, 4.0, 7.0):
        arms[f"guidance {guidance:g}"] = [replace(ask, guidance=guidance) for ask in arms["sentence"]]
    return arms


EXPERIMENTS: dict[str, Callable[[int, str], Arms]] = {
    "wording": wording,
    "style place": style_place,
    "negation": negation,
    "weights": weights,
    "late negative": late_negative,
    "guidance and negative": guidance_negative,
    "variety": variety,
}


def _bias(model: KolorsModel, ask: Ask) -> PromptEmbeds:
    """The library's way: log w on the attention to the word's rows."""
    return encode_stages(model.tokenizer, model.text_encoder, [ask.prompt]).at(0)


def _rows(model: KolorsModel, ask: Ask) -> PromptEmbeds:
    """ComfyUI's way: the word's rows r become pad + w·(r - pad)."""
    (text,), (row_weights,) = split_weights(model.tokenizer, [ask.prompt])
    plain = encode_texts(model.tokenizer, model.text_encoder, [text])
    rows = plain.prompt_embeds
    pad = rows[:, int(plain.text_bias[0].argmax())].unsqueeze(1)  # the row that stands for most
    factor = torch.ones(rows.shape[1])
    factor[-len(row_weights) :] = torch.tensor(row_weights)
    return replace(plain, prompt_embeds=pad + factor[None, :, None].to(rows) * (rows - pad))


def _rows_and_summary(model: KolorsModel, ask: Ask) -> PromptEmbeds:
    """The rows as `_rows`, and the pooled vector p becomes q + w·(p - q), where q is that without the word."""
    weight = next((w for w in read_weights(ask.prompt).weights if w != 1), 1.0)
    rows = _rows(model, ask)
    p, q = rows.pooled_prompt_embeds, _left_out(model, ask).pooled_prompt_embeds
    return replace(rows, pooled_prompt_embeds=q + weight * (p - q))


def _left_out(model: KolorsModel, ask: Ask) -> PromptEmbeds:
    """The prompt encoded without the weighed words."""
    return encode_texts(model.tokenizer, model.text_encoder, [ask.without])


WEIGHINGS: dict[str, Callable[[KolorsModel, Ask], PromptEmbeds]] = {
    "bias": _bias,
    "rows": _rows,
    "rows and summary": _rows_and_summary,
    "left out": _left_out,
}


@torch.no_grad()
def draw(model: KolorsModel, asks: Sequence[Ask], batch: int = 10) -> list[Image.Image]:
    """One picture for each; guidance and steps are the same for all."""
    first = asks[0]
    sampling = model.sampling
    sampling = replace(sampling, guidance_scale=first.guidance or sampling.guidance_scale)
    sampling = replace(sampling, steps=first.steps or sampling.steps)
    pictures: list[Image.Image] = []
    for start in range(0, len(asks), batch):
        some = asks[start : start + batch]
        prompts: StagedPrompts | PromptEmbeds
        if first.weigh == "bias":
            prompts = encode_stages(model.tokenizer, model.text_encoder, [a.prompt for a in some])
        else:
            prompts = join([WEIGHINGS[first.weigh](model, a) for a in some])
        negatives = encode_stages(model.tokenizer, model.text_encoder, [a.negative for a in some])
        latents = draw_latents(model, prompts, negatives, [a.seed for a in some], sampling)
        pictures += decode_latents(model, latents)
    return pictures


def judged(probe: Probe, asks: Sequence[Ask], pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """How many pictures are right, fact by fact; the first subject alone is `first`, an unwanted one `unwanted`."""
    right: Counter[str] = Counter()
    for ask, verdict in zip(asks, look(probe, pictures), strict=True):
        facts = agreement(ask.scene, verdict) | {"style": verdict.style == ask.style}
        facts["all"] = all(facts.values())
        facts["first"] = ask.scene.subjects[0].en in verdict.subjects
        if ask.unwanted:
            facts["unwanted"] = ask.unwanted in verdict.subjects
        right.update({fact: int(is_so) for fact, is_so in facts.items()})
    known = {"count": len(asks), "right": dict(right)}
    return known | ({"spread": spread(pictures)} if len(pictures) > 1 else {})


def _distance(pictures: Sequence[Image.Image], others: Sequence[Image.Image]) -> float:
    """Mean distance of pictures pair by pair, 0 to 1; see `spread`."""
    return fmean(spread(pair) for pair in zip(pictures, others, strict=True))


def suite_arms(model: KolorsModel, probe: Probe, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Two subjects and who is the big one, as the prompt benchmark asks it."""
    for task in ("two_object", "position", "attribution"):
        asked = [p for p in suite_prompts(count) if p.task == task]
        pictures = draw(model, [Ask(p.scene, p.prompt, p.seed) for p in asked])
        answers = judge(probe, asked, pictures)
        right = Counter({"task": sum(a.right for a in answers)})
        for answer in answers:
            right.update({fact: int(is_so) for fact, is_so in answer.facts.items()})
        yield task, {"count": len(answers), "right": dict(right), "example": asked[0].prompt}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=50, help="of each arm and language")
    parser.add_argument("--only", nargs="+", choices=(*EXPERIMENTS, "two subjects"), help="these experiments")
    parser.add_argument("-o", "--output", type=Path, default=data_dir() / "lessons" / "06" / "prompting.json")
    options = parser.parse_args()
    limit_threads()
    model = load_profile(current_profile())
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    known_before = json.loads(options.output.read_text()) if options.output.is_file() else {}
    result: dict[str, Any] = {key: known_before.get(key, {}) for key in ("commands", "experiments")}
    result["seed"] = SEED
    result["sampling"] = {key: getattr(model.sampling, key) for key in ("steps", "guidance_scale", "sampler")}
    result["made_by"] = provenance(model.device)

    def note(experiment: str, arm: str, language: str, row: dict[str, Any]) -> None:
        # Of each by itself: a second run may draw other experiments with another number of scenes.
        command = f"python benchmarks/prompting.py --only '{experiment}' --scenes {options.scenes}"
        result["commands"][experiment] = command
        result["experiments"].setdefault(experiment, {}).setdefault(arm, {})[language] = row
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(options.output) as temporary:
            temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{experiment} | {arm} | {language} | {row['count']} | {row['right']}", flush=True)

    for name, arms_of in EXPERIMENTS.items():
        if options.only and name not in options.only:
            continue
        for language in LANGUAGES:
            arms = arms_of(options.scenes, language)
            for gone in result["experiments"].get(name, {}).keys() - arms.keys():
                del result["experiments"][name][gone]
            reference: list[Image.Image] | None = None
            # What never has a negative is drawn first: the others are compared with it.
            for arm in reversed(list(arms)):
                drawn_from = _fingerprint(arms[arm])
                known = result["experiments"].get(name, {}).get(arm, {}).get(language)
                is_reference = name == "late negative" and reference is None
                if known and known["of"] == drawn_from and not is_reference:
                    note(name, arm, language, known)
                    continue
                pictures = draw(model, arms[arm])
                row = judged(probe, arms[arm], pictures) | {"of": drawn_from, "example": arms[arm][0].prompt}
                if name == "late negative":
                    reference = reference or pictures
                    row["distance"] = _distance(pictures, reference)
                note(name, arm, language, row)
    if "two subjects" in (options.only or ["two subjects"]) and "two subjects" not in result["experiments"]:
        for task, row in suite_arms(model, probe, options.scenes):
            note("two subjects", task, "both", row)


def _fingerprint(asks: Sequence[Ask]) -> str:
    return hashlib.sha256(repr([astuple(ask) for ask in asks]).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
