"""Stories in eight pictures: a storyboard is read, its panels drawn, and everything set on one page.

`read_storyboard` is strict and stops with one clear line; `draw_story` asks the model for the panels;
`story_page` sets them with captions in two languages; `write_story` keeps the result.
"""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
