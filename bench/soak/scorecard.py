"""The rows of the scorecard, and how each is checked: by tests, by a function of this package, or by both.

It adapts what trusted servers of models promise (NVIDIA Triton, vLLM, Text Generation Inference, InvokeAI, Cog).
"""

from __future__ import annotations

from dataclasses import dataclass

LIMITS = "tests/acceptance/test_limits.py"
SERVICE = "tests/unit/test_service.py"
STORAGE_FAULTS = "tests/unit/test_storage_faults.py"
TOKENS = "tests/acceptance/test_tokens.py"
WORKER_FAULTS = "tests/acceptance/test_worker_faults.py"


@dataclass(frozen=True)
class Row:
    """`tests` are ids of pytest; `function` is a module of this package and its function; `missing` says what a row
    without either waits for.
    """

    id: str
    load: str
    passes: str
    tests: tuple[str, ...] = ()
    function: str | None = None
    missing: str | None = None


def join(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{file}::test_{name}" for name in names)


SCORECARD = (
    Row(
        "L1",
        "60 and 100 users submit 3 jobs each at once; the queue holds 50",
        "only 202, 429 and 503; refusals have a Retry-After within a factor of two; no job is lost or doubled",
        (
            *join("tests/unit/test_admission.py", "refused_clients_come_back_one_after_another_at_the_measured_rate"),
            *join("tests/unit/test_http_protocol.py", "many_connections_that_open_at_once_are_all_answered"),
        ),
        function="many_users.measure",
    ),
    Row("L2", "/healthz ten times a second meanwhile", "p99 of 250 ms; no failure", function="many_users.measure"),
    Row(
        "L3",
        "one user has many jobs, then another sends one",
        "the other is served next",
        join("tests/unit/test_queue.py", "a_user_with_many_jobs_does_not_hold_up_another", "users_take_turns"),
    ),
    Row(
        "L4",
        "submissions with no stored jobs, with 20,000 finished and with 20,000 queued ones",
        "median of 20 ms, p95 of 50 ms; 150 ms until the first step",
        function="submitting.measure",
    ),
    Row(
        "L5",
        "50 clients watch a job, 5 of them slowly",
        "all get the last event; the job takes at most 5 % longer; memory is bounded",
        join(SERVICE, "a_slow_page_gets_the_latest_progress_only"),
        function="watchers.measure_watchers",
    ),
    Row(
        "L6",
        "a client connects again with Last-Event-ID",
        "no event is missing or comes twice",
        (
            *join("tests/unit/test_rest.py", "events_are_sent_from_the_first_or_from_a_given_position"),
            *join(SERVICE, "events_can_be_followed_again_from_any_point", "no_event_follows_the_last_one_of_a_job"),
        ),
    ),
    Row(
        "F1",
        "the worker is killed in the middle of a job",
        "its job fails within a second; ready again after a start and 5 s; nothing else is lost",
        (
            *join("tests/acceptance/test_server.py", "a_killed_engine_costs_one_job_and_nothing_else"),
            *join(SERVICE, "a_worker_that_dies_takes_all_running_jobs_along_and_none_that_wait"),
        ),
        function="faults.kill_worker",
    ),
    Row(
        "F2",
        "a job needs too much memory",
        "it fails with out_of_memory; memory is freed; the next job is done; after 3 in a row the worker is restarted",
        (
            *join(WORKER_FAULTS, "a_job_that_needs_too_much_memory_fails_alone"),
            *join("tests/unit/test_local_worker.py", "a_worker_on_which_job_after_job_runs_out_of_memory_is_restarted"),
            *join("tests/integration/test_engine.py", "too_little_memory_is_an_error_of_its_own"),
            *join("tests/integration/test_batching.py", "passes_shrink_when_memory_runs_out_and_no_job_fails"),
        ),
    ),
    Row(
        "F3",
        "the worker stands still",
        "replaced within heartbeat_timeout and 2 s; not ready meanwhile",
        (
            *join(WORKER_FAULTS, "a_worker_that_stands_still_is_replaced"),
            *join("tests/unit/test_watchdog.py", "heartbeats_are_no_progress"),
        ),
        function="faults.stop_worker",
    ),
    Row(
        "F4",
        "SIGTERM with 1 job that runs and 5 that wait",
        "the running one is done; exit code 0; the others run after another start",
        (
            *join("tests/acceptance/test_draining.py", "running_jobs_finish_queued_ones_stay_and_new_ones_are_refused"),
            *join(
                "tests/acceptance/test_restart.py",
                "a_restart_continues_the_queue_and_fails_the_jobs_that_were_running",
            ),
        ),
        function="faults.terminate_studio",
    ),
    Row(
        "F5",
        "the web process is killed with 1 job that runs and 10 that wait",
        "after another start the 10 are done and the one has failed, each once",
        (
            *join(SERVICE, "what_was_queued_before_a_restart_runs_after_it"),
            *join("tests/unit/test_jobs.py", "a_restart_keeps_what_was_queued_and_marks_what_was_running"),
        ),
        function="faults.kill_studio",
    ),
    Row(
        "F6",
        "clients disconnect: server-sent events, WebSocket, blocking POST",
        "the job goes on or is cancelled, as documented; the device is free within 2 steps",
        (
            *join(SERVICE, "a_client_that_disconnects_ends_the_events_and_cancels_the_job"),
            *join("tests/unit/test_disconnects.py", "events_end_when_the_client_disconnects"),
            *join("tests/acceptance/test_websocket.py", "closing_cancels_the_jobs"),
            *join("tests/acceptance/test_a1111.py", "a_client_that_leaves_takes_its_job_along"),
            *join("tests/integration/test_engine.py", "cancel_stops_within_a_step"),
        ),
    ),
    Row(
        "F7",
        "a job is cancelled: queued, running, finished, twice, another user's",
        "within a step; twice is no error; another user's is not found",
        (
            *join(SERVICE, "a_queued_job_is_cancelled_at_once", "a_running_job_is_cancelled_by_the_worker"),
            *join(SERVICE, "cancelling_too_late_is_no_error"),
            *join("tests/unit/test_rest.py", "a_job_is_cancelled_and_cancelling_again_is_no_error"),
            *join("tests/unit/test_rest.py", "another_users_resources_are_not_found"),
        ),
    ),
    Row(
        "F8",
        "the Hub is down, refuses, cuts a body short, is slow, sends wrong bytes",
        "models on disk work; a clean error; nothing partial is used; a cut download goes on",
        (
            *join("tests/acceptance/test_models.py", "without_a_hub_all_that_is_on_disk_works"),
            *join("tests/acceptance/test_models.py", "a_download_that_was_stopped_goes_on_where_it_ended"),
            *join("tests/acceptance/test_models.py", "what_cannot_be_loaded_says_why"),
            *join("tests/unit/test_library.py", "a_version_that_is_not_whole_is_as_good_as_none"),
        ),
    ),
    Row(
        "F9",
        "the disk is full; the database is locked, read-only or damaged",
        "507 or 503; alive and not ready; all goes on afterwards",
        (
            *join(STORAGE_FAULTS, "a_full_disk_refuses_jobs_with_507"),
            *join(STORAGE_FAULTS, "a_lock_delays_no_other_request_and_a_refusal_says_when_to_try_again"),
            *join(STORAGE_FAULTS, "a_database_that_turns_read_only_refuses_jobs_and_says_so"),
            *join(STORAGE_FAULTS, "damaged_pages_are_an_error_of_the_request_and_not_of_the_studio"),
        ),
        function="faults.fill_disk",
    ),
    Row(
        "F10",
        "damaged weights, a giant header, weights that are no numbers",
        "a clean error; the worker lives; other models work",
        (
            *join("tests/unit/test_bad_files.py", "bad_files_break_no_list", "a_bad_file_is_refused_with_a_reason"),
            *join("tests/unit/test_weights.py", "a_file_that_is_not_safetensors_raises_the_same_error"),
            *join("tests/integration/test_engine.py", "a_model_that_is_cut_short_is_named_and_the_engine_works_on"),
            *join("tests/integration/test_model_store.py", "a_model_with_undefined_weights_paints_nothing"),
        ),
    ),
    Row(
        "F11",
        "the broker of several machines dies, restarts, cannot be reached",
        "no accepted job is lost; submissions get 503; it recovers within 5 s",
        missing="workers on other machines",
    ),
    Row(
        "F12",
        "one of two workers on other machines is killed",
        "its job runs on the other; one last event",
        missing="workers on other machines",
    ),
    Row(
        "B1",
        "2,000 generated requests to all documented routes",
        "no 5xx that is not documented; every answer as documented",
        join(
            "tests/acceptance/test_openapi.py",
            "whatever_is_sent_is_answered_as_documented",
            "each_route_of_a_door_for_programs_is_documented",
        ),
        function="schema_cases.measure",
    ),
    Row(
        "B2",
        "bodies that are no JSON, or strange JSON: NaN, lone surrogates, deep, large, unknown fields",
        "4xx in few words",
        (
            *join("tests/unit/test_rest_refusals.py", "what_is_wrong_is_named"),
            *join("tests/unit/test_rest_refusals.py", "a_body_that_is_none_is_refused_in_few_words"),
            *join(
                "tests/unit/test_body_limits.py", "many_values_are_refused_at_once", "the_structure_of_json_is_limited"
            ),
            *join(LIMITS, "a_broken_body_is_refused_in_few_words"),
            *join(LIMITS, "a_body_that_is_too_large_is_refused_whatever_was_announced"),
        ),
    ),
    Row(
        "B3",
        "more than 57 odd pictures: huge, damaged, hostile, in unusual formats",
        "accepted or 4xx, within 2 s each; memory grows by at most 150 MiB and comes back",
        (
            *join("tests/unit/test_image_files.py", "a_bomb_is_refused_before_it_is_unpacked"),
            *join("tests/unit/test_image_files.py", "what_is_no_picture_is_refused", "half_a_file_is_refused"),
            *join("tests/unit/test_allocator.py", "threads_that_have_read_large_pictures_keep_little_memory"),
        ),
        function="odd_pictures.measure",
    ),
    Row(
        "B4",
        "names of models, revisions and LoRAs that are paths",
        "nothing outside of the folders is read; the Hub is not asked",
        (
            *join("tests/unit/test_library.py", "a_name_that_means_nothing_reaches_nothing"),
            *join("tests/unit/test_library.py", "a_whole_path_reaches_nothing_either"),
            *join("tests/unit/test_adapters.py", "a_name_that_means_nothing_reaches_nothing"),
            *join("tests/unit/test_adapters.py", "a_name_in_a_repository_reaches_nothing_outside_of_it"),
            *join("tests/acceptance/test_ownership.py", "no_way_leads_out_of_the_folder_of_uploads"),
        ),
    ),
    Row(
        "A1",
        "each route, for nobody, alice, bob and an administrator",
        "as in the table; a new route without a row fails",
        join(
            "tests/acceptance/test_route_access.py",
            "the_table_has_each_route_and_no_other",
            "each_route_is_for_those_that_it_is_for",
        ),
    ),
    Row(
        "A2",
        "a token many times; many first calls at once; a revoked token; no answer of the authority",
        "asked once a minute, once for all at once; refused within a minute; known users work on, others get 503",
        (
            *join("tests/unit/test_access.py", "a_valid_token_is_checked_once_a_minute"),
            *join("tests/unit/test_access.py", "a_token_that_was_revoked_is_refused_after_a_minute"),
            *join("tests/unit/test_access.py", "concurrent_calls_share_one_check"),
            *join(TOKENS, "fifty_who_come_at_once_are_asked_for_once"),
            *join(TOKENS, "a_hub_that_is_down_stops_nobody_whom_it_named_before"),
        ),
    ),
    Row(
        "A3",
        "tokens and prompts on all paths of errors",
        "none of them in logs, answers or files",
        join(TOKENS, "tokens_and_refused_prompts_are_not_disclosed", "good_tokens_are_written_nowhere"),
    ),
    Row(
        "A4",
        "requests and sockets of other sites, a forged cookie, a sign-in that is replayed",
        "refused",
        (
            *join(
                "tests/acceptance/test_cross_site.py",
                "a_page_of_another_origin_does_nothing_in_a_users_name",
                "a_socket_of_another_origins_page_is_refused",
            ),
            *join("tests/acceptance/test_sign_in.py", "a_way_back_is_good_once"),
            *join("tests/unit/test_access.py", "sessions_of_another_secret_have_no_identity"),
        ),
    ),
    Row(
        "M1",
        "500 jobs with changes of the model and of the LoRA",
        "memory grows by at most 30 MiB; threads, files and child processes do not",
        join("tests/integration/test_model_store.py", "switches_among_three_models_leave_memory_flat"),
        function="many_jobs.measure",
    ),
    Row(
        "M2",
        "2,000 clients connect and leave: events and WebSockets",
        "as many open files and threads as before, within 5",
        function="watchers.measure_connections",
    ),
    Row(
        "D1",
        "the container, and the packages that it installs",
        "not root; a read-only system; volumes; no known vulnerability without a written exception",
        (
            *join("tests/unit/test_project_files.py", "a_container_runs_without_privileges_on_a_read_only_system"),
            *join(
                "tests/unit/test_project_files.py",
                "a_container_keeps_what_matters_and_is_published_to_this_machine_alone",
            ),
            *join("tests/unit/test_advisories.py", "no_pinned_version_has_a_known_vulnerability_without_an_exception"),
        ),
    ),
)
