/*
 * Measures pushes beside the plain escape loop.
 *
 * One process runs in turn a round of the escape loop, of cwl_target_push and of cwl_push_event, over the same lines. A
 * round fits into one open batch, which is not sent before the end of the round. So the clock measures only the hot
 * path.
 */

#include <stdio.h>
#include <stdlib.h>

#include "escape.h"
#include "measurements.h"
#include "process.h"
#include "sink.h"

/* 5,000 × (126 + 26) bytes, as the service counts them: below the 1,048,576 bytes and 10,000 events of a batch. */
#define ROUND_EVENTS 5000
#define WARM_UP_ROUNDS 10

static int64_t run_escape_round(struct cursor *cursor, size_t bytes, char *buffer)
{
    char *out = buffer;
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < ROUND_EVENTS; i++)
        out = escape(next_line(cursor), bytes, out);
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - started_ns;
    __asm__ __volatile__("" : : "r"(buffer), "r"(out) : "memory"); /* makes the compiler keep the result */
    return took_ns;
}

static int64_t run_target_round(cwl_sink *sink, cwl_target *target, struct cursor *cursor, size_t bytes)
{
    cwl_event event = event_now();
    event.message_len = bytes;
    int refused = 0;
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < ROUND_EVENTS; i++) {
        event.message = next_line(cursor);
        refused += cwl_target_push(target, &event) != CWL_OK;
    }
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - started_ns;
    if (refused != 0)
        die("cwl_target_push");
    flush(sink);
    return took_ns;
}

static int64_t run_event_round(cwl_sink *sink, struct cursor *cursor, size_t bytes)
{
    cwl_event event = event_now();
    event.log_group = "/prod/service-017/application";
    event.log_stream = "ip-10-0-12-34.eu-central-1/container/0123";
    event.message_len = bytes;
    int refused = 0;
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < ROUND_EVENTS; i++) {
        event.message = next_line(cursor);
        refused += cwl_push_event(sink, &event) != CWL_OK;
    }
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - started_ns;
    if (refused != 0)
        die("cwl_push_event");
    flush(sink);
    return took_ns;
}

int measure_push(const struct request *request)
{
    size_t rounds = (size_t)request->numbers[0];
    struct lines lines = read_lines(request->lines_path);
    char *buffer = allocate(ROUND_EVENTS, ESCAPED_BYTES_MAX(lines.bytes));
    int64_t *escape_ns = allocate(rounds, sizeof *escape_ns);
    int64_t *push_ns = allocate(rounds, sizeof *push_ns);
    int64_t *push_event_ns = allocate(rounds, sizeof *push_event_ns);
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *target = open_target(sink, NULL, NULL);

    /* Each kind has its own cursor, so that the kinds use the same lines in each round. */
    struct cursor escaped = cursor_over(&lines), pushed = escaped, by_name = escaped;
    for (size_t round = 0; round < WARM_UP_ROUNDS + rounds; round++) {
        size_t kept = round < WARM_UP_ROUNDS ? 0 : round - WARM_UP_ROUNDS;
        escape_ns[kept] = run_escape_round(&escaped, lines.bytes, buffer);
        push_ns[kept] = run_target_round(sink, target, &pushed, lines.bytes);
        push_event_ns[kept] = run_event_round(sink, &by_name, lines.bytes);
    }

    printf("{\"events\": %d, ", ROUND_EVENTS);
    print_array("escape_ns", escape_ns, rounds);
    print_array("push_ns", push_ns, rounds);
    print_array("push_event_ns", push_event_ns, rounds);
    print_counts(sink);
    cwl_target_free(target);
    end_sink(sink);
    free(push_event_ns);
    free(push_ns);
    free(escape_ns);
    free(buffer);
    free_lines(&lines);
    return 0;
}
