"""Pushing a finished LoRA to ModelScope, as the camp's trainer does."""

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path

from kolors_course.errors import CourseError

CONFIGURATION = {
    "framework": "pytorch",
    "task": "text-to-image-synthesis",
}  # ModelScope refuses models without


def check_push(model_id: str | None, access_token: str | None) -> None:
    """Refuse, before any work is done, a push that could not be made after it.

    Raises:
        CourseError: only one of both is given, or the package modelscope is not installed.
    """
    if bool(model_id) != bool(access_token):
        raise CourseError("give both of --modelscope_model_id and --modelscope_access_token, or neither")
    if model_id and importlib.util.find_spec("modelscope") is None:
        raise CourseError("pushing to ModelScope needs the package modelscope: pip install modelscope")


def push(lora: Path, model_id: str, access_token: str) -> None:
    """Push the file to the model `model_id` ("owner/name") on ModelScope.

    Raises:
        CourseError: ModelScope refused; the LoRA stays where it is.
    """
    from modelscope.hub.api import HubApi

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(lora, folder)
        (Path(folder) / "configuration.json").write_text(json.dumps(CONFIGURATION), encoding="utf-8")
        try:
            api = HubApi()
            api.login(access_token)
            api.push_model(model_id=model_id, model_dir=folder)
        except Exception as error:  # the package raises many kinds; the training is done in any case
            raise CourseError(
                f"{lora} is finished, but ModelScope refused it as {model_id}: {error}"
            ) from error
