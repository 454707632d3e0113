/*
 * Measures the resident memory while an hour's worth of events is pushed as fast as it is accepted and the endpoint
 * stalls now and then (run.py makes it stall). The figure is the most memory beyond that of the process before the sink
 * was opened.
 *
 * The figure comes from the kernel's high-water mark. A thread that samples every 10 ms reports the same independently.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "measurements.h"
#include "process.h"
#include "sink.h"

#define SAMPLE_INTERVAL_NS INT64_C(10000000)
#define IDLE_SECONDS 10
/* One target may hold only a quarter of the default buffer_max_bytes; eight targets fill it. */
#define TARGETS 8
#define RUN_EVENTS 10

static struct {
    int ended;
    int64_t max_kb;
} sampler;

static void *sample(void *unused)
{
    (void)unused;
    for (int64_t sample_ns = now_ns(CLOCK_MONOTONIC); __atomic_load_n(&sampler.ended, __ATOMIC_ACQUIRE) == 0;
         sample_ns += SAMPLE_INTERVAL_NS) {
        sleep_until(sample_ns);
        int64_t kb = rss_kb();
        if (kb > sampler.max_kb)
            sampler.max_kb = kb;
    }
    return NULL;
}

static void push_in_turn(cwl_target *const targets[TARGETS], const struct lines *lines, uint64_t events)
{
    struct cursor cursor = cursor_over(lines);
    for (uint64_t pushed = 0, run = 0; pushed < events; pushed += RUN_EVENTS, run++)
        push_lines(targets[run % TARGETS], &cursor, lines->bytes, RUN_EVENTS);
}

int measure_memory(const struct request *request)
{
    struct lines lines = read_lines(request->lines_path);
    pthread_t thread;
    if (pthread_create(&thread, NULL, sample, NULL) != 0)
        fail("pthread_create");
    int64_t before_kb = rss_kb();
    reset_peak();
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *targets[TARGETS];
    for (int i = 0; i < TARGETS; i++) {
        char stream[32];
        snprintf(stream, sizeof stream, "host-%d", i);
        targets[i] = open_target(sink, NULL, stream);
    }

    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    push_in_turn(targets, &lines, (uint64_t)request->numbers[0]);
    flush(sink);
    int64_t wall_us = (now_ns(CLOCK_MONOTONIC) - started_ns) / 1000, peak_kb = peak_rss_kb();
    __atomic_store_n(&sampler.ended, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    sleep_until(now_ns(CLOCK_MONOTONIC) + IDLE_SECONDS * SECOND_NS);
    int64_t idle_kb = rss_kb();

    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    if (cwl_stats(sink, &stats) != CWL_OK)
        die("cwl_stats");
    printf("{\"before_kb\": %" PRId64 ", \"peak_kb\": %" PRId64 ", \"sampled_kb\": %" PRId64 ", \"idle_kb\": %" PRId64
           ", \"wall_us\": %" PRId64 ", \"buffered_bytes_peak\": %" PRIu64 ", \"batches_retried\": %" PRIu64 ", ",
           before_kb, peak_kb, sampler.max_kb, idle_kb, wall_us, stats.buffered_bytes_peak, stats.batches_retried);
    print_counts(sink);
    for (int i = 0; i < TARGETS; i++)
        cwl_target_free(targets[i]);
    end_sink(sink);
    free_lines(&lines);
    return 0;
}
