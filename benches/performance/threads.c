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

static int64_t run_one_thread(cwl_sink *sink, cwl_target *target, struct cursor *cursor, char *buffer)
{
    int64_t started_ns = now_ns(CLOCK_MONOTONIC);
    work(target, cursor, TARGET_EVENTS, buffer);
    int64_t took_ns = now_ns(CLOCK_MONOTONIC) - started_ns;
    flush(sink);
    return took_ns;
}

/* Pushes `events` events from each thread, to one target or to two. */
static int64_t run_two_threads(cwl_sink *sink, cwl_target *own, cwl_target *helpers, struct cursor *cursor,
                               uint64_t events, char *buffer)
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

enum kind { ONE, ONE_TARGET, TWO_TARGETS, ONE_LOOP, TWO_LOOPS, KINDS };

/* Each kind of round: its name in the result, and its number of events. */
static const struct {
    const char *name;
    int events;
} kinds[KINDS] = {
    [ONE] = { "one_ns", TARGET_EVENTS },
    [ONE_TARGET] = { "one_target_ns", TARGET_EVENTS },
    [TWO_TARGETS] = { "two_targets_ns", 2 * TARGET_EVENTS },
    [ONE_LOOP] = { "one_loop_ns", TARGET_EVENTS },
    [TWO_LOOPS] = { "two_loops_ns", 2 * TARGET_EVENTS },
};

/* The durations of a kind's rounds, each kind in an array of its own. */
typedef int64_t *durations[KINDS];

/* Runs one round of each kind. The durations of the warm-up rounds are overwritten. */
static void run_round(cwl_sink *sink, cwl_target *const targets[2], struct cursor *cursor, char *buffer,
                      durations took_ns, size_t round)
{
    size_t kept = round < WARM_UP_ROUNDS ? 0 : round - WARM_UP_ROUNDS;
    took_ns[ONE][kept] = run_one_thread(sink, targets[0], cursor, buffer);
    took_ns[ONE_TARGET][kept] = run_two_threads(sink, targets[0], targets[0], cursor, TARGET_EVENTS / 2, buffer);
    took_ns[TWO_TARGETS][kept] = run_two_threads(sink, targets[0], targets[1], cursor, TARGET_EVENTS, buffer);
    took_ns[ONE_LOOP][kept] = run_one_thread(sink, NULL, cursor, buffer);
    took_ns[TWO_LOOPS][kept] = run_two_threads(sink, NULL, NULL, cursor, TARGET_EVENTS, buffer);
}

static void print_durations(durations took_ns, size_t rounds)
{
    printf("{\"events\": {");
    for (int kind = 0; kind < KINDS; kind++)
        printf("%s\"%s\": %d", kind == 0 ? "" : ", ", kinds[kind].name, kinds[kind].events);
    printf("}, ");
    for (int kind = 0; kind < KINDS; kind++)
        print_array(kinds[kind].name, took_ns[kind], rounds);
}

int measure_threads(const struct request *request)
{
    size_t rounds = (size_t)request->numbers[0];
    struct lines lines = read_lines(request->lines_path);
    durations took_ns;
    for (int kind = 0; kind < KINDS; kind++)
        took_ns[kind] = allocate(rounds, sizeof *took_ns[kind]);
    char *buffer = allocate(TARGET_EVENTS, ESCAPED_BYTES_MAX(lines.bytes));
    cwl_sink *sink = open_sink(request->endpoint, request->option_count, request->options);
    cwl_target *targets[2] = { open_target(sink, NULL, NULL), open_target(sink, NULL, "host-2") };
    struct cursor cursor = cursor_over(&lines);
    pthread_t thread;
    helper.lines = &lines;
    helper.buffer = allocate(TARGET_EVENTS, ESCAPED_BYTES_MAX(lines.bytes));
    if (pthread_barrier_init(&helper.wake, NULL, 2) != 0 || pthread_barrier_init(&helper.done, NULL, 2) != 0
        || pthread_create(&thread, NULL, run_helper, NULL) != 0)
        fail("the second thread");

    for (size_t round = 0; round < WARM_UP_ROUNDS + rounds; round++)
        run_round(sink, targets, &cursor, buffer, took_ns, round);
    helper.end = true;
    pthread_barrier_wait(&helper.wake);
    pthread_join(thread, NULL);

    print_durations(took_ns, rounds);
    print_counts(sink);
    cwl_target_free(targets[1]);
    cwl_target_free(targets[0]);
    end_sink(sink);
    free(helper.buffer);
    free(buffer);
    for (int kind = 0; kind < KINDS; kind++)
        free(took_ns[kind]);
    free_lines(&lines);
    return 0;
}
