"""YAML with the line of every value, so that whoever wrote it can be told where it is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
_MOST_VALUES = 10_000
_TAGS = {yaml.MappingNode: ("tag:yaml.org,2002:map",), yaml.SequenceNode: ("tag:yaml.org,2002:seq",)}


class NotYaml(ValueError):
    """The text is not YAML that can be read; the message says where and why."""


@dataclass
class Document:
    """
    A text that was read.

    Attributes:
        value: of plain lists, objects and scalars
        lines: place of a value → line on which it begins, from 1; of a member of an object, the line of its name

    """

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Give the line of a value, or of the nearest around it that there is."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(text: str) -> Document:
    """Read a text with one document in it.

    Raises:
        NotYaml: if it is none, names a member twice, or uses tags that are not plain YAML's.
    """
    document = Document(lines={(): 1})
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        document.value = None if node is None else _value(loader, node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise NotYaml(f"{where}{error.problem or 'not YAML'}") from None
    except yaml.reader.ReaderError as error:
        raise NotYaml(f"line {_line_at(text, error.position)}: {str(error).splitlines()[0]}") from None
    except NotYaml:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotYaml(str(error).splitlines()[0] if str(error) else "nested too deeply") from None
    return document


def _value(loader: yaml.SafeLoader, node: yaml.Node, path: Path, document: Document) -> Any:
    if len(document.lines) > _MOST_VALUES:
        raise NotYaml(f"more than {_MOST_VALUES} values")
    document.lines.setdefault(path, node.start_mark.line + 1)
    if node.tag not in _TAGS.get(type(node), (node.tag,)):
        raise NotYaml(f"line {node.start_mark.line + 1}: the tag {node.tag!r} has no meaning here")
    if isinstance(node, yaml.MappingNode):
        return dict(_members(loader, node, path, document))
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, inner, (*path, number), document) for number, inner in enumerate(node.value)]
    try:
        return loader.construct_object(node)
    except ValueError as error:  # 2026-02-30, which looks like a date
        raise NotYaml(
            f"line {node.start_mark.line + 1}: {node.value!r} is no value: {error}; put it in quotes"
        ) from None


def _members(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path, document: Document
) -> Iterator[tuple[str, Any]]:
    own = {str(key.value) for key, _ in node.value}
    _refuse_repeated(node)
    loader.flatten_mapping(node)  # `<<: *others`, whose members come first and give way
    members = {str(key.value): (key, value) for key, value in node.value}
    for name, (key, value) in members.items():
        place = (*path, name)
        document.lines[place] = (key if name in own else value).start_mark.line + 1
        yield name, _value(loader, value, place, document)


def _refuse_repeated(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(key.value)
        if name in seen and name != "<<":
            raise NotYaml(f"line {key.start_mark.line + 1}: the key {name!r} stands twice in one block")
        seen.add(name)


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
