"""The camp's workflow becomes one for our nodes, at the strength that the camp trained."""

import pytest
from pages import CAMP_LORA, CAMP_PROMPT, CORE, camp_page, good_api, good_page

from kolors_course.comfyui.camp import CAMP_SCHEMAS, TrainedAlpha, import_camp, is_camp_workflow
from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.graph import read_workflow
from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir
from kolors_course.prompting import WeightedText, read_weights
from kolors_course.ranges import SEEDS


def trained_at(alpha, in_file=False):
    return lambda path: TrainedAlpha(alpha, in_file)


def nodes_of(result):
    return {node["class_type"]: node["inputs"] for node in result.api.values()}


def test_the_whole_workflow_is_mapped():
    result = import_camp(camp_page(), CORE, alpha_of=trained_at(4.0))
    assert {key: node["class_type"] for key, node in result.api.items()} == {
        "6": "KolorsCourseLoadModel",
        "16": "KolorsCourseLoadLora",
        "12": "KolorsCoursePrompt",
        "14": "KolorsCourseSampler",
        "10": "KolorsCourseDecode",
        "3": "PreviewImage",
    }
    assert nodes_of(result) == {
        "KolorsCourseLoadModel": {"model_name": "kolors", "precision": "auto"},
        "KolorsCourseLoadLora": {
            "model": ["6", 0],
            "lora_name": "epoch=0-step=500.ckpt",
            "strength": 1.0,
            "alpha": 4.0,
        },
        "KolorsCoursePrompt": {"model": ["6", 0], "prompt": CAMP_PROMPT, "negative_prompt": ""},
        "KolorsCourseSampler": {
            "model": ["16", 0],
            "prompt": ["12", 0],
            "seed": 0,
            "steps": 25,
            "guidance_scale": 5,
            "sampler": "euler",
            "spacing": "leading",
            "width": 1024,
            "height": 1024,
            "batch_size": 1,
            "denoise": 1,
        },
        "KolorsCourseDecode": {"model": ["6", 0], "latent": ["14", 0]},
        "PreviewImage": {"images": ["10", 0]},
    }
    assert result.loras == {"epoch=0-step=500.ckpt": CAMP_LORA}


def test_the_file_that_comes_with_the_course_is_that_workflow():
    file = read_workflow(data_dir() / "workflows" / "kolors_with_lora_example.json")
    assert import_camp(file, CORE) == import_camp(camp_page(), CORE)


@pytest.mark.parametrize(("trained", "part"), [(4.0, "0.5 of the 4"), (16.0, "0.125 of the 16")])
@pytest.mark.parametrize("in_file", [False, True])
def test_a_part_of_the_trained_strength_is_mended_and_told(trained, part, in_file):
    result = import_camp(camp_page(), CORE, alpha_of=trained_at(trained, in_file))
    (note,) = result.notes
    assert note.startswith(f"node 16 'LoadKolorsLoRA': lora_alpha 2 is {part}")
    lora = nodes_of(result)["KolorsCourseLoadLora"]
    assert (lora["strength"], lora["alpha"]) == (1.0, 0.0 if in_file else trained)


@pytest.mark.parametrize("alpha", [2, 4, 1])
def test_an_alpha_of_training_is_never_assumed(alpha):
    """Our node then asks for it where the file does not say it."""
    result = import_camp(camp_page(alpha=alpha), CORE)
    lora = nodes_of(result)["KolorsCourseLoadLora"]
    assert (lora["strength"], lora["alpha"]) == (1.0, 0.0)
    (note,) = result.notes
    assert "is not known here" in note
    assert "--alpha" in note


@pytest.mark.parametrize(("alpha", "strength"), [(4, 1.0), (1, 0.25), (8, 2.0), (0, 0.0)])
def test_a_strength_that_somebody_chose_stays_what_it_was(alpha, strength):
    result = import_camp(camp_page(alpha=alpha), CORE, alpha_of=trained_at(4.0))
    assert nodes_of(result)["KolorsCourseLoadLora"]["strength"] == strength
    assert result.notes == []


def test_seven_values_are_those_of_the_first_version_without_denoise():
    result = import_camp(
        camp_page(lora=False, sampler=(768, 512, 7, "fixed", 30, 4.5, "UniPCMultistepScheduler")), CORE
    )
    sampler = nodes_of(result)["KolorsCourseSampler"]
    assert (sampler["width"], sampler["height"], sampler["seed"], sampler["steps"]) == (768, 512, 7, 30)
    assert (sampler["guidance_scale"], sampler["sampler"], sampler["denoise"]) == (4.5, "unipc", 1.0)
    assert sampler["model"] == ["6", 0]
    assert result.loras == {}


def test_an_exported_workflow_is_imported_as_well():
    ui = camp_page()
    exported = to_api(ui, {**CORE, **CAMP_SCHEMAS})
    assert is_camp_workflow(exported)
    assert import_camp(exported, CORE) == import_camp(ui, CORE)


