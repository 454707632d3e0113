/*
 * host.c - the host of the isolation bench: pushes loads at steady rates and records the outcome of every event.
 *
 *     host ENDPOINT prepare ARGUMENT...              creates every target by one event and waits for its delivery
 *     host ENDPOINT run RUN_MS RECORDS ARGUMENT...   pushes for RUN_MS
 *
 * An ARGUMENT is a LOAD, or OPTION=VALUE of the sink, or shutdown_ms=VALUE.
 *
 * A LOAD is ROLE:PREFIX:TARGETS:RATE:BYTES. It has TARGETS targets, whose groups are PREFIX and a number from 0. Each
 * target gets RATE events a second of BYTES bytes. Each ROLE has its own thread: `healthy` (one load, the first one;
 * each event has its own deadline), `failing`, and `flood` (skips the events for which it is late). More can follow:
 *
 *     :stream=NAME      PREFIX is the name of one group, and the targets are its streams, NAME and a number from 0
 *     :events=N         each target gets N events and no more
 *     :after_ms=N       the first event is due N ms after the begin
 *     :sweep_ms=N       all targets get an event at once; the time from one to the next is the mean - N ms, then a
 *                       little more each time up to the mean + N ms, and begins again
 *
 * The deadlines are absolute, so a late push delays no other push. The host reports the lateness of the healthy thread
 * that the library did not cause, and the longest push. An event counts as delivered only by its ack.
 *
 * `run` prints three lines of JSON: one when the pushing begins, one when it has ended, and the counts. `by_target` has
 * for each target the events accepted, delivered, and delivered before the pushing ended, and the longest time in ms
 * for which an event waited while none was delivered. Before the counts it waits for a line (or the end) of stdin, and
 * for cwl_shutdown. RECORDS then has a `struct record` for each accepted healthy event.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cwl_sink.h"
#include "loads.h"
#include "watch.h"

#define OPTIONS_MAX 16
#define PREPARE_MS 60000

static const int64_t SECOND_NS = 1000000000;
/* The time from the start to the first deadline, in which the threads are started. */
static const int64_t START_DELAY_NS = 100000000;
/* The time between two wake-ups of a thread. The healthy thread wakes for each event. */
static const int64_t FAILING_TICK_NS = 5000000;
static const int64_t FLOOD_TICK_NS = 1000000;
static const int64_t BURST_TICK_NS = 1000000;

struct pusher {
    enum role role;
    pthread_t thread;
    bool started;
    int64_t worst_lateness_ns, worst_push_ns;
};

static const char *options[OPTIONS_MAX][2] = {
    { "region", "us-east-1" }, { "access_key_id", "test" },    { "secret_access_key", "test" },
    { "concurrency", "2" },    { "flush_interval_ms", "200" }, { "when_full", "reject" },
};
static size_t option_count = 6;
static int64_t shutdown_limit_ms = 60000;

static uint64_t strange_acks;
static int64_t begin_ns, end_ns;

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void sleep_until(int64_t deadline_ns)
{
    struct timespec deadline = { .tv_sec = (time_t)(deadline_ns / SECOND_NS),
                                 .tv_nsec = (long)(deadline_ns % SECOND_NS) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) != 0) {
        /* interrupted by a signal: the deadline is absolute, so it sleeps again */
    }
}

/* ---- pushing ---- */

/* Pushes the load's next event. Returns the duration of the push. The record and the token of a refused event are used
 * again for the next one. */
static int64_t push_next(struct load *load)
{
    struct record *record = &load->records[load->accepted];
    uint32_t target = (uint32_t)(load->due++ % load->targets);
    cwl_event event = {
        .struct_size = sizeof event,
        .timestamp_ms = now_ns(CLOCK_REALTIME) / 1000000,
        .message = filler,
        .message_len = load->bytes,
        .token = load->first_token + load->accepted,
    };
    record->target = target;
    record->pushed_ns = now_ns(CLOCK_MONOTONIC);
    cwl_status status = cwl_target_push(load->handles[target], &event);
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - record->pushed_ns;
    load->accepted += status == CWL_OK;
    load->refused_full += status == CWL_ERR_FULL;
    load->refused_otherwise += status != CWL_OK && status != CWL_ERR_FULL;
    return took_ns;
}

