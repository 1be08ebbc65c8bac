"""The report page: what it says, that it stands alone, and that nothing from elsewhere becomes part of it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from kolors_course.art import Scene, find_subject, render
from kolors_course.evaluation import HeldOutPrompt, Verdict, held_out_prompts, load_probe, wilson
from kolors_course.platform.paths import data_dir
from kolors_course.report import (
    AtStrength,
    Distances,
    Findings,
    ModelReport,
    at_strength,
    compare_facts,
    find_memory,
    independent_rows,
    measure_distances,
    plain_report,
    report_page,
    world_pictures,
)
from kolors_course.report.charts import strength_chart
from kolors_course.report.findings import facts_of

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def probe():
    return load_probe(data_dir() / "probes" / "probe.safetensors")


def drawn(prompts, name="ink", style="colour", wrong=()) -> Findings:
    """Findings of the world's own pictures, but for the rows in `wrong`, which show a cactus by night in the snow."""
    cactus = Scene((find_subject("cactus"),), "snow", "night")
    pictures = tuple(render(cactus if i in wrong else p.scene, 128) for i, p in enumerate(prompts))
    verdicts, facts = facts_of(
        load_probe(data_dir() / "probes" / "probe.safetensors"), prompts, pictures, style
    )
    fidelity = tuple(0.9 - 0.01 * i for i in range(len(prompts)))
    return Findings(name, tuple(prompts), pictures, verdicts, facts, fidelity, 0.95)


