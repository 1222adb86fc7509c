"""What the operator's command line says when it cannot do what it is asked."""

import pytest
from typer.testing import CliRunner

from ssecast_operator.__main__ import app


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no cluster is known: there is no service account, and KUBECONFIG or ~/.kube/config must name one"),
        (["--log-level=loud"], "--log-level is 'loud'; it must be debug, info, warning or error"),
        (["--labels=app"], "--labels is 'app'; it must be such as app=ssecast-operator,tier=control"),
    ],
)
def test_a_start_that_cannot_be_is_a_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    done = CliRunner().invoke(app, ["run", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.output
