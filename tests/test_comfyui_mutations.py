"""A thousand damaged workflows: each is read, converted and checked, or refused in one line."""

import json
import random
from copy import deepcopy

import pytest
from pages import CORE, SCHEMAS, good_api, good_page, subgraph_page

from kolors_course.comfyui.camp import import_camp, is_camp_workflow
from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.graph import format_of, read_workflow
from kolors_course.comfyui.schema import read_schemas
from kolors_course.comfyui.server import NODES
from kolors_course.comfyui.validate import find_problems, require_valid
from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir

COUNT = 1200
JUNK = [
    None, True, -1, 0, 4, 10**40, 1.5, float("nan"), float("inf"), "", "1", "-10", "x" * 5000, "\ud800", "\n\x00",
    [], [1], ["1", 0], [[]], {}, {"a": 1}, {"__value__": [1]},
]  # fmt: skip


def workflows():
    folder = NODES / "example_workflows"
    files = [data_dir() / "workflows" / "kolors_with_lora_example.json", *sorted(folder.rglob("*.json"))]
    return [json.loads(path.read_text("utf-8")) for path in files] + [
        good_page(),
        good_api(),
        subgraph_page(),
    ]


def places(value, way=()):
    """Every place in a JSON value, as the keys that lead to it."""
    yield way
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*way, key))


def mutate(workflow, luck):
    """Drop a part, put junk or another part in its place, double or nest it."""
    *way, key = luck.choice([way for way in places(workflow) if way])
    parent = workflow
    for step in way:
        parent = parent[step]
    kind = luck.randrange(6)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        parent[key] = deepcopy(luck.choice(JUNK))
    elif kind == 2:
        parent[key] = deepcopy(workflow)
    elif kind == 3:
        parent[key] = [parent[key]]
    elif kind == 4 and isinstance(parent, list):
        parent.insert(luck.randrange(len(parent) + 1), deepcopy(parent[key]))
    else:
        for _ in range(luck.choice([5, 200])):
            parent[key] = {"nodes": parent[key]}


def use(path, schemas):
    """All that the command line does with a workflow before it sends it."""
    workflow = read_workflow(path)
    if is_camp_workflow(workflow):
        api = import_camp(workflow, schemas, "mini").api
    else:
        api = to_api(workflow, schemas) if format_of(workflow) == "ui" else workflow
    list(map(str, find_problems(api, schemas)))
    require_valid(api, schemas)
    return json.dumps(api)


def outcome(path, schemas):
    """The refusal, None where the workflow is used; anything else than a CourseError stays an error."""
    try:
        use(path, schemas)
    except CourseError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def schemas():
    info = json.loads((data_dir() / "workflows" / "object_info.json").read_text("utf-8"))
    return {**read_schemas(info), **SCHEMAS, **CORE}


@pytest.mark.parametrize("part", range(4))
def test_a_damaged_workflow_is_used_or_refused(tmp_path, schemas, part):
    good, path, refusals = workflows(), tmp_path / "workflow.json", {}
    for seed in range(part, COUNT, 4):
        luck = random.Random(seed)
        workflow = deepcopy(luck.choice(good))
        for _ in range(luck.choice([1, 1, 2, 5])):
            mutate(workflow, luck)
        text = json.dumps(workflow, ensure_ascii=luck.random() < 0.9).encode("utf-8", "surrogatepass")
        path.write_bytes(text[: luck.randrange(len(text))] if luck.random() < 0.1 else text)
        refusals[seed] = outcome(path, schemas)
    lines = {seed: refusal for seed, refusal in refusals.items() if refusal}
    assert COUNT / 10 < len(lines) < len(refusals), "the damage is too mild or too bad"
    assert not [seed for seed, line in lines.items() if len(line.splitlines()) > 1 or len(line) > 6000]


def test_undamaged_ones_are_used(tmp_path, schemas):
    for number, workflow in enumerate(workflows()):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(workflow), encoding="utf-8")
        assert outcome(path, schemas) is None or "none of its" in outcome(path, schemas)
