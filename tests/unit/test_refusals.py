"""refusals.py: what NATS says of permissions, as the words of a permission."""

import pytest

from ssecast.refusals import Denial


@pytest.mark.parametrize(
    ("error", "said", "ours"),
    [
        (
            'nats: permissions violation for publish to "$js.api.consumer.create.ssecast.ssecast-0c1"',
            "NATS does not let this pod publish to '$JS.API.CONSUMER.CREATE.>'",
            True,
        ),
        (
            "Permissions Violation for Publish to $JS.FC.ssecast.x.y",
            "NATS does not let this pod publish to '$JS.FC.>'",
            True,
        ),
        (
            'nats: permissions violation for subscription to "_inbox.abc.*"',
            "NATS does not let this pod subscribe to '_INBOX.>'",
            True,
        ),
        (
            'nats: permissions violation for subscription to "events.>" using queue "q"',
            "NATS does not let this pod subscribe to 'events.>'",
            True,
        ),
        (
            'nats: permissions violation for publish to "events.secret"',
            "NATS does not let this pod publish to 'events.secret'",
            False,
        ),
    ],
)
def test_a_denial_is_said_as_a_permission_would_name_it(error: str, said: str, ours: bool) -> None:
    """The same sentence at each attempt, though names are new each time; and whose trouble it is."""
    denial = Denial.parse(error)
    assert denial is not None
    assert (str(denial), denial.ours) == (said, ours)


def test_other_errors_are_no_denials() -> None:
    """They are logged as they come."""
    assert Denial.parse("nats: maximum subscriptions exceeded") is None
