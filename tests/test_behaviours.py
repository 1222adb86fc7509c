"""The README's table of what a client sees, row by row, and the tests that have seen it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

SEEN = {
    "it connects": ["test_the_head_forbids_buffering_and_the_first_block_is_a_retry_and_a_position"],
    "an event is published": [
        "test_an_event_published_with_nats_arrives_live",
        "test_every_client_reads_what_was_published",
    ],
    "nothing is published": [
        "test_heartbeats_keep_silent_streams_open",
        "test_heartbeats_of_a_filtered_stream_are_positions",
    ],
    "its pod dies": [
        "test_another_pod_goes_on_where_a_killed_one_ended",
        "test_a_browser_comes_back_when_every_pod_was_killed",
        "test_a_node_that_is_deleted_takes_its_pod_along_and_no_event_of_a_client",
    ],
    "its pod stops, drains or sheds, or the stream is `SSECAST_MAX_AGE_SECONDS` old": [
        "test_sigterm_closes_streams_evenly_after_the_delay_and_ends_the_pod",
        "test_a_drain_closes_streams_evenly_and_each_with_a_short_retry_of_its_own",
        "test_a_shed_closes_the_oldest_evenly_and_nobody_else",
        "test_streams_live_on_through_many_lives",
        "test_streams_go_from_one_pod_to_another_with_every_event_exactly_once",
    ],
    "it was away longer than the stream keeps events": [
        "test_an_expired_position_is_a_gap_and_goes_on_from_the_first_event"
    ],
    "its id is from another stream, or unreadable": [
        "test_unreadable_foreign_and_forged_positions_are_gaps_never_errors"
    ],
    "it reads too slowly for the log": [
        "test_a_slow_reader_is_disconnected_and_resumes_by_its_id",
        "test_with_skip_a_reader_that_wakes_up_is_told_what_it_missed_and_goes_on_live",
    ],
    "it reads nothing for `SSECAST_STALL_SECONDS`, or for 40 seconds": [
        "test_who_reads_nothing_for_the_stall_time_is_closed_and_resumes_by_its_id",
        "test_nobody_waits_for_stalled_readers_and_what_waits_for_them_is_bounded",
        "test_streams_of_vanished_clients_end_within_a_minute",
    ],
    "it reads nothing while NATS breaks more than once": [
        "test_who_reads_nothing_through_several_breaks_is_told_one_gap_when_it_reads_again",
        "test_in_user_space_there_is_never_more_than_a_batch_or_an_event_and_a_gap",
    ],
    "its network dies without a word": ["test_streams_of_vanished_clients_end_within_a_minute"],
    "the pod is full (streams, memory, open files), starting or draining": [
        "test_a_browser_at_a_full_pod_is_told_when_to_come_back_on_a_stream_that_ends",
        "test_others_get_503_with_retry_after_and_so_do_browsers_where_it_is_asked_for",
        "test_streams_are_refused_before_the_limit_and_taken_again_when_it_is_raised",
        "test_where_descriptors_run_out_the_silent_go_and_streams_stay",
        "test_a_pod_that_is_short_of_descriptors_takes_no_more_streams_and_says_when_to_come_back",
        "test_short_of_memory_no_payload_and_no_stream_is_taken_and_others_than_browsers_are_told_when_to_come",
        "test_a_pod_that_drains_sends_new_clients_elsewhere",
        "test_while_it_waits_for_propagation_a_stopping_pod_is_not_ready_and_sends_new_streams_elsewhere",
        "test_a_pod_that_starts_anew_while_nats_is_away_tells_its_clients_to_come_back",
    ],
    "no pod is there": ["test_when_all_pods_were_killed", "test_a_browser_comes_back_when_every_pod_was_killed"],
    "it has `SSECAST_MAX_STREAMS_PER_CLIENT` streams already": [
        "test_one_client_cannot_take_all_streams",
        "test_streams_are_counted_by_who_the_token_is_for_and_not_by_address",
    ],
    "its token expires": ["test_a_stream_ends_before_its_token_and_goes_on_with_a_new_one"],
    "its token is missing, wrong, or allows less than it asks for": [
        "test_who_has_no_right_token_is_told_so_before_a_stream_opens",
        "test_a_token_opens_what_it_allows_and_nothing_else",
    ],
    "the keys that verify tokens cannot be had": [
        "test_while_the_address_fails_known_keys_are_good_and_unknown_ones_are_nobodys_fault",
        "test_strangers_with_made_up_keys_keep_nobody_from_a_key_that_is_new",
    ],
    "its request head takes longer than ten seconds, or its body longer than a minute": [
        "test_who_never_completes_a_request_is_closed_however_busy_it_looks",
        "test_nobody_holds_a_connection_for_ever_by_what_he_does_not_send",
    ],
    "its request head is longer than 32 KiB or has more than 128 headers": ["test_a_head_over_the_limit_is_refused"],
    "it sends more than 64 KiB after its request for a stream": [
        "test_a_client_that_talks_on_and_on_loses_its_stream_and_no_other_one_does"
    ],
    "the NATS server restarts, or another one of the cluster takes over": [
        "test_a_server_killed_under_load_and_started_again_costs_nobody_anything",
        "test_every_important_server_may_be_killed_one_after_the_other",
        "test_a_lame_duck_is_left_without_anybody_noticing",
    ],
    "NATS was away longer than the stream keeps events, or what nobody had seen was purged": [
        "test_nats_away_longer_than_retention_is_a_gap_for_live_streams",
        "test_a_purge_is_a_gap_exactly_where_the_next_event_is_gone",
    ],
    "the NATS stream was deleted, made anew, or restored from a backup": [
        "test_a_deleted_stream_is_created_again_and_is_a_gap",
        "test_a_recreated_stream_gives_every_live_stream_a_gap",
        "test_a_rewound_stream_that_grew_past_the_head_before_the_pod_looked_is_a_gap",
    ],
    "core NATS without a stream: the connection breaks, or the pod cannot keep up": [
        "test_core_nats_goes_on_after_a_gap",
        "test_a_pod_that_stood_still_in_core_mode_tells_a_gap",
    ],
}
"""By the first cell of its row: tests against real pods, proxies and browsers."""


def test_each_row_of_the_readme_was_seen_by_a_test_and_each_of_these_stands_in_a_row() -> None:
    assert rows() == list(SEEN)


def test_every_test_that_is_named_is_there() -> None:
    known = {
        node.name
        for path in ROOT.glob("tests/*/test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not [name for names in SEEN.values() for name in names if name not in known]


def rows() -> list[str]:
    """The first cells of the table."""
    section = (ROOT / "README.md").read_text().partition("## What a client sees when …")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return cells[2:]
