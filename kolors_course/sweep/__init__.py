"""Sweeps: what a model draws over a grid of settings, measured and kept, and the cheapest settings that do.

`parse_axis` reads an axis, `plan_sweep` makes the cells, `draw_cells` draws what is not kept yet, `sweep_table` and
`sweep_report` say what came out, and `recommend` chooses.
"""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