@pytest.fixture(scope="module")
def whole(probe) -> ModelReport:
    prompts = held_out_prompts(12)
    main, other = drawn(prompts, wrong={3, 7}), drawn(prompts, "pixel × 0.5")
    rows = independent_rows(prompts)
    world = world_pictures(len(rows), "colour", 64)
    distances = [measure_distances(probe, [each.pictures[i] for i in rows], world) for each in (main, other)]
    memory = find_memory(probe, main.pictures, world, [main.pictures[0], *world_pictures(20, "ink", 64)])
    strengths = tuple(
        at_strength(value, probe, prompts[:4], main.pictures[:4], "colour") for value in (0.0, 0.5, 1.0)
    )
    made_by = {"command": "kolors-course evaluate --report x", "commit": "abc"}
    duel = compare_facts(main, other)
    return ModelReport("colour", main, distances[0], memory, strengths, made_by, other, distances[1], duel)


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all that must be closed is closed in order."""

    VOID = ("meta", "img", "br", "line", "circle", "polyline", "link")

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def test_the_page_needs_nothing_from_elsewhere(whole):
    page = report_page(whole)
    tags = Tags(page)
    assert "script" not in tags.names()
    links = [
        value for _, attributes in tags.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert len(links) > 20
    assert all(re.fullmatch(r"data:image/webp;base64,[A-Za-z0-9+/=]+", link) for link in links)
    assert not re.search(r"url\(|@import|https?://", page)
    assert 'lang="zh"' in page


def test_it_says_what_was_found(whole):
    page = report_page(whole)
    share = whole.main.share("all facts")
    assert share == wilson(22, 24)
    assert f"{share.value:.1%}" in page
    assert f"{share.low:.1%} – {share.high:.1%}" in page
    assert "KID" in page
    assert "kolors-course evaluate --report x" in page
    assert "2 of 24 pictures have a wrong fact" in page
    assert "→ cactus" in page
    assert page.count("0 · 2") >= 1  # all facts: the second alone is right twice
    assert "0.500" in page  # McNemar's p of it


def test_a_copy_of_a_training_picture_is_the_nearest(whole):
    assert whole.memory.features.made.distance[0] == pytest.approx(0, abs=1e-6)
    assert set(whole.memory.pixels.suspects[:2]) == {0, 1}  # the same picture in two languages
    assert "d₁/d₂ 0.00" in report_page(whole)


def test_a_bare_report_has_no_empty_sections(whole):
    bare = ModelReport("colour", whole.main, whole.distances, None, (), whole.made_by)
    page = report_page(bare)
    Tags(page)
    assert "--training DIR" in page
    for section in ("Strength of the LoRA", "Where the two differ", "McNemar"):
        assert section not in page
        assert section in report_page(whole)
    right = ModelReport("colour", whole.against, whole.distances, None, (), whole.made_by)
    assert "No picture has a wrong fact" in report_page(right)


def test_names_and_prompts_cannot_become_part_of_the_page(whole):
    prompts = tuple(replace(p, prompt=ATTACK) for p in whole.main.prompts)
    main = replace(whole.main, name=ATTACK, prompts=prompts)
    other = replace(whole.against, name=ATTACK, prompts=prompts)
    made_by = {ATTACK: ATTACK, "commit": "\udcff"[:0] + ATTACK}
    page = report_page(replace(whole, main=main, against=other, style=ATTACK, made_by=made_by))
    tags = Tags(page)
    assert tags.names() == Tags(report_page(whole)).names()
    assert not any("onerror" in attributes for _, attributes in tags.tags)
    assert page.count("&lt;script&gt;") > 20
    assert "<script" not in page


def test_large_pictures_are_made_small(whole):
    large = replace(whole.main, pictures=tuple(p.resize((1024, 1024)) for p in whole.main.pictures))
    assert len(report_page(replace(whole, main=large))) < 600_000


def test_failures_are_those_with_most_mistakes_first(whole):
    found = whole.main
    assert set(found.failures()) == {3, 7}
    counts = [len(found.mistakes(i)) for i in found.failures()]
    assert counts == sorted(counts, reverse=True)
    assert ("subject", " + ".join(s.en for s in found.prompts[3].scene.subjects)) in [
        mistake[:2] for mistake in found.mistakes(3)
    ]


def test_of_equal_failures_the_worst_shape_is_first():
    scene = Scene((find_subject("cat"),), "snow", "night")
    prompts = tuple(HeldOutPrompt(scene, "en", "a cat", i) for i in range(3))
    dog = Verdict(("dog",), ("dog", "owl"), "snow", "night", "normal", "middle", 1, "colour")
    facts = ({"subject": False, "style": True, "all facts": False},) * 3
    picture = Image.new("RGB", (8, 8))
    found = Findings("x", prompts, (picture,) * 3, (dog,) * 3, facts, (0.5, 0.2, 0.7), 0.9)
    assert found.failures() == [1, 0, 2]
    assert found.mistakes(0) == [("subject", "cat", "dog")]
    assert found.share("time") is None
    assert found.share("subject", "zh") is None


def test_languages_take_turns_and_no_scene_comes_twice():
    prompts = held_out_prompts(6)
    rows = independent_rows(prompts)
    assert [prompts[i].language for i in rows] == ["en", "zh"] * 3
    assert len({prompts[i].seed for i in rows}) == 6


def test_the_world_against_itself_is_no_further_than_chance(probe):
    one = world_pictures(60, "colour", 64)
    assert [p.tobytes() for p in world_pictures(3, "colour", 64)] == [p.tobytes() for p in one[:3]]
    prompts = held_out_prompts(60)
    same = measure_distances(probe, [render(p.scene, 64) for p in prompts[::2]], one)
    other = measure_distances(probe, [render(p.scene, 64, "pixel") for p in prompts[::2]], one)
    assert isinstance(same, Distances)
    assert same.chance[0] < same.kid < same.chance[1] < other.kid
    assert same.manifold.coverage > 0.85 > other.manifold.coverage
    assert same.fid < other.fid
    assert same.fid_infinity < same.fid


def test_the_chart_is_to_scale():
    def at(strength: float, right: int) -> AtStrength:
        share = wilson(right, 10)
        return AtStrength(strength, share, share, share, Image.new("RGB", (8, 8)))

    assert strength_chart([at(1.0, 5)]) == ""
    chart = strength_chart([at(0.0, 0), at(0.5, 5), at(2.0, 10)])
    points = [
        [float(v) for v in pair.split(",")] for pair in re.search(r'points="([^"]+)"', chart)[1].split()
    ]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.001)
    assert (y0 - y1) / (y0 - y2) == pytest.approx(0.5, abs=0.001)
    assert chart.count("<polyline") == 3


def test_as_plain_data(whole):
    facts = plain_report(whole)
    assert [side["name"] for side in facts["sides"]] == ["ink", "pixel × 0.5"]
    assert facts["sides"][0]["facts"]["all facts"]["both"]["value"] == 22 / 24
    assert len(facts["sides"][0]["pictures"]) == 24
    assert facts["mcnemar"]["all facts"] == {"only_first": 0, "only_second": 2, "p": 0.5}
    assert facts["nearest"]["pixels"]["distance"][0] == pytest.approx(0, abs=1e-6)
    assert [each["strength"] for each in facts["strengths"]] == [0.0, 0.5, 1.0]
    assert plain_report(replace(whole, memory=None))["nearest"] is None
    assert torch.tensor(facts["nearest"]["features"]["ratio"]).shape == (24,)
