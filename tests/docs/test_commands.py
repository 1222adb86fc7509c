"""Every command on a page is typed by a test, or says on the page what it needs."""

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Command, blocks, commands, in_prose, languages, step, text_of
from tests.docs.shares import NAMES, SHARES

LANGUAGES = {"js", "promql", "python", "sh", "yaml"}

PAGE = """
Say `helm test x` or `kubectl
get pods`; `nats` is a program, and `values.yaml` a file.

```sh
# first
helm install x chart \\
  --wait
curl http://127.0.0.1/#here    # a word
```

1. ```yaml
   `helm no` command: here
   ```
2. then
   ```sh
   terraform apply    # needs a cloud
   ```
"""


def test_every_command_is_typed_by_a_test_or_says_what_it_needs() -> None:
    typed = {command.bare for share in SHARES.values() for command in share}
    known = typed | NAMES
    assert not [f"{each.page}: {each.text}" for each in commands() if not each.needs and each.bare not in known]


def test_no_share_is_of_commands_that_need_something_alone() -> None:
    """A test that would type none of its share proves nothing."""
    assert not [name for (_, name), share in SHARES.items() if all(command.needs for command in share)]


def test_every_name_stands_in_a_sentence() -> None:
    assert {each.bare for page in PAGES for each in in_prose(page, text_of(page))} >= NAMES


@pytest.mark.parametrize(("path", "name"), SHARES, ids=[name for _, name in SHARES])
def test_the_tests_that_type_are_there(path: Path, name: str) -> None:
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    assert name in {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_blocks_of_one_language(page: str) -> None:
    """One that stood in a block of `bash` would be passed over here."""
    assert languages(text_of(page)) <= LANGUAGES


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_are_there(page: str) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z0-9-]+)", text_of(page))) <= set(targets)


def test_kind_makes_a_cluster_as_the_pages_say() -> None:
    """CI's own clusters come from there: that line is the one that no test types."""
    (made,) = {each.bare for each in commands() if each.program == "kind"}
    assert made in (ROOT / "Makefile").read_text().partition("\nkind:")[2].partition("\n\n")[0]


def test_commands_are_found_as_the_shell_gets_them() -> None:
    (first, second) = blocks("a.md", PAGE)
    assert [each.bare for each in first] == ["helm install x chart --wait", "curl http://127.0.0.1/#here"]
    assert second == (Command("a.md", "terraform apply    # needs a cloud"),)
    assert [each.needs for each in (*first, *second)] == ["", "", "a cloud"]
    assert [each.text for each in in_prose("a.md", PAGE)] == ["helm test x", "kubectl get pods"]
    assert languages(PAGE) == {"sh", "yaml"}


def test_a_block_that_is_asked_for_is_there() -> None:
    with pytest.raises(LookupError, match=r"docs/install\.md has 0 blocks or commands that begin with 'helm nothing'"):
        step("docs/install.md", "helm nothing")
