"""What may be written in a prompt besides words, read into plain data: no model is needed.

`read_weights` reads how much each word counts, `read_stages` what is read from which step on; `read_template` reads
many prompts written as one.
"""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