/* Pushes all events that are due at a time, as far as the table has records for them. */
static void push_due(struct pusher *pusher, struct load *load, int64_t by_ns)
{
    uint64_t due = due_count(load, by_ns - begin_ns);
    while (load->due < due && load->due < load->capacity) {
        int64_t took_ns = push_next(load);
        if (took_ns > pusher->worst_push_ns)
            pusher->worst_push_ns = took_ns;
    }
}

/* Skips the events that became due while the thread slept: a flood that catches up would exceed the requested rate. */
static void skip_overdue(struct load *load, int64_t until_ns)
{
    uint64_t due = due_count(load, until_ns - begin_ns);
    if (load->due + 1 < due)
        load->due = due - 1;
}

static int64_t tick_ns(enum role role)
{
    if (role == FAILING)
        return FAILING_TICK_NS;
    if (role == FLOOD)
        return FLOOD_TICK_NS;
    if (loads[0].sweep_ns != 0)
        return BURST_TICK_NS;
    return (int64_t)((double)SECOND_NS / loads[0].rate);
}

static void *push_role(void *argument)
{
    struct pusher *pusher = argument;
    int64_t tick = tick_ns(pusher->role), free_since_ns = begin_ns;
    for (int64_t deadline = begin_ns; deadline < end_ns; deadline += tick) {
        sleep_until(deadline);
        int64_t awake_ns = now_ns(CLOCK_MONOTONIC);
        /* While a push kept the thread, it could not be on time: that time is not its own lateness. */
        int64_t late_ns = awake_ns - (deadline > free_since_ns ? deadline : free_since_ns);
        if (late_ns > pusher->worst_lateness_ns)
            pusher->worst_lateness_ns = late_ns;
        if (pusher->role == FLOOD && awake_ns - deadline > tick) {
            deadline += (awake_ns - deadline) / tick * tick;
            for (size_t i = 0; i < load_count; i++)
                if (loads[i].role == FLOOD)
                    skip_overdue(&loads[i], deadline);
        }
        for (size_t i = 0; i < load_count; i++)
            if (loads[i].role == pusher->role)
                push_due(pusher, &loads[i], deadline);
        free_since_ns = now_ns(CLOCK_MONOTONIC);
    }
    return NULL;
}

/* Starts a thread for each role that a load has. A thread without a load would only wake up and disturb the others. */
static void start_pushers(struct pusher pushers[ROLES])
{
    for (size_t i = 0; i < load_count; i++) {
        struct pusher *pusher = &pushers[loads[i].role];
        if (pusher->started)
            continue;
        pusher->role = loads[i].role;
        pusher->started = true;
        if (pthread_create(&pusher->thread, NULL, push_role, pusher) != 0)
            die("pthread_create");
    }
}

static void join_pushers(struct pusher pushers[ROLES])
{
    for (int role = 0; role < ROLES; role++)
        if (pushers[role].started)
            pthread_join(pushers[role].thread, NULL);
}

/* ---- acks ---- */

static void on_acks(const cwl_ack *acks, size_t count, void *user)
{
    (void)user;
    int64_t acked_ns = now_ns(CLOCK_MONOTONIC);
    for (size_t i = 0; i < count; i++) {
        const cwl_ack *ack = (const cwl_ack *)(const void *)((const char *)acks + i * acks->struct_size);
        if (ack->token >= table_size) {
            strange_acks++;
            continue;
        }
        struct record *record = &table[ack->token];
        if (record->acks == 0) {
            record->outcome = (uint8_t)ack->outcome;
            record->acked_ns = acked_ns;
        }
        if (record->acks < UINT8_MAX)
            record->acks++;
    }
}

/* ---- results ---- */

static void print_counts(cwl_sink *sink, cwl_status status, int64_t shutdown_ns, const struct pusher *healthy,
                         int64_t pushed_until_ns)
{
    printf("{\"shutdown\": \"%s\", \"shutdown_ms\": %" PRId64 ", \"ended_ns\": %" PRId64
           ", \"worst_lateness_ms\": %.3f, \"worst_push_ms\": %.3f, \"strange_acks\": %" PRIu64 ", ",
           cwl_status_name(status), shutdown_ns / 1000000, now_ns(CLOCK_MONOTONIC),
           (double)healthy->worst_lateness_ns / 1e6, (double)healthy->worst_push_ns / 1e6, strange_acks);
    print_watched();
    printf(", \"statistics\": ");
    print_statistics(sink);
    printf(", \"loads\": [");
    for (size_t i = 0; i < load_count; i++) {
        printf("%s", i == 0 ? "" : ", ");
        print_load(&loads[i], pushed_until_ns);
    }
    printf("]}\n");
}

