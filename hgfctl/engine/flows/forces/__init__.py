"""Force fields F(x, v, t), to be put into the flow `designed`. A new one is one file and one line here."""

from hgfctl.registry import Registry

FORCES = Registry("force", {})
