/*
 * Measures many targets that have an event now and then.
 *
 * First each target is created by one event, which is not part of the measurement. Then events come at a steady rate,
 * each for another target than the one before. They are pushed by name, like an agent that keeps no handles. One thread
 * pushes in ticks and fetches the acks in between; the CPU time includes its own work. The host's own memory has the
 * same size for one target as for many.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "measurements.h"
#include "process.h"
#include "sink.h"

#define TICK_NS INT64_C(5000000)
#define STREAMS_PER_GROUP 1000
#define ACKS_AT_ONCE 512
#define OPENING_SECONDS 240
#define OPENINGS_AT_ONCE 1000
#define TAIL_SECONDS 30
/* Coprime to every number of targets that the bench uses, so that steps of this size reach every target. */
#define STRIDE 7919
#define OPENING_TOKEN UINT64_MAX
/* Enough for ten minutes at 1,667 events a second. */
#define EVENTS_MAX 1000000

static struct {
    cwl_sink *sink;
    struct cursor cursor;
    size_t bytes;
    uint64_t targets;
    int64_t *pushed_ns; /* indexed by token */
    uint64_t accepted, delivered, undelivered;
    int64_t worst_delivery_ns;
} many;

static cwl_status push_to(uint64_t target, uint64_t token)
{
    char group[64], stream[64];
    uint64_t number = target % STREAMS_PER_GROUP;
    snprintf(group, sizeof group, "/prod/service-%03" PRIu64 "/application", target / STREAMS_PER_GROUP);
    snprintf(stream, sizeof stream, "ip-10-0-%" PRIu64 "-%" PRIu64 ".eu-central-1/container/%04" PRIu64, number / 50,
             number % 50, number);
    cwl_event event = event_now();
    event.log_group = group;
    event.log_stream = stream;
    event.message = next_line(&many.cursor);
    event.message_len = many.bytes;
    event.token = token;
    return cwl_push_event(many.sink, &event);
}

static void count_ack(const cwl_ack *ack, int64_t acked_ns)
{
    many.delivered += ack->outcome == CWL_DELIVERED;
    many.undelivered += ack->outcome != CWL_DELIVERED;
    if (ack->token == OPENING_TOKEN)
        return;
    int64_t took_ns = acked_ns - many.pushed_ns[ack->token];
    if (took_ns > many.worst_delivery_ns)
        many.worst_delivery_ns = took_ns;
}

/* Fetches the acks that are there. Waits at most `timeout_ms` for the first one. */
static void fetch_acks(int64_t timeout_ms)
{
    cwl_ack acks[ACKS_AT_ONCE];
    int64_t count;
    do {
        acks[0].struct_size = sizeof acks[0];
        count = cwl_poll_acks(many.sink, acks, ACKS_AT_ONCE, timeout_ms);
        if (count < 0)
            die("cwl_poll_acks");
        int64_t acked_ns = now_ns(CLOCK_MONOTONIC);
        for (int64_t i = 0; i < count; i++)
            count_ack(&acks[i], acked_ns);
        timeout_ms = 0;
    } while (count == ACKS_AT_ONCE);
}

/* Fetches acks until every accepted event has one, or the time is over. */
static void wait_for_acks(int64_t seconds)
{
    int64_t deadline_ns = now_ns(CLOCK_MONOTONIC) + seconds * SECOND_NS;
    while (many.delivered + many.undelivered < many.accepted && now_ns(CLOCK_MONOTONIC) < deadline_ns)
        fetch_acks(100);
}

static void deliver_all(void)
{
    cwl_flush(many.sink, 0);
    wait_for_acks(OPENING_SECONDS);
    if (many.delivered < many.accepted)
        fail("not all targets were opened in time");
}

/*
 * Pushes one event for each target, a limited number at once: if a hundred thousand targets waited to be created, the
 * bench would measure the backlog. When there is no room, the acks make room.
 */
static double open_all(void)
{
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    for (uint64_t target = 0; target < many.targets; target++) {
        cwl_status status;
        while ((status = push_to(target, OPENING_TOKEN)) == CWL_ERR_FULL) {
            cwl_flush(many.sink, 0);
            fetch_acks(20);
        }
        if (status != CWL_OK)
            die("cwl_push_event");
        many.accepted++;
        if ((target + 1) % OPENINGS_AT_ONCE == 0)
            deliver_all();
    }
    deliver_all();
    return (double)(now_ns(CLOCK_MONOTONIC) - started_ns) / 1e9;
}

int measure_many(const struct request *request)
{
    int64_t rate = request->numbers[1], seconds = request->numbers[2];
    if (rate * seconds > EVENTS_MAX)
        fail("too many events");
    struct lines lines = read_lines(request->lines_path);
    many.cursor = cursor_over(&lines);
    many.bytes = lines.bytes;
    many.targets = (uint64_t)request->numbers[0];
    many.pushed_ns = allocate(EVENTS_MAX, sizeof *many.pushed_ns);
    for (size_t i = 0; i < EVENTS_MAX; i++)
        many.pushed_ns[i] = 1; /* touched, so that it takes the same memory in every run */
    many.sink = open_sink(request->endpoint, request->option_count, request->options);
    fetch_acks(0); /* the first poll enables acks */
    double opening_s = open_all();

    int64_t max_kb = rss_kb(), worst_lateness_ns = 0;
    int64_t cpu_before_us = cpu_us(), started_ns = now_ns(CLOCK_MONOTONIC), end_ns = started_ns + seconds * SECOND_NS;
    uint64_t pushed = 0, target = 0;
    for (int64_t tick_ns = started_ns, ticks = 0; tick_ns < end_ns; tick_ns += TICK_NS, ticks++) {
        sleep_until(tick_ns);
        int64_t awake_ns = now_ns(CLOCK_MONOTONIC);
        if (awake_ns - tick_ns > worst_lateness_ns)
            worst_lateness_ns = awake_ns - tick_ns;
        uint64_t due = (uint64_t)((tick_ns + TICK_NS - started_ns) * rate / SECOND_NS);
        for (; pushed < due; pushed++, target = (target + STRIDE) % many.targets) {
            many.pushed_ns[pushed] = now_ns(CLOCK_MONOTONIC);
            if (push_to(target, pushed) != CWL_OK)
                die("cwl_push_event");
            many.accepted++;
        }
        fetch_acks(0);
        if (ticks % 200 == 0 && rss_kb() > max_kb)
            max_kb = rss_kb();
    }
    int64_t used_us = cpu_us() - cpu_before_us, wall_us = (now_ns(CLOCK_MONOTONIC) - started_ns) / 1000;
    int64_t end_kb = rss_kb();
    wait_for_acks(TAIL_SECONDS);

    printf("{\"events\": %" PRIu64 ", \"opening_s\": %.2f, \"rss_kb\": %" PRId64 ", \"rss_end_kb\": %" PRId64
           ", \"cpu_us\": %" PRId64 ", \"wall_us\": %" PRId64
           ", \"worst_delivery_s\": %.3f, \"worst_late_ms\": %.3f, \"acked_delivered\": %" PRIu64
           ", \"acked_otherwise\": %" PRIu64 ", ",
           pushed, opening_s, max_kb, end_kb, used_us, wall_us, (double)many.worst_delivery_ns / 1e9,
           (double)worst_lateness_ns / 1e6, many.delivered, many.undelivered);
    print_counts(many.sink);
    end_sink(many.sink);
    free(many.pushed_ns);
    free_lines(&lines);
    return 0;
}