/* ---- the two commands ---- */

static void set_option(const char *name, const char *value)
{
    size_t i = 0;
    while (i < option_count && strcmp(options[i][0], name) != 0)
        i++;
    if (i == OPTIONS_MAX)
        die("too many options");
    options[i][0] = name;
    options[i][1] = value;
    if (i == option_count)
        option_count++;
}

/* A load has a colon before its first equals sign, an option has not. */
static void parse_argument(char *text)
{
    char *separator = strpbrk(text, ":=");
    if (separator == NULL || *separator == ':') {
        parse_load(text);
        return;
    }
    *separator = '\0';
    if (strcmp(text, "shutdown_ms") == 0)
        shutdown_limit_ms = strtoll(separator + 1, NULL, 10);
    else
        set_option(text, separator + 1);
}

static cwl_sink *open_sink(void)
{
    cwl_config *config = cwl_config_new();
    for (size_t i = 0; i < option_count; i++)
        if (cwl_config_set(config, options[i][0], options[i][1]) != CWL_OK)
            die("cwl_config_set");
    cwl_sink *sink = NULL;
    if (cwl_sink_open(config, &sink) != CWL_OK)
        die("cwl_sink_open");
    cwl_config_free(config);
    return sink;
}

static int prepare(cwl_sink *sink)
{
    open_targets(sink);
    for (size_t i = 0; i < load_count; i++)
        for (uint32_t target = 0; target < loads[i].targets; target++) {
            cwl_event event = { .struct_size = sizeof event, .message = filler, .message_len = loads[i].bytes };
            if (cwl_target_push(loads[i].handles[target], &event) != CWL_OK)
                die("cwl_target_push");
        }
    cwl_status status = cwl_shutdown(sink, PREPARE_MS);
    if (status != CWL_OK)
        die(cwl_status_name(status));
    cwl_sink_free(sink);
    return 0;
}

static int run(cwl_sink *sink, int64_t run_ms, const char *records_path)
{
    struct pusher pushers[ROLES];
    memset(pushers, 0, sizeof pushers);
    allocate_records(run_ms);
    if (cwl_set_ack_callback(sink, on_acks, NULL) != CWL_OK)
        die("cwl_set_ack_callback");
    open_targets(sink);

    begin_ns = now_ns(CLOCK_MONOTONIC) + START_DELAY_NS;
    end_ns = begin_ns + run_ms * 1000000;
    watch_begin(sink);
    start_pushers(pushers);
    printf("{\"begin_ns\": %" PRId64 "}\n", begin_ns);
    fflush(stdout);
    join_pushers(pushers);
    int64_t pushed_until_ns = now_ns(CLOCK_MONOTONIC);
    watch_end();
    printf("{\"pushed_until_ns\": %" PRId64 ", \"statistics\": ", pushed_until_ns);
    print_statistics(sink);
    printf("}\n");
    fflush(stdout);
    for (int c = getchar(); c != '\n' && c != EOF; c = getchar()) {
        /* the bench removes the faults in the meantime */
    }

    int64_t shutdown_started_ns = now_ns(CLOCK_MONOTONIC);
    cwl_status status = cwl_shutdown(sink, shutdown_limit_ms);
    int64_t shutdown_ns = now_ns(CLOCK_MONOTONIC) - shutdown_started_ns;
    write_records(records_path);
    print_counts(sink, status, shutdown_ns, &pushers[HEALTHY], pushed_until_ns);
    cwl_sink_free(sink);
    return 0;
}

int main(int argc, char **argv)
{
    int arguments_at = argc > 2 && strcmp(argv[2], "run") == 0 ? 5 : 3;
    if (argc <= arguments_at || (arguments_at == 3 && strcmp(argv[2], "prepare") != 0)) {
        fprintf(stderr, "host: want ENDPOINT prepare ARGUMENT..., or ENDPOINT run RUN_MS RECORDS ARGUMENT...\n");
        return 2;
    }
    set_option("endpoint_url", argv[1]);
    for (int i = arguments_at; i < argc; i++)
        parse_argument(argv[i]);
    if (load_count == 0 || loads[0].role != HEALTHY)
        die("the first load is not healthy");
    allocate_messages();
    watch_log();
    cwl_sink *sink = open_sink();
    int code = arguments_at == 5 ? run(sink, strtoll(argv[3], NULL, 10), argv[4]) : prepare(sink);
    free_loads();
    return code;
}
