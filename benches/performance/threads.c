/*
 * Measures one thread beside two, on one target and on two.
 *
 * One process runs rounds of the three kinds in turn. In each kind every target gets the same number of events, so that
 * the batches grow alike. Two threads start a round at a spin barrier, because waking up from a futex would take longer
 * than a part of the round. A round ends when the last thread is done. Between two rounds the second thread sleeps, and
 * the sink is flushed.
 *
 * The same rounds of the plain escape loop, which shares nothing, show how well the machine runs two threads at the
 * time.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "escape.h"
#include "measurements.h"
#include "process.h"
#include "sink.h"

#define TARGET_EVENTS 4800
#define WARM_UP_ROUNDS 10

/* The work of the second thread, and the two barriers around it. The clock includes only the spin barrier. */
static struct {
    pthread_barrier_t wake, done;
    const struct lines *lines;
    bool end;
    cwl_target *target; /* NULL: the thread only escapes */
    char *buffer;
    uint64_t events;
    int64_t end_ns;
    int ready, released;
} helper;

/* Uses the result of every escape loop, so that the compiler keeps the loop. Each thread adds to it once a round. */
static uint64_t escaped_bytes;

/* Pushes to the target, or only escapes when the target is NULL. */
static void work(cwl_target *target, struct cursor *cursor, uint64_t events, char *buffer)
{
    if (target != NULL) {
        push_lines(target, cursor, helper.lines->bytes, events);
        return;
    }
    char *out = buffer;
    for (uint64_t event = 0; event < events; event++)
        out = escape(next_line(cursor), helper.lines->bytes, out);
    __atomic_fetch_add(&escaped_bytes, (uint64_t)(out - buffer), __ATOMIC_RELAXED);
}

static void *run_helper(void *unused)
{
    (void)unused;
    struct cursor cursor = cursor_over(helper.lines);
    for (;;) {
        pthread_barrier_wait(&helper.wake);
        if (helper.end)
            return NULL;
        __atomic_store_n(&helper.ready, 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&helper.released, __ATOMIC_ACQUIRE) == 0) {
            /* spins */
        }
        work(helper.target, &cursor, helper.events, helper.buffer);
        helper.end_ns = now_ns(CLOCK_MONOTONIC);
        pthread_barrier_wait(&helper.done);
    }
}

static int64_t one_thread(cwl_sink *sink, cwl_target *target, struct cursor *cursor, char *buffer)
{
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    work(target, cursor, TARGET_EVENTS, buffer);
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - started_ns;
    flush(sink);
    return took_ns;
}

/* Pushes `events` events from each thread, to one target or to two. */
static int64_t two_threads(cwl_sink *sink, cwl_target *own, cwl_target *helpers, struct cursor *cursor, uint64_t events,
                           char *buffer)
{
    helper.target = helpers;
    helper.events = events;
    helper.ready = helper.released = 0;
    pthread_barrier_wait(&helper.wake);
    while (__atomic_load_n(&helper.ready, __ATOMIC_ACQUIRE) == 0) {
        /* spins */
    }
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    __atomic_store_n(&helper.released, 1, __ATOMIC_RELEASE);
    work(own, cursor, events, buffer);
    int64_t end_ns = now_ns(CLOCK_MONOTONIC);
    pthread_barrier_wait(&helper.done);
    flush(sink);
    return (end_ns > helper.end_ns ? end_ns : helper.end_ns) - started_ns;
}

int measure_threads(const struct request *request)
{
    size_t rounds = (size_t)request->numbers[0];
    struct lines lines = read_lines(request->lines_path);
    int64_t *one_ns = allocate(rounds, sizeof *one_ns);
    int64_t *one_target_ns = allocate(rounds, sizeof *one_target_ns);
    int64_t *two_targets_ns = allocate(rounds, sizeof *two_targets_ns);
    int64_t *one_loop_ns = allocate(rounds, sizeof *one_loop_ns);
    int64_t *two_loops_ns = allocate(rounds, sizeof *two_loops_ns);
    char *buffer = allocate(TARGET_EVENTS, ESCAPED_BYTES_MAX(lines.bytes));
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *first = open_target(sink, NULL, NULL), *second = open_target(sink, NULL, "host-2");
    struct cursor cursor = cursor_over(&lines);
    pthread_t thread;
    helper.lines = &lines;
    helper.buffer = allocate(TARGET_EVENTS, ESCAPED_BYTES_MAX(lines.bytes));
    if (pthread_barrier_init(&helper.wake, NULL, 2) != 0 || pthread_barrier_init(&helper.done, NULL, 2) != 0
        || pthread_create(&thread, NULL, run_helper, NULL) != 0)
        fail("the second thread");

    for (size_t round = 0; round < WARM_UP_ROUNDS + rounds; round++) {
        size_t kept = round < WARM_UP_ROUNDS ? 0 : round - WARM_UP_ROUNDS;
        one_ns[kept] = one_thread(sink, first, &cursor, buffer);
        one_target_ns[kept] = two_threads(sink, first, first, &cursor, TARGET_EVENTS / 2, buffer);
        two_targets_ns[kept] = two_threads(sink, first, second, &cursor, TARGET_EVENTS, buffer);
        one_loop_ns[kept] = one_thread(sink, NULL, &cursor, buffer);
        two_loops_ns[kept] = two_threads(sink, NULL, NULL, &cursor, TARGET_EVENTS, buffer);
    }
    helper.end = true;
    pthread_barrier_wait(&helper.wake);
    pthread_join(thread, NULL);

    printf("{\"events\": {\"one_ns\": %d, \"one_target_ns\": %d, \"two_targets_ns\": %d, "
           "\"one_loop_ns\": %d, \"two_loops_ns\": %d}, ",
           TARGET_EVENTS, TARGET_EVENTS, 2 * TARGET_EVENTS, TARGET_EVENTS, 2 * TARGET_EVENTS);
    print_array("one_ns", one_ns, rounds);
    print_array("one_target_ns", one_target_ns, rounds);
    print_array("two_targets_ns", two_targets_ns, rounds);
    print_array("one_loop_ns", one_loop_ns, rounds);
    print_array("two_loops_ns", two_loops_ns, rounds);
    print_counts(sink);
    cwl_target_free(second);
    cwl_target_free(first);
    end_sink(sink);
    free(helper.buffer);
    free(buffer);
    free(two_loops_ns);
    free(one_loop_ns);
    free(two_targets_ns);
    free(one_target_ns);
    free(one_ns);
    free_lines(&lines);
    return 0;
}
