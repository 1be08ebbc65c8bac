"""`kolors-course bundle` and `publish`: what is handed in, that it is checked, and what leaves the machine."""

import importlib.machinery
import inspect
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from command_line import command, refused, tree
from PIL import Image

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.story.bundle import bundle_name, bundle_sampling, licence_kind, read_manifest

pytestmark = pytest.mark.usefixtures("tiny_profile")

NAME = "小队-可图Kolors训练-a00001"
LICENCE = "KOLORS MODEL LICENSE\n" + "terms " * 50


@pytest.fixture
def storyboard(tmp_path) -> Path:
    path = tmp_path / "story.yaml"
    panels = "".join(
        f"  - {{prompt: a rabbit in the snow at night, caption_en: 'Panel | {i}'}}\n" for i in range(8)
    )
    path.write_text(f"title_en: Eight rabbits\nnegative: a dog\npanels:\n{panels}", encoding="utf-8")
    return path


@pytest.fixture
def bundle(tmp_path, storyboard, lora_file) -> Path:
    assert main(make(tmp_path, storyboard, lora_file)) == 0
    return tmp_path / "bundle"


def make(tmp_path, storyboard, file, **changes) -> list[str]:
    licence = tmp_path / "MODEL_LICENSE"
    licence.write_text(LICENCE, encoding="utf-8")
    flags = {"lora": f"{file}:0.8", "team": "小队", "number": "a00001", "about": "small", "licence": licence}
    flags |= {"steps": 2, "guidance": 3, "output": tmp_path / "bundle"} | changes
    given = [part for name, value in flags.items() if value is not None for part in (f"--{name}", value)]
    return command("bundle", storyboard, *given)


def test_a_bundle_holds_what_rules_and_licence_ask_for(tmp_path, bundle, lora_file):
    pictures = {f"pictures/{i:02d}.png" for i in range(1, 9)}
    others = {"LICENSE", "NOTICE", "README.md", "manifest.json", "story.png", "pictures"}
    assert tree(bundle) == {f"{NAME}.safetensors"} | pictures | others
    assert (bundle / f"{NAME}.safetensors").read_bytes() == lora_file.read_bytes()
    assert (bundle / "LICENSE").read_text(encoding="utf-8") == LICENCE
    assert "CHANGES" in (bundle / "NOTICE").read_text(encoding="utf-8")
    assert "Kuaishou" in (bundle / "NOTICE").read_text(encoding="utf-8")
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: other\n")
    assert card.count("a rabbit in the snow at night") == 8
    assert "Panel \\| 3" in card
    said = Image.open(bundle / "pictures/03.png").text
    assert (said["prompt"], said["negative"], said["seed"]) == ("a rabbit in the snow at night", "a dog", "2")
    assert (said["steps"], said["lora"]) == ("2", f"{NAME}.safetensors:0.8")
    assert read_manifest(bundle).strength == 0.8


def test_a_bundle_is_drawn_again_and_compared(capsys, bundle):
    assert main(command("bundle", "--check", bundle)) == 0
    assert "8 pictures drawn again are the same" in capsys.readouterr().out
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["pictures"][3]["seed"] = 77
    manifest["strength"] = 0.8
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert main(command("bundle", "--check", bundle)) == 2
    said = capsys.readouterr()
    assert said.out.count("differs by") == 1
    assert "pictures/04.png differs by" in said.out
    assert "1 faults, listed above" in said.err


def test_what_was_changed_or_is_missing_is_named(capsys, bundle):
    pixels = np.zeros((32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(bundle / "pictures/01.png")
    (bundle / "LICENSE").unlink()
    (bundle / "secret.txt").write_text("mine", encoding="utf-8")
    assert main(command("bundle", "--check", bundle)) == 2
    said = capsys.readouterr().out
    assert "pictures/01.png has been changed" in said
    assert "LICENSE is missing" in said
    assert "secret.txt is not on the list" in said
    assert "nothing was uploaded" in refused(capsys, "publish", bundle, "--repo", "me/x", "--yes")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"team": "a/b"}, "is no name by the rule"),
        ({"number": "12345"}, "is no name by the rule"),
        ({"about": None}, "about missing"),
        ({"lora": None}, "one LoRA, not 0"),
        ({"lora": "none.safetensors"}, "none.safetensors"),
        ({"licence": "none.txt"}, "none.txt does not exist"),
        ({"aesthetic": "nan"}, "--aesthetic"),
    ],
)
def test_what_cannot_be_handed_in_is_refused_before_anything_is_written(
    capsys, tmp_path, storyboard, lora_file, changes, said
):
    assert said in refused(capsys, *make(tmp_path, storyboard, lora_file, **changes))
    assert not (tmp_path / "bundle").exists()


