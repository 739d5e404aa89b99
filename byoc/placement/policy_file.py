"""Read a `Policy` from YAML; every complaint says file, line and column.

    rules:                                rules: read from top to bottom, the last that matches wins
      - prefer: npu                       one of prefer, exclude, force: a vendor or host
        op: nn.conv*                      op, name, module, dtype: a glob or a list of them
      - force: host
        module: encoder.layer.0
    min_segment_flops: 2e6                limits of the whole; see `byoc.Policy`
    weight_budget: {npu: 512 MiB}

The file is read as a tree of nodes, not as values: nodes know where they stand. All problems of a
file are told at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from byoc.errors import OptionError, choices

if TYPE_CHECKING:
    from byoc.partition.placing.policy import Policy, Rule

__all__ = ["parse_size", "read_policy", "resolve_policy"]

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\+?\d+)?)\s*([A-Za-z]*)")


class _NodeError(Exception):
    """A problem at a node."""

    def __init__(self, node: yaml.Node, text: str) -> None:
        super().__init__(text)
        self.mark = node.start_mark


def resolve_policy(policy: Policy | str | os.PathLike[str] | None) -> Policy | None:
    """Turn what users pass as ``policy=`` into a policy.

    Args:
        policy: a policy, the path of the YAML file that holds one, or None.

    Returns:
        The policy; None: none.

    Raises:
        OptionError: it is something else, or the file is not legal.
    """
    if policy is None:
        return None
    if isinstance(policy, (str, os.PathLike)):
        return read_policy(policy)
    from byoc.partition.placing.policy import Policy

    if isinstance(policy, Policy):
        return policy
    raise OptionError(
        f"policy must be a byoc.Policy or the path of a file, found {type(policy).__name__}"
    )


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """Read the policy in a YAML file. Vendors are checked when the policy is used.

    Args:
        path: the file.

    Returns:
        The policy.

    Raises:
        OptionError: the file cannot be read, is no YAML, or holds unknown keys or wrong values: one
            line for each problem, as ``file:line:column: what is wrong``.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the policy file {path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        raise OptionError(f"{_at(path, error.problem_mark)}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise OptionError(f"{path}: no YAML: {error}") from error
    return _Reader(path).policy(root)


def _at(path: object, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


class _Reader:
    """Turns nodes into values; problems gather until the end."""

    def __init__(self, path: object) -> None:
        self.path = path
        self.problems: list[_NodeError] = []

    def policy(self, root: yaml.Node | None) -> Policy:
        from byoc.partition.placing.policy import Policy

        readers: dict[str, Callable[[yaml.Node], Any]] = {
            "rules": self._rules,
            "min_segment_flops": _number,
            "min_segment_ops": _whole,
            "max_segments": _whole,
            "require_full_offload": _flag,
            "weight_budget": self._budget,
        }
        found: dict[str, Any] = {}
        if root is not None and not _is_null(root):
            for key, node in self._entries(root, tuple(readers), "a policy is a mapping"):
                found[key] = self._try(readers[key], node)
        if self.problems:
            self.problems.sort(key=lambda bad: (bad.mark.line, bad.mark.column))
            raise OptionError(
                "\n".join(f"{_at(self.path, bad.mark)}: {bad}" for bad in self.problems)
            )
        return Policy(**found)

    def _try(self, reader: Callable[[yaml.Node], Any], node: yaml.Node) -> Any:
        try:
            return reader(node)
        except _NodeError as bad:
            self.problems.append(bad)
            return None

    def _entries(
        self, node: yaml.Node, legal: tuple[str, ...] | None, expected: str
    ) -> Iterator[tuple[str, yaml.Node]]:
        """The entries of a mapping; unknown and repeated keys are problems."""
        if not isinstance(node, yaml.MappingNode):
            self.problems.append(_NodeError(node, f"{expected}, found {_shown(node)}"))
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else _shown(key)
            if legal is not None and name not in legal:
                self.problems.append(
                    _NodeError(key, f"unknown key {name!r}; {choices(name, legal)}")
                )
            elif name in seen:
                self.problems.append(
                    _NodeError(key, f"{name!r} is given twice, first in line {seen[name]}")
                )
            else:
                seen[name] = key.start_mark.line + 1
                yield name, value

    # -- rules -------------------------------------------------------------------------------------

    def _rules(self, node: yaml.Node) -> tuple[Rule, ...]:
        if _is_null(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise _NodeError(node, f"rules must be a list, found {_shown(node)}")
        rules = [self._try(self._rule, inner) for inner in node.value]
        return tuple(rule for rule in rules if rule is not None)

    def _rule(self, node: yaml.Node) -> Rule | None:
        from byoc.partition.placing.policy import ACTIONS, Rule

        count = len(self.problems)
        actions: dict[str, str | None] = {}
        limits: dict[str, tuple[str, ...] | None] = {}
        marked = node
        legal = (*ACTIONS, "op", "name", "module", "dtype")
        for key, value in self._entries(node, legal, "a rule is a mapping"):
            if key in ACTIONS:
                actions[key] = self._try(_text, value)
                marked = value
            else:
                limits[key] = self._try(_texts, value)
        if len(actions) == 1 and len(self.problems) == count:
            ((action, place),) = actions.items()
            assert place is not None, "else there is a problem"
            return Rule(action, place, **limits, where=_at(self.path, marked.start_mark))
        if len(actions) != 1 and isinstance(node, yaml.MappingNode):
            found = " and ".join(actions) or "none"
            raise _NodeError(node, f"a rule has one of {', '.join(ACTIONS)}; found {found}")
        return None  # told already

    def _budget(self, node: yaml.Node) -> dict[str, int]:
        if _is_null(node):
            return {}
        entries = self._entries(node, None, "weight_budget maps processors to sizes")
        return {processor: self._try(_bytes, size) for processor, size in entries}


# -- scalars ---------------------------------------------------------------------------------------


def _shown(node: yaml.Node) -> str:
    """A node in the words of a message."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if node.value else "nothing"
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value or _is_null(node):
        raise _NodeError(node, f"expected a text, found {_shown(node)}")
    return str(node.value)


def _texts(node: yaml.Node) -> tuple[str, ...]:
    if not isinstance(node, yaml.SequenceNode):
        return (_text(node),)
    if not node.value:
        raise _NodeError(node, "expected a text or a list of texts, found an empty list")
    return tuple(_text(inner) for inner in node.value)


def _number(node: yaml.Node) -> float:
    # Not YAML's own reading of numbers, for which 2e6 is a text.
    try:
        value = float(_text(node))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise _NodeError(node, f"expected a number, 0 or more, found {_shown(node)}")
    return value


def _whole(node: yaml.Node) -> int:
    value = _text(node)
    if not value.isdecimal():
        raise _NodeError(node, f"expected a whole number, 0 or more, found {_shown(node)}")
    return int(value)


def _flag(node: yaml.Node) -> bool:
    if node.tag != "tag:yaml.org,2002:bool":
        raise _NodeError(node, f"expected true or false, found {_shown(node)}")
    return str(node.value).lower() in ("true", "yes", "on")


def _bytes(node: yaml.Node) -> int:
    try:
        return parse_size(_text(node))
    except OptionError as error:
        raise _NodeError(node, str(error)) from None


def parse_size(text: str) -> int:
    """Read a size in bytes.

    Args:
        text: "512 MiB", "1.5GB" or "4096".

    Returns:
        Bytes.

    Raises:
        OptionError: the text is no size; the message lists the units.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise OptionError(
            f"expected a size such as 512 MiB, found {text!r}; "
            f"units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
        )
    return round(float(found[1]) * unit)
