/*
 * One thread beside two, on one target and on two.
 *
 * By turns in one process, rounds of the three kinds; in each of them every target gets as many events, so that batches
 * grow alike. Two threads start a round at a spin barrier, since waking from a futex would take longer than part of a
 * round; it has ended when the last of them is done. Between rounds the second thread sleeps, and the sink is flushed.
 *
 * The same rounds of the plain escape loop, which shares nothing, tell what the machine has two threads do at the time.
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

/* What the second thread is to do, and the two barriers around it; only the spin barrier is within the clock. */
static struct {
    pthread_barrier_t wake, done;
    const struct lines *lines;
    bool end;
    cwl_target *target; /* NULL: only escapes */
    char *room;
    uint64_t events;
    int64_t ended_ns;
    int ready, released;
} helper;

/* So that no escape loop is left out as unused; each thread adds to it once a round. */
static uint64_t escaped_bytes;

/* Pushes to the target, or only escapes where there is none. */
static void work(cwl_target *target, struct cursor *cursor, uint64_t events, char *room)
{
    if (target != NULL) {
        push_lines(target, cursor, helper.lines->bytes, events);
        return;
    }
    char *out = room;
    for (uint64_t event = 0; event < events; event++)
        out = escape(next_line(cursor), helper.lines->bytes, out);
    __atomic_fetch_add(&escaped_bytes, (uint64_t)(out - room), __ATOMIC_RELAXED);
}

static void *help(void *unused)
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
        work(helper.target, &cursor, helper.events, helper.room);
        helper.ended_ns = now_ns(CLOCK_MONOTONIC);
        pthread_barrier_wait(&helper.done);
    }
}

static int64_t one_thread(cwl_sink *sink, cwl_target *target, struct cursor *cursor, char *room)
{
    int64_t begun_ns = now_ns(CLOCK_MONOTONIC);
    work(target, cursor, TARGET_EVENTS, room);
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - begun_ns;
    flush(sink);
    return took_ns;
}

/* So many events by each thread, to a target each or to the same. */
static int64_t two_threads(cwl_sink *sink, cwl_target *own, cwl_target *helpers, struct cursor *cursor, uint64_t events,
                           char *room)
{
    helper.target = helpers;
    helper.events = events;
    helper.ready = helper.released = 0;
    pthread_barrier_wait(&helper.wake);
    while (__atomic_load_n(&helper.ready, __ATOMIC_ACQUIRE) == 0) {
        /* spins */
    }
    int64_t begun_ns = now_ns(CLOCK_MONOTONIC);
    __atomic_store_n(&helper.released, 1, __ATOMIC_RELEASE);
    work(own, cursor, events, room);
    int64_t ended_ns = now_ns(CLOCK_MONOTONIC);
    pthread_barrier_wait(&helper.done);
    flush(sink);
    return (ended_ns > helper.ended_ns ? ended_ns : helper.ended_ns) - begun_ns;
}

int measure_threads(const struct request *request)
{
    size_t rounds = (size_t)request->numbers[0];
    struct lines lines = read_lines(request->lines_path);
    int64_t *one_ns = allocated(rounds, sizeof *one_ns);
    int64_t *one_target_ns = allocated(rounds, sizeof *one_target_ns);
    int64_t *two_targets_ns = allocated(rounds, sizeof *two_targets_ns);
    int64_t *one_loop_ns = allocated(rounds, sizeof *one_loop_ns);
    int64_t *two_loops_ns = allocated(rounds, sizeof *two_loops_ns);
    char *room = allocated(TARGET_EVENTS, ESCAPED_MOST(lines.bytes));
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *first = open_target(sink, NULL, NULL), *second = open_target(sink, NULL, "host-2");
    struct cursor cursor = cursor_over(&lines);
    pthread_t thread;
    helper.lines = &lines;
    helper.room = allocated(TARGET_EVENTS, ESCAPED_MOST(lines.bytes));
    if (pthread_barrier_init(&helper.wake, NULL, 2) != 0 || pthread_barrier_init(&helper.done, NULL, 2) != 0
        || pthread_create(&thread, NULL, help, NULL) != 0)
        fail("the second thread");

    for (size_t round = 0; round < WARM_UP_ROUNDS + rounds; round++) {
        size_t kept = round < WARM_UP_ROUNDS ? 0 : round - WARM_UP_ROUNDS;
        one_ns[kept] = one_thread(sink, first, &cursor, room);
        one_target_ns[kept] = two_threads(sink, first, first, &cursor, TARGET_EVENTS / 2, room);
        two_targets_ns[kept] = two_threads(sink, first, second, &cursor, TARGET_EVENTS, room);
        one_loop_ns[kept] = one_thread(sink, NULL, &cursor, room);
        two_loops_ns[kept] = two_threads(sink, NULL, NULL, &cursor, TARGET_EVENTS, room);
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
    free(helper.room);
    free(room);
    free(two_loops_ns);
    free(one_loop_ns);
    free(two_targets_ns);
    free(one_target_ns);
    free(one_ns);
    free_lines(&lines);
    return 0;
}
