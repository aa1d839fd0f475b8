"""
YAML documents as trees that know where in the text each value stands (PyYAML, extra ``audit``).

Composed, never constructed: no tags are executed, aliases are shared nodes and so cost nothing, and 1.1's traps
(``on``, ``010``, ``12:30:45``) cannot happen, for scalars stay text.
"""

from __future__ import annotations

from oomsight.rightsize.tree import Tree
from oomsight.sources.yaml_documents import NoYaml, loader


class YamlError(ValueError):
    """The text is no YAML; one line with line and column, without the file's name."""


def parse_trees(text: str) -> list[Tree]:
    """Return the root of every document in *text*. Raises :class:`YamlError`, also where PyYAML is missing."""
    try:
        composing = loader()
    except NoYaml as error:
        raise YamlError(str(error)) from None
    import yaml

    try:
        nodes = list(yaml.compose_all(text, composing))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{getattr(error, 'problem', None) or 'no YAML'}") from None
    except (RecursionError, ValueError) as error:
        raise YamlError("nested too deeply" if isinstance(error, RecursionError) else str(error)) from None
    made: dict[int, Tree] = {}

    def tree(node: yaml.Node) -> Tree:
        if id(node) in made:
            return made[id(node)]
        found = Tree(
            "map" if isinstance(node, yaml.MappingNode) else "list" if isinstance(node, yaml.SequenceNode) else "text",
            node.start_mark.index, node.end_mark.index, node.start_mark.line, node.start_mark.column,
            flow=bool(getattr(node, "flow_style", False)), text=node.value if isinstance(node, yaml.ScalarNode) else "",
            quoted=isinstance(node, yaml.ScalarNode) and node.style in {"'", '"'},
        )  # fmt: skip
        made[id(node)] = found
        if isinstance(node, yaml.MappingNode):
            found.pairs.extend((tree(key), tree(value)) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            found.items.extend(tree(item) for item in node.value)
        return found

    try:
        return [tree(node) for node in nodes if node is not None]
    except RecursionError:
        raise YamlError("nested too deeply") from None
