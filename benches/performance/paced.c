/*
 * Measures the time of single pushes while the workers are busy. One thread pushes at a steady rate, without sleeping,
 * while the sink compresses and sends.
 *
 * The times of the pushes are absolute, so that a long push delays no other. The time of each push includes reading the
 * clock; that cost is reported separately and not subtracted.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "measurements.h"
#include "process.h"
#include "sink.h"

#define WARM_UP_EVENTS 200000
#define CLOCK_READINGS 1000000

static int64_t clock_reading_ns(void)
{
    int64_t started_ns = now_ns(CLOCK_MONOTONIC), last_ns = started_ns;
    for (int i = 0; i < CLOCK_READINGS; i++)
        last_ns = now_ns(CLOCK_MONOTONIC);
    return (last_ns - started_ns) / CLOCK_READINGS;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Returns the percentile by nearest rank: the smallest value that `per_mille` of a thousand values do not exceed. */
static int64_t percentile_ns(const int64_t *sorted, uint64_t count, uint64_t per_mille)
{
    uint64_t rank = (count * per_mille + 999) / 1000;
    return sorted[rank == 0 ? 0 : rank - 1];
}

int measure_paced(const struct request *request)
{
    int64_t rate = request->numbers[0];
    uint64_t events = (uint64_t)(rate * request->numbers[1]);
    struct lines lines = read_lines(request->lines_path);
    int64_t *took_ns = allocate(events, sizeof *took_ns);
    for (uint64_t i = 0; i < events; i++)
        took_ns[i] = -1; /* touched before the clock runs */
    int64_t clock_ns = clock_reading_ns();
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *target = open_target(sink, NULL, NULL);
    struct cursor cursor = cursor_over(&lines);
    push_lines(target, &cursor, lines.bytes, WARM_UP_EVENTS);
    flush(sink);

    cwl_event event = event_now();
    event.message_len = lines.bytes;
    int64_t started_ns = now_ns(CLOCK_MONOTONIC), worst_lateness_ns = 0, after_ns = started_ns;
    for (uint64_t i = 0; i < events; i++) {
        int64_t due_ns = started_ns + (int64_t)i * SECOND_NS / rate;
        event.message = next_line(&cursor);
        int64_t before_ns = now_ns(CLOCK_MONOTONIC);
        while (before_ns < due_ns)
            before_ns = now_ns(CLOCK_MONOTONIC);
        cwl_status status = cwl_target_push(target, &event);
        after_ns = now_ns(CLOCK_MONOTONIC);
        took_ns[i] = after_ns - before_ns;
        if (before_ns - due_ns > worst_lateness_ns)
            worst_lateness_ns = before_ns - due_ns;
        if (status != CWL_OK)
            die("cwl_target_push");
    }
    flush(sink);

    qsort(took_ns, events, sizeof *took_ns, compare_ns);
    printf("{\"p50_ns\": %" PRId64 ", \"p99_ns\": %" PRId64 ", \"p999_ns\": %" PRId64 ", \"max_ns\": %" PRId64
           ", \"clock_ns\": %" PRId64 ", \"worst_late_ms\": %.3f, \"events_per_s\": %.0f, ",
           percentile_ns(took_ns, events, 500), percentile_ns(took_ns, events, 990),
           percentile_ns(took_ns, events, 999), took_ns[events - 1], clock_ns, (double)worst_lateness_ns / 1e6,
           (double)events * (double)SECOND_NS / (double)(after_ns - started_ns));
    print_counts(sink);
    cwl_target_free(target);
    end_sink(sink);
    free(took_ns);
    free_lines(&lines);
    return 0;
}
