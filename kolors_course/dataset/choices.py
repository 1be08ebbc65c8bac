"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

from typing import Any

# Steps of data-juicer, by its own names and, but for the least size, with its defaults: bytes of a file, pictures of
# one perceptual hash, and LAION's predictor of how much people like a picture, which it downloads.
# It has no filter for blur (`image_blur_mapper` makes pictures blurred), so that one stays ours.
MORE_STEPS: dict[str, dict[str, Any]] = {
    "image_size_filter": {"min_size": "20kb", "max_size": "1TB", "any_or_all": "any"},
    "image_deduplicator": {"method": "phash", "consider_text": False},
    "image_aesthetics_filter": {
        "hf_scorer_model": "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
        "min_score": 0.5,
        "max_score": 1.0,
        "any_or_all": "any",
    },
}
