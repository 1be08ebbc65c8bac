"""Uploading to ModelScope, through its light client `modelscope-hub`; nothing else here speaks to it."""

import importlib.util
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kolors_course.errors import CourseError, brief, on_one_line

VISIBILITIES = ("private", "public")
# Without it, ModelScope shows a model as being of no task.
CONFIGURATION = {"framework": "pytorch", "task": "text-to-image-synthesis"}
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,63}/[\w.-]{1,128}")
HIDDEN = [".*", "*/.*"]


def check_repo(repo: str) -> str:
    """`repo` if it is "owner/name".

    Raises:
        CourseError: it is not.
    """
    if not _REPO.fullmatch(repo):
        raise CourseError(
            f"'{brief(repo, 80)}' is no repository; write owner/name, your ModelScope name first"
        )
    return repo


def check_client() -> None:
    """Refuse, before any work, an upload without the client.

    Raises:
        CourseError: the package modelscope-hub is not installed.
    """
    if importlib.util.find_spec("modelscope_hub") is None:
        raise CourseError(
            "uploading to ModelScope needs the package modelscope-hub: pip install modelscope-hub"
        )


def upload_folder(
    folder: Path, repo: str, *, visibility: str = "private", licence: str = "Other", token: str | None = None
) -> bool:
    """Upload all but hidden files of `folder` to the model `repo`, which is made where there is none.

    Args:
        repo: "owner/name".
        visibility: of `VISIBILITIES`, for a repository that is made here; one that exists keeps its own.
        licence: as ModelScope names it, "Apache License 2.0" or "other".
        token: None for $MODELSCOPE_API_TOKEN, or that of `modelscope login`.

    Returns:
        Whether the repository was made.

    Raises:
        CourseError: the client is missing, or ModelScope refused; the token is in no message.
    """
    check_client()
    from modelscope_hub import HubApi

    try:
        api: Any = HubApi(token=token) if token else HubApi()
        made = not api.repo_exists(repo_id=repo, repo_type="model")
        if made:
            api.create_repo(repo_id=repo, repo_type="model", visibility=visibility, license=licence)
        api.upload_folder(
            repo_id=repo,
            repo_type="model",
            folder_path=folder,
            commit_message="kolors-course publish",
            ignore_patterns=HIDDEN,
            use_cache=False,
            disable_tqdm=True,
        )
    except Exception as error:  # the package raises many kinds, and requests' besides
        said = on_one_line(str(error))
        for secret in filter(None, (token, os.environ.get("MODELSCOPE_API_TOKEN"))):
            said = said.replace(secret, "...")
        raise CourseError(
            f"ModelScope refused {repo}: {brief(said, 300)}; look at the token, of $MODELSCOPE_API_TOKEN or a login"
        ) from error
    return made


def upload_lora(lora: Path, repo: str, token: str) -> None:
    """Upload one LoRA file by itself, as the camp's trainer does at its end.

    Raises:
        CourseError: ModelScope refused; the LoRA stays where it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(lora, folder)
        (Path(folder) / "configuration.json").write_text(json.dumps(CONFIGURATION), encoding="utf-8")
        try:
            upload_folder(Path(folder), repo, token=token)
        except CourseError as error:
            raise CourseError(f"{lora} is finished, but {error}") from error
