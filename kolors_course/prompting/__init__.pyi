from .weights import WeightedText, check_prompts, looks_weighted, read_weights, without_weights

__all__ = ["WeightedText", "check_prompts", "looks_weighted", "read_weights", "without_weights"]
