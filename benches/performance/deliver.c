/*
 * Measures the CPU time for each event from the push to the answer: everything that the host's process does for it. The
 * endpoint is another process.
 *
 * The events go to the targets in turn, a few in a row to each. The warm-up has a tenth of the events, or as many for
 * each target as fill a batch of the size that the bench allows, whichever is more. So every page that the events need
 * exists before the measurement.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "measurements.h"
#include "process.h"
#include "sink.h"

#define RUN_EVENTS 10
#define WARM_UP_TARGET_EVENTS 2500

/* The pushes are alike for one target and for many, so that the two can be compared. */
static void push_in_runs(cwl_target *const *targets, uint64_t count, struct cursor *cursor, size_t bytes,
                         uint64_t events)
{
    cwl_event event = { 0 };
    uint64_t target = 0;
    for (uint64_t pushed = 0; pushed < events; pushed++) {
        if (pushed % EVENTS_PER_TIMESTAMP == 0) {
            event = event_now();
            event.message_len = bytes;
        }
        event.message = next_line(cursor);
        if (cwl_target_push(targets[target], &event) != CWL_OK)
            die("cwl_target_push");
        if (pushed % RUN_EVENTS == RUN_EVENTS - 1 && ++target == count)
            target = 0;
    }
}

int measure_deliver(const struct request *request)
{
    uint64_t events = (uint64_t)request->numbers[0], count = (uint64_t)request->numbers[1];
    struct lines lines = read_lines(request->lines_path);
    cwl_target **targets = allocate(count, sizeof(cwl_target *));
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    for (uint64_t i = 0; i < count; i++) {
        char stream[32];
        snprintf(stream, sizeof stream, "host-%" PRIu64, i);
        targets[i] = open_target(sink, NULL, stream);
    }
    struct cursor cursor = cursor_over(&lines);
    uint64_t warm_up = count * WARM_UP_TARGET_EVENTS > events / 10 ? count * WARM_UP_TARGET_EVENTS : events / 10;
    push_in_runs(targets, count, &cursor, lines.bytes, warm_up);
    flush(sink);

    int64_t cpu_before_us = cpu_us(), started_ns = now_ns(CLOCK_MONOTONIC);
    push_in_runs(targets, count, &cursor, lines.bytes, events);
    flush(sink);
    int64_t wall_us = (now_ns(CLOCK_MONOTONIC) - started_ns) / 1000, used_us = cpu_us() - cpu_before_us;

    printf("{\"events\": %" PRIu64 ", \"cpu_us\": %" PRId64 ", \"wall_us\": %" PRId64 ", ", events, used_us, wall_us);
    print_counts(sink);
    for (uint64_t i = 0; i < count; i++)
        cwl_target_free(targets[i]);
    end_sink(sink);
    free(targets);
    free_lines(&lines);
    return 0;
}
