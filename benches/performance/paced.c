/*
 * What single pushes take while the workers are busy: one thread pushes at a steady rate, without sleeping, while the
 * sink compresses and sends what it has pushed.
 *
 * The times of the pushes are absolute, so that one that took long delays no other. The clock's own cost is within each
 * push's time; it is told, not subtracted.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "measurements.h"
#include "process.h"
#include "sink.h"

#define WARM_UP_EVENTS 200000
#define CLOCK_READINGS 1000000

static int64_t nanoseconds_of_a_clock_reading(void)
{
    int64_t begun_ns = now_ns(CLOCK_MONOTONIC), last_ns = begun_ns;
    for (int i = 0; i < CLOCK_READINGS; i++)
        last_ns = now_ns(CLOCK_MONOTONIC);
    return (last_ns - begun_ns) / CLOCK_READINGS;
}

static int by_size(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Nearest rank: the smallest that so many of a thousand do not exceed. */
static int64_t per_mille(const int64_t *sorted, uint64_t count, uint64_t share)
{
    uint64_t rank = (count * share + 999) / 1000;
    return sorted[rank == 0 ? 0 : rank - 1];
}

int measure_paced(const struct request *request)
{
    int64_t rate = request->numbers[0];
    uint64_t events = (uint64_t)(rate * request->numbers[1]);
    struct lines lines = read_lines(request->lines_path);
    int64_t *took_ns = allocated(events, sizeof *took_ns);
    for (uint64_t i = 0; i < events; i++)
        took_ns[i] = -1; /* touched before the clock runs */
    int64_t clock_ns = nanoseconds_of_a_clock_reading();
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *target = open_target(sink, NULL, NULL);
    struct cursor cursor = cursor_over(&lines);
    push_lines(target, &cursor, lines.bytes, WARM_UP_EVENTS);
    flush(sink);

    cwl_event event = event_of_now();
    event.message_len = lines.bytes;
    int64_t begun_ns = now_ns(CLOCK_MONOTONIC), worst_late_ns = 0, after_ns = begun_ns;
    for (uint64_t i = 0; i < events; i++) {
        int64_t due_ns = begun_ns + (int64_t)i * SECOND_NS / rate;
        event.message = next_line(&cursor);
        int64_t before_ns = now_ns(CLOCK_MONOTONIC);
        while (before_ns < due_ns)
            before_ns = now_ns(CLOCK_MONOTONIC);
        cwl_status status = cwl_target_push(target, &event);
        after_ns = now_ns(CLOCK_MONOTONIC);
        took_ns[i] = after_ns - before_ns;
        if (before_ns - due_ns > worst_late_ns)
            worst_late_ns = before_ns - due_ns;
        if (status != CWL_OK)
            die("cwl_target_push");
    }
    flush(sink);

    qsort(took_ns, events, sizeof *took_ns, by_size);
    printf("{\"p50_ns\": %" PRId64 ", \"p99_ns\": %" PRId64 ", \"p999_ns\": %" PRId64 ", \"max_ns\": %" PRId64
           ", \"clock_ns\": %" PRId64 ", \"worst_late_ms\": %.3f, \"events_per_s\": %.0f, ",
           per_mille(took_ns, events, 500), per_mille(took_ns, events, 990), per_mille(took_ns, events, 999),
           took_ns[events - 1], clock_ns, (double)worst_late_ns / 1e6,
           (double)events * (double)SECOND_NS / (double)(after_ns - begun_ns));
    print_counts(sink);
    cwl_target_free(target);
    end_sink(sink);
    free(took_ns);
    free_lines(&lines);
    return 0;
}
