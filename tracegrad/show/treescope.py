"""How treescope shows what is ours in a tree. It is loaded when treescope asks, and imports that."""

from __future__ import annotations

from typing import Any

from treescope import rendering_parts


def rendered(text: str, label: str, path: str | None) -> Any:
    """Text of several lines as what folds to a label."""
    lines = text.splitlines()
    if len(lines) < 2:
        return rendering_parts.build_one_line_tree_node(text, path)
    return rendering_parts.build_foldable_tree_node_from_children(f"<{label}:", lines, ">", path=path)
