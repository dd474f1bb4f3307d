"""YAML that people write: read by the safe loader, and refused where it is ambiguous or would fill the memory."""

from pathlib import Path
from typing import Any

import yaml

from synthgap.core.errors import SynthgapError

MOST_VALUES = 100_000  # in a file


class _YamlLoader(yaml.SafeLoader):
    """The safe loader, which refuses a key that stands twice, and what would grow beyond MOST_VALUES by its aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}  # {node: values in it, those of aliases counted each time}

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if not is_alias:
            values = node.value if isinstance(node, yaml.CollectionNode) else ()
            children = [child for value in values for child in (value if isinstance(value, tuple) else (value,))]
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in children)
        if self._sizes.get(id(node), MOST_VALUES + 1) > MOST_VALUES:  # an alias within what it names has no size yet
            raise yaml.YAMLError(f"its aliases (*) make it more than {MOST_VALUES} values")
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node, seen = super().compose_mapping_node(anchor), set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.YAMLError(f"the key '{key.value}' stands there twice (line {key.start_mark.line + 1})")
            seen.add((key.tag, key.value))
        return node


def load_yaml(text: str) -> Any:
    """The value of a YAML text, by the safe loader; yaml.YAMLError for none, or one too large or too deep."""
    loader = _YamlLoader(text)
    try:
        return loader.get_single_data()
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    finally:
        loader.dispose()


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file, see `load_yaml`."""
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise SynthgapError(f"'{path.name}' is no valid YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise SynthgapError(f"'{path.name}' cannot be read: {error.strerror}") from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise SynthgapError(f"'{path.name}' must hold keys and values, not {found}")
    return values
