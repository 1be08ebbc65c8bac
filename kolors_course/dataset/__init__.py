"""Folders of pictures and captions, read into checked samples.

`read_dataset` is strict and stops with one clear line; `check_dataset` applies the same rules and reports
everything; `fix_dataset` mends what it safely can into a new folder; `propose_buckets` and `assign_bucket` find
training sizes that cut off little; `prepare_image` turns one picture into what the VAE and the U-Net need;
`write_dataset` writes the camp's layout.
"""

import lazy_loader

# What the package exports is named in __init__.pyi and imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
