"""What the templates need to know and cannot see: the operator's rights, defaults of values and of the spec. Pure."""

from typing import Any

import yaml

from charts.make.schema import spec_defaults
from charts.make.values import Value
from ssecast_operator.rights import DEFINITION, OWN, WORK

HEADER = "# Made by `make chart`; do not edit.\n"


def rendered(values: tuple[Value, ...]) -> str:
    """The file. embedded: the defaults of `nats.embedded`, for a template sees only what came of them."""
    nats = next(value for value in values if value.path == "nats")
    body = {
        "rights": {"work": list(WORK), "own": list(OWN), "definition": list(DEFINITION)},
        "embedded": nats.default["embedded"],
        "spec": spec_defaults(),
    }
    return HEADER + yaml.dump(body, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)


class Plain(yaml.SafeDumper):
    """Says the same thing twice where it stands twice; text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Plain.add_representer(str, _text)
