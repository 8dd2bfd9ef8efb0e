"""Files on disk: how they are written whole or not at all, and what lies where.

`atomic` writes; `tensor_files` are safetensors with a description and a checksum; `runs` is the layout of a run folder;
`sample_files` are what `hgfctl sample` writes; `cache` holds downloads and statistics; `inert_pickle` and
`arrays_pickle` read other programs' pickles without executing anything.
"""
