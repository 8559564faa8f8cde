"""The attributes under which a model keeps its layers."""

from __future__ import annotations

from collections.abc import Collection


def name_attributes(names: Collection[str], taken: Collection[str], prefix: str) -> dict[str, str]:
    """Return the attribute of each layer by its name.

    In a name that no attribute can have, each "." becomes "_", an empty name becomes "_", and "_"
    is appended until the name is free, or put before what begins with `prefix`.
    """

    def is_free(name: str) -> bool:
        return not (name in taken or name.startswith(prefix))

    used = {name for name in names if name and "." not in name and is_free(name)}
    found = {}
    for name in names:
        attribute = name
        if name not in used:
            attribute = name.replace(".", "_") or "_"
            while attribute in used or not is_free(attribute):
                attribute = f"_{attribute}" if attribute.startswith(prefix) else f"{attribute}_"
            used.add(attribute)
        found[name] = attribute
    return found