@pytest.mark.parametrize(("mode", "strength"), [(0, 1.0), (4, None)])
def test_a_bypassed_lora_stays_away(mode, strength):
    workflow = camp_page()
    workflow["nodes"][-1]["mode"] = mode
    nodes = nodes_of(import_camp(workflow, CORE))
    assert nodes.get("KolorsCourseLoadLora", {}).get("strength") == strength
    assert nodes["KolorsCourseSampler"]["model"] == (["16", 0] if strength else ["6", 0])


def test_what_cannot_be_the_same_is_told():
    sampler = (1024, 1024, 1000102404233412, "randomize", 25, 5, "DEISMultistepScheduler", 1)
    result = import_camp(camp_page(lora=False, sampler=sampler, text=("a cat|a {red|blue} dog", "", 3)), CORE)
    nodes = nodes_of(result)
    assert nodes["KolorsCourseSampler"]["seed"] == 1000102404233412 % SEEDS
    assert nodes["KolorsCourseSampler"]["sampler"] == "dpm++2m"
    assert nodes["KolorsCourseSampler"]["batch_size"] == 3
    told = " ".join(result.notes)
    assert all(
        word in told
        for word in ("'|' in the prompt", "DEISMultistepScheduler has no equal", "seeds end below")
    )


def test_brackets_of_the_camps_prompts_stay_letters():
    text = ("a (cat:1.3), 一只（兔子）", "plain")
    result = import_camp(camp_page(lora=False, text=(*text, 1)), CORE)
    prompt = nodes_of(result)["KolorsCoursePrompt"]
    assert [read_weights(prompt[name]) for name in ("prompt", "negative_prompt")] == [
        WeightedText(letters, (1.0,) * len(letters)) for letters in text
    ]
    (note,) = (note for note in result.notes if "brackets" in note)
    assert "brackets in the prompt were letters there" in note


def test_kolors_mini_draws_at_its_own_size():
    sampler = nodes_of(import_camp(camp_page(), CORE, model_name="mini"))["KolorsCourseSampler"]
    assert (sampler["width"], sampler["height"]) == (0, 0)


def test_a_path_can_lead_nowhere_else():
    workflow = camp_page()
    for path in ("../../secret.ckpt", r"C:\loras\..\secret.ckpt"):
        workflow["nodes"][-1]["widgets_values"][0] = path
        assert nodes_of(import_camp(workflow, CORE))["KolorsCourseLoadLora"]["lora_name"] == "secret.ckpt"


@pytest.mark.parametrize(("path", "in_file"), [("mine/ink.safetensors", True), ("mine/other.ckpt", False)])
def test_another_lora_may_take_the_place_of_the_camps(path, in_file):
    workflow, alpha = camp_page(), 0.0 if in_file else 8.0
    result = import_camp(workflow, CORE, lora=path, alpha_of=trained_at(8.0, in_file))
    lora = nodes_of(result)["KolorsCourseLoadLora"]
    assert (lora["lora_name"], lora["alpha"]) == (path.removeprefix("mine/"), alpha)
    assert result.loras == {lora["lora_name"]: path}
    assert workflow == camp_page()


def test_other_workflows_are_not_the_camps():
    assert is_camp_workflow(camp_page())
    assert not is_camp_workflow(good_page())
    assert not is_camp_workflow(good_api())


def cut(*names):
    """Take the links into inputs of these names out of a page."""

    def spoil(workflow):
        for node in workflow["nodes"]:
            node["inputs"] = [slot for slot in node["inputs"] if slot["name"] not in names]

    return spoil


def set_values(index, *values):
    return lambda workflow: workflow["nodes"][index].update(widgets_values=list(values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut("kolors_embeds"), "node 12 'KolorsTextEncode': no KolorsSampler uses this prompt"),
        (cut("kolors_model"), "node 14 'KolorsSampler': no model is connected"),
        (set_values(-1, "", 2), "node 16 'LoadKolorsLoRA': lora_path is empty"),
        (set_values(-1, "a.ckpt", "much"), "node 16 'LoadKolorsLoRA': .*much"),
        (
            lambda workflow: workflow["nodes"].append({"id": 99, "type": "Gone"}),
            "does not know the type of node 99",
        ),
    ],
)
def test_broken_workflows_are_refused_in_one_line(spoil, message):
    workflow = camp_page()
    spoil(workflow)
    with pytest.raises(CourseError, match=message):
        import_camp(workflow, CORE)


def test_an_exported_node_without_a_value_is_named():
    exported = to_api(camp_page(), {**CORE, **CAMP_SCHEMAS})
    del exported["14"]["inputs"]["cfg"]
    with pytest.raises(CourseError, match="node 14 'KolorsSampler': .*'cfg'"):
        import_camp(exported, CORE)
