/*
 * Counts how often the library's threads wake up when nothing happens. An open sink has delivered an event; then the
 * voluntary context switches of all threads except the main thread are counted, while the main thread sleeps.
 */

#include <inttypes.h>
#include <stdio.h>

#include "measurements.h"
#include "process.h"
#include "sink.h"

#define SETTLE_SECONDS 2

int measure_idle(const struct request *request)
{
    struct lines lines = read_lines(request->lines_path);
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *target = open_target(sink, NULL, NULL);
    struct cursor cursor = cursor_over(&lines);
    push_lines(target, &cursor, lines.bytes, 1);
    flush(sink);
    sleep_until(now_ns(CLOCK_MONOTONIC) + SETTLE_SECONDS * SECOND_NS);

    struct switches before = other_threads_switches();
    int64_t cpu_before_us = cpu_us();
    sleep_until(now_ns(CLOCK_MONOTONIC) + request->numbers[0] * SECOND_NS);
    int64_t used_us = cpu_us() - cpu_before_us;
    struct switches after = other_threads_switches();

    /* The count of a thread that ended is missing, so the numbers of threads are printed too. */
    printf("{\"wakeups\": %" PRId64 ", \"threads_before\": %" PRId64 ", \"threads_after\": %" PRId64
           ", \"cpu_us\": %" PRId64 ", ",
           after.voluntary - before.voluntary, before.threads, after.threads, used_us);
    print_counts(sink);
    cwl_target_free(target);
    end_sink(sink);
    free_lines(&lines);
    return 0;
}
