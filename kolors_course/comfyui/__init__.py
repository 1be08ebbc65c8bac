"""Kolors in ComfyUI: the nodes, and workflows for them.

`nodes/` is the folder that ComfyUI loads, by a link or as a copy in its custom_nodes/; only there is ComfyUI's own
code imported. Everything the nodes do is in the other rooms of the library, and is called by notebooks and the
command line in the same way.
"""
