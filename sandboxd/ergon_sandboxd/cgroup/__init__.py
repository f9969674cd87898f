"""The kernel's accounting groups: one interface, one implementation for each of the kernel's two layouts."""

from .detect import detect_hierarchy
from .interface import Hierarchy, Leaf, LeafLimits, kill_until_empty, remove_leaf

__all__ = ["Hierarchy", "Leaf", "LeafLimits", "detect_hierarchy", "kill_until_empty", "remove_leaf"]
