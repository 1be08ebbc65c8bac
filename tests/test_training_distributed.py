"""Several processes, and accelerate's own reading of the configurations we ship."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import DistributedType
from diffusers.models.attention import BasicTransformerBlock
from safetensors.torch import load_file
from tiny import QUICK, assert_same_gradients

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.training import distributed
from kolors_course.training.choices import STRATEGIES
from kolors_course.training.distributed import check_strategy, make_accelerator

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs" / "accelerate").glob("*.yaml"))


def arguments(pictures, model, output, batch_size) -> list[str]:
    flags = f"--steps_per_epoch 4 --precision 32 --checkpoint_every 2 --batch_size {batch_size} --device cpu"
    flags += " --max_grad_norm 1e9"
    paths = ("--dataset_path", pictures, "--model", model, "--output_path", output)
    return [*map(str, paths), *flags.split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def losses(folder: Path) -> list[float]:
    return [
        json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_two_processes_learn_what_one_does(tiny_folder, tiny_pictures, tmp_path):
    """`accelerate launch` with 2 processes of 2 pictures against 1 process of 4."""
    config = next(path for path in CONFIGS if path.name == "cpu-2-processes.yaml")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    launch += ["--main_process_port", str(free_port()), "-m", "kolors_course.train_kolors_lora"]
    two = arguments(tiny_pictures, tiny_folder, tmp_path / "two", 2)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *two], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1  # one process speaks for all
    assert main(["train-lora", *arguments(tiny_pictures, tiny_folder, tmp_path / "one", 4)]) == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert_same_gradients(tmp_path / "two", tmp_path / "one")
    one, other = (load_file(tmp_path / name / "lora.safetensors") for name in ("one", "two"))
    # Adam divides by the size of a gradient, so where one is all but zero its rounding shows.
    for name, tensor in one.items():
        assert (tensor - other[name]).norm() < 0.01 * tensor.norm() + 1e-4


def test_every_configuration_is_valid():
    assert len(CONFIGS) >= 7
    kinds = {}
    for path in CONFIGS:
        config = load_config_from_file(str(path))
        assert isinstance(config, ClusterConfig)
        kinds.setdefault(DistributedType(config.distributed_type), set()).add(config.num_machines)
        assert config.num_processes >= 2 * config.num_machines
        assert config.num_machines == 1 or (config.main_process_ip and config.main_process_port)
        wrapped = config.fsdp_config.get("fsdp_transformer_layer_cls_to_wrap", BasicTransformerBlock.__name__)
        assert wrapped == BasicTransformerBlock.__name__
    assert {DistributedType.MULTI_GPU, DistributedType.FSDP, DistributedType.DEEPSPEED} <= kinds.keys()
    assert all(machines == {1, 2} for machines in kinds.values())


def test_every_configuration_passes_the_launchers_own_checks():
    """What `accelerate launch` does with a configuration before it starts anything."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    for path in CONFIGS:
        parsed = launch_command_parser().parse_args(["--config_file", str(path), "script.py"])
        checked, defaults, _ = _validate_launch_command(parsed)
        assert checked.num_processes == defaults.num_processes
        assert checked.use_fsdp == (defaults.distributed_type == DistributedType.FSDP)
        assert checked.use_deepspeed == (defaults.distributed_type == DistributedType.DEEPSPEED)


def test_strategies_are_the_camps():
    assert STRATEGIES == ("auto", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3")
    check_strategy("auto")
    with pytest.raises(CourseError, match="is not one of"):
        check_strategy("ddp")


def test_deepspeed_stages_become_plugins(monkeypatch):
    seen = []
    monkeypatch.setattr(distributed, "DeepSpeedPlugin", lambda **options: seen.append(options))
    monkeypatch.setattr(distributed, "check_strategy", lambda strategy: None)
    for strategy in STRATEGIES:
        distributed._deepspeed_plugin(QUICK, strategy)
    assert [options["zero_stage"] for options in seen] == [1, 2, 3]
    assert {options["gradient_clipping"] for options in seen} == {QUICK.max_grad_norm}
    assert all(options["zero3_save_16bit_model"] for options in seen)


def test_the_launcher_must_accumulate_as_the_recipe_does(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    with pytest.raises(CourseError, match="says 1 gradient accumulation steps, this training run 4"):
        make_accelerator(replace(QUICK, gradient_accumulation=4), torch.device("cpu"))


def test_processes_wait_for_the_one_that_encodes(monkeypatch):
    seen = []

    def state(**options):
        seen.append(options)
        return SimpleNamespace(is_main_process=True)

    monkeypatch.setattr(distributed, "PartialState", state)
    assert distributed.is_main_process()
    assert seen == [{"cpu": False, "timeout": distributed.PATIENCE}]