def test_few_pictures_and_full_folders_are_refused(capsys, tmp_path, storyboard, lora_file):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("x", encoding="utf-8")
    assert "is not empty" in refused(capsys, *make(tmp_path, storyboard, lora_file, output=full))
    text = storyboard.read_text(encoding="utf-8")
    storyboard.write_text("\n".join(text.splitlines()[:-1]), encoding="utf-8")
    assert "has 7 panels; at least 8" in refused(capsys, *make(tmp_path, storyboard, lora_file))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pictures": 3}, "is damaged at pictures"),
        ({"lora": "../lora.safetensors"}, "which is not inside the bundle"),
        ({"licence": "mine"}, "licence 'mine' is not one of"),
        ({"sampling": {"steps": 10**9}}, "size must be"),
    ],
)
def test_a_manifest_of_somebody_else_is_read_strictly(capsys, tmp_path, changes, said):
    picture = {"file": "pictures/01.png", "prompt": "x", "negative": "", "seed": 0}
    values = {"name": NAME, "about": "x", "model": "m", "licence": "apache", "lora": "a", "strength": 1.0}
    values |= {"sampling": {}, "pictures": [picture], "files": {}} | changes
    (tmp_path / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    if "sampling" in changes:
        with pytest.raises(CourseError, match=said):
            bundle_sampling(read_manifest(tmp_path))
    else:
        assert said in refused(capsys, "bundle", "--check", tmp_path)


def test_names_and_licences():
    assert bundle_name(" 小队 ", "a00001") == NAME
    assert licence_kind("   Apache License\n  Version 2.0, January 2004") == "apache"
    assert licence_kind(LICENCE) == "kolors"


class Hub:
    """modelscope_hub.HubApi 0.5.1, its signatures, and what was asked of it."""

    asked: list[tuple]

    def __init__(self, config=None, *, endpoint=None, token=None, user_agent=None):
        self.asked.append(("token", token))

    def repo_exists(self, repo_id, repo_type):
        return False

    def create_repo(
        self,
        repo_id,
        repo_type,
        *,
        visibility=None,
        license=None,
        chinese_name=None,
        description=None,
        gated_mode=None,
        **extra,
    ):
        self.asked.append(("create", repo_id, repo_type, visibility, license))

    def upload_folder(
        self,
        repo_id,
        repo_type,
        folder_path,
        *,
        path_in_repo="",
        commit_message=None,
        commit_description=None,
        revision=None,
        allow_patterns=None,
        ignore_patterns=None,
        max_workers=None,
        use_cache=None,
        disable_tqdm=False,
        sync_remote_repo=False,
        tracker_path=None,
        progress_callback=None,
    ):
        self.asked.append(("upload", repo_id, repo_type, Path(folder_path).name, use_cache))


@pytest.fixture
def hub(monkeypatch):
    package = types.ModuleType("modelscope_hub")
    package.__spec__ = importlib.machinery.ModuleSpec("modelscope_hub", None)
    package.HubApi = type("HubApi", (Hub,), {"asked": []})
    monkeypatch.setitem(sys.modules, "modelscope_hub", package)
    return package.HubApi


def test_publishing_first_shows_and_then_uploads(capsys, bundle, hub, monkeypatch):
    assert main(command("publish", bundle, "--repo", "me/ghost")) == 0
    said = capsys.readouterr().out
    assert hub.asked == []
    assert "14 files" in said
    assert f"{NAME}.safetensors" in said
    assert "licence other; private" in said
    assert "nothing was uploaded" in said
    assert main(command("publish", bundle, "--repo", "me/ghost", "--yes")) == 0
    made = ("create", "me/ghost", "model", "private", "other")
    assert hub.asked == [("token", None), made, ("upload", "me/ghost", "model", "bundle", False)]

    def refuse(*_, **__):
        raise RuntimeError("bad token ms-secret")

    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    monkeypatch.setattr(hub, "upload_folder", refuse)
    error = refused(capsys, "publish", bundle, "--repo", "me/ghost", "--yes")
    assert "ModelScope refused me/ghost: bad token ..." in error
    assert "ms-secret" not in error
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    assert "pip install modelscope-hub" in refused(capsys, "publish", bundle, "--repo", "me/x", "--yes")
    assert "write owner/name" in refused(capsys, "publish", bundle, "--repo", "ghost")


def test_the_fake_has_the_real_signatures():
    real = pytest.importorskip("modelscope_hub").HubApi
    for name in ("__init__", "repo_exists", "create_repo", "upload_folder"):
        ours, theirs = (list(inspect.signature(getattr(each, name)).parameters) for each in (Hub, real))
        assert ours == theirs, name
