"""traces.py: built-in traces are what their names say, and a file that cannot be used gets one sentence."""

import pytest

from ssecast_operator.traces import BUILT_IN, TraceError, built_in, read_csv


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_trace_begins_at_zero_rises_and_has_as_many_clients_as_asked_for(name: str) -> None:
    trace = built_in(name, 1000)
    assert trace.times[0] == 0
    assert list(trace.times) == sorted(set(trace.times))
    assert max(trace.clients) == pytest.approx(1000)
    assert min(trace.clients) >= 0
    assert all(0 <= each.at < trace.seconds for each in trace.incidents)


def test_the_kick_off_is_twenty_times_as_many_within_a_minute() -> None:
    trace = built_in("kick-off", 20_000)
    before = trace.times.index(1200)
    assert trace.times[before + 1] - trace.times[before] == 60
    assert trace.clients[before + 1] == 20 * trace.clients[before]


def test_a_file_may_begin_at_any_time_and_have_its_columns_in_any_order() -> None:
    trace = read_csv("clients, time\n10,100\n\n20,160\n", "trace.csv")
    assert trace.times == (0, 60)
    assert trace.clients == (10, 20)
    assert trace.seconds == 60


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "trace.csv, line 1: the file is empty; expected is the header time,clients"),
        ("time,users\n", "trace.csv, line 1: column 'users' is unknown; expected is the header time,clients"),
        ("time\n", "trace.csv, line 1: column 'clients' stands there 0 times; expected is the header time,clients"),
        ("time,clients\n0,1\n", "trace.csv, line 2: the trace ends here; expected are at least two rows"),
        ("time,clients\n0,1\n9\n", "trace.csv, line 3: there are 1 values; expected are two, time and clients"),
        ("time,clients\n0,1\n60,\n", "trace.csv, line 3: clients is empty; expected is a number, for a trace has no gaps"),
        ("time,clients\n0,1\n60,-2\n", "trace.csv, line 3: clients is '-2'; expected is a number that is not negative"),
        ("time,clients\n-5,1\n60,2\n", "trace.csv, line 2: time is '-5'; expected is a number that is not negative"),
        ("time,clients\n0,nan\n60,2\n", "trace.csv, line 2: clients is 'nan'; expected is a number that is not negative"),
        ("time,clients\n0,1\n60,2e9\n", "trace.csv, line 3: clients is 2e9; expected is at most 1,000,000,000"),
        ("time,clients\n60,1\n\n0,2\n", "trace.csv, line 4: time does not rise; expected is more than 60, that of the row before"),
        ("time,clients\n0,1\n30,2\n", "trace.csv, line 3: the trace is shorter than a minute; expected is time in seconds"),
        (
            "time,clients\n0,1\n15,2\n30,2\n7230,2\n",
            "trace.csv, line 5: 7200 s lie between this row and the one before, a gap; expected are steps of about 15 s",
        ),
        ("time,clients\n0,1\n9e6,2\n", "trace.csv, line 3: the trace is longer than 90 days; expected is a shorter one"),
    ],
)  # fmt: skip
def test_a_trace_that_cannot_be_used_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(TraceError) as wrong:
        read_csv(text, "trace.csv")
    assert str(wrong.value) == sentence
