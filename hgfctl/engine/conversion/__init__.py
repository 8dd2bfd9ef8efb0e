"""Published weights of other programs, read without running anything, as checkpoints of ours.

`snapshot` reads a file into plain records, `edm` and `edm2` say which of our networks its numbers belong to, `convert`
writes the checkpoint.
"""
