"""The navigation beside the pages of source code: of each depth of folders one, as it names none of these pages.

Made anew for every page, it takes a third of the build.
"""

from typing import Any


def setup(app: Any) -> None:
    app.connect("html-page-context", _share_tree, priority=400)  # before the theme, which asks for the tree


def _share_tree(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if not page.startswith("_modules/"):
        return
    make, depth = context["toctree"], page.count("/")

    def shared(**options: Any) -> str:
        key = (depth, *sorted(options.items()))
        if key not in TREES:
            TREES[key] = make(**options)
        return TREES[key]

    context["toctree"] = shared


TREES: dict[tuple[Any, ...], str] = {}
