"""Hints: pictures that a ControlNet is shown, made from a picture or from a scene: edges, lines, boxes, depth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
