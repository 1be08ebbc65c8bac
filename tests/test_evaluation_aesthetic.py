"""The aesthetic predictor: five layers are one, its file is read strictly, the embedding is that of CLIP."""

from itertools import pairwise

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.evaluation import clip_embeddings, load_aesthetic, multiply_out
from kolors_course.evaluation.aesthetic import WIDTHS


def published_layers() -> nn.Sequential:
    """As in the predictor's code: linear layers and dropout, no activation."""
    torch.manual_seed(0)
    one, two, three, four, five = (nn.Linear(a, b) for a, b in pairwise(WIDTHS))
    dropouts = (nn.Dropout(0.2), nn.Dropout(0.2), nn.Dropout(0.1))
    return nn.Sequential(one, dropouts[0], two, dropouts[1], three, dropouts[2], four, five).eval()


@pytest.fixture
def embeddings():
    return torch.randn(6, WIDTHS[0], generator=torch.Generator().manual_seed(1)) * 3


def expected(layers: nn.Module, embeddings: torch.Tensor) -> list[float]:
    with torch.no_grad():
        return layers.double()(nn.functional.normalize(embeddings.double(), dim=1))[:, 0].tolist()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_product_is_the_layers(tmp_path, embeddings, suffix):
    layers = published_layers()
    tensors = {f"layers.{name}": tensor for name, tensor in layers.state_dict().items()}
    path = tmp_path / f"predictor{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    head = load_aesthetic(path)
    assert head.weight.shape == (WIDTHS[0],)
    assert head.scores(embeddings) == pytest.approx(expected(layers, embeddings), abs=1e-9)


def test_version_one_is_a_single_layer(tmp_path, embeddings):
    layer = nn.Linear(WIDTHS[0], 1)
    torch.save(layer.state_dict(), tmp_path / "v1.pth")
    assert load_aesthetic(tmp_path / "v1.pth").scores(embeddings) == pytest.approx(
        expected(layer, embeddings), abs=1e-9
    )


def test_an_activation_would_be_seen(embeddings):
    layers = published_layers()
    bent = nn.Sequential(layers[0], nn.ReLU(), *layers[1:])
    pairs = [(layer.weight, layer.bias) for layer in layers if isinstance(layer, nn.Linear)]
    assert multiply_out(pairs).scores(embeddings) != pytest.approx(expected(bent, embeddings), abs=1e-3)


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 inputs follows 2 outputs"):
        multiply_out([(torch.ones(2, 4), torch.ones(2)), (torch.ones(1, 3), torch.ones(1))])
    with pytest.raises(ValueError, match="2 outputs, not 1"):
        multiply_out([(torch.ones(2, 4), torch.ones(2))])


def faulty_files() -> dict[str, object]:
    good = {f"layers.{name}": tensor for name, tensor in published_layers().state_dict().items()}
    return {
        "more": good | {"layers.9.weight": torch.ones(1, 1), "layers.9.bias": torch.ones(1)},
        "other": good | {"vision_model.weight": torch.ones(2, 2)},
        "half": {name: tensor for name, tensor in good.items() if name != "layers.2.bias"},
        "infinite": good | {"layers.7.bias": torch.tensor([torch.inf])},
        "bias": good | {"layers.7.bias": torch.ones(2)},
        "wide": {"weight": torch.ones(1, 512), "bias": torch.ones(1)},
        "whole": {"weight": torch.ones(1, 768, dtype=torch.int64), "bias": torch.ones(1)},
        "nothing": {},
        "list": [torch.ones(1)],
        "number": {"weight": 3},
    }


@pytest.mark.parametrize("name", list(faulty_files()))
def test_other_files_are_refused_in_one_line(tmp_path, name):
    torch.save(faulty_files()[name], tmp_path / "x.pth")
    with pytest.raises(CourseError, match=r"x\.pth") as caught:
        load_aesthetic(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_and_missing_files_are_refused(tmp_path, suffix):
    for content in (b"", b"text", bytes(range(256)) * 4):
        (tmp_path / f"x{suffix}").write_bytes(content)
        with pytest.raises(CourseError, match="cannot read the aesthetic predictor"):
            load_aesthetic(tmp_path / f"x{suffix}")
    with pytest.raises(CourseError, match="cannot read the aesthetic predictor"):
        load_aesthetic(tmp_path / f"none{suffix}")


def test_a_pickle_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"weight": Bomb()}, tmp_path / "x.pth")
    with pytest.raises(CourseError, match="cannot read"):
        load_aesthetic(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_embeddings_of_a_tiny_clip(tmp_path):
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPVisionConfig(**sizes, image_size=32, patch_size=16, projection_dim=24)
    clip = CLIPVisionModelWithProjection(config).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    clip.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    pictures = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "white")]
    found = clip_embeddings(tmp_path, pictures, batch_size=2)
    assert found.shape == (3, 24)
    with torch.no_grad():
        alone = clip(**processor(images=pictures[2], return_tensors="pt")).image_embeds
    torch.testing.assert_close(found[2:], alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(CourseError, match="holds no CLIP model"):
        clip_embeddings(tmp_path / "none", pictures)
