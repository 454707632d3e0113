/*
 * Tests shipping: pushes from several threads and by every function, and the outcomes. Tests the log callback, from
 * which a host may push but not wait.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "check.h"

enum { THREADS = 6, EVENTS_EACH = 2000, EVENTS_AT_ONCE = 50 };

static const char *endpoint;

static cwl_sink *open_local(const char *test)
{
    return open_sink(test_config(endpoint, test));
}

/* ---- many threads, three push functions ---- */

struct pusher {
    cwl_sink *sink;
    int number;
    uint64_t bytes;
};

static cwl_event numbered_event(struct pusher *pusher, int i, char *text, size_t size)
{
    snprintf(text, size, "thread %d, event %d", pusher->number, i);
    pusher->bytes += strlen(text);
    return test_event(text);
}

static void push_one_by_one(struct pusher *pusher)
{
    for (int i = 0; i < EVENTS_EACH; i++) {
        char text[64];
        cwl_event event = numbered_event(pusher, i, text, sizeof text);
        CHECK_STATUS(CWL_OK, cwl_push_event(pusher->sink, &event));
    }
}

static void push_in_arrays(struct pusher *pusher)
{
    for (int i = 0; i < EVENTS_EACH; i += EVENTS_AT_ONCE) {
        char texts[EVENTS_AT_ONCE][64];
        cwl_event events[EVENTS_AT_ONCE];
        size_t accepted = 0;
        for (int k = 0; k < EVENTS_AT_ONCE; k++)
            events[k] = numbered_event(pusher, i + k, texts[k], sizeof texts[k]);
        CHECK_STATUS(CWL_OK, cwl_push_events(pusher->sink, events, EVENTS_AT_ONCE, &accepted));
        CHECK_EQUAL(EVENTS_AT_ONCE, accepted);
        memset(texts, 0, sizeof texts); /* the caller may reuse its memory */
    }
}

static void push_to_a_target(struct pusher *pusher)
{
    cwl_target *target = NULL;
    CHECK_STATUS(CWL_OK, cwl_target_open(pusher->sink, NULL, "target", &target));
    for (int i = 0; i < EVENTS_EACH; i++) {
        char text[64];
        cwl_event event = numbered_event(pusher, i, text, sizeof text);
        CHECK_STATUS(CWL_OK, cwl_target_push(target, &event));
    }
    cwl_target_free(target);
}

static void *push_all(void *argument)
{
    struct pusher *pusher = argument;
    static void (*const push_functions[])(struct pusher *) = { push_one_by_one, push_in_arrays, push_to_a_target };
    push_functions[pusher->number % 3](pusher);
    return NULL;
}

static void no_event_is_lost_with_many_threads_and_every_push_function(void)
{
    cwl_sink *sink = open_local("threads");
    pthread_t threads[THREADS];
    struct pusher pushers[THREADS];
    uint64_t bytes = 0;
    for (int i = 0; i < THREADS; i++) {
        pushers[i] = (struct pusher){ sink, i, 0 };
        CHECK_OR_RETURN(pthread_create(&threads[i], NULL, push_all, &pushers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        bytes += pushers[i].bytes;
    }
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 60000));
    cwl_stats_snapshot stats = stats_of(sink);
    CHECK_EQUAL(THREADS * EVENTS_EACH, stats.accepted_events);
    CHECK_EQUAL(THREADS * EVENTS_EACH, stats.delivered_events);
    CHECK_EQUAL(bytes, stats.accepted_bytes);
    CHECK_EQUAL(bytes, stats.delivered_bytes);
    CHECK_EQUAL(0, stats.pending_events);
    CHECK_EQUAL(0, stats.refused_events + stats.rejected_events + stats.dropped_events + stats.abandoned_events);
    CHECK_EQUAL(2, stats.targets);
    CHECK(stats.buffered_bytes_peak > 0);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_EQUAL(0, stats_of(sink).buffered_bytes);
    cwl_sink_free(sink);
}

static void push_events_stops_at_the_first_refused_event(void)
{
    cwl_sink *sink = open_local("array");
    cwl_event events[4] = { test_event("a"), test_event("b"), test_event(""), test_event("d") };
    size_t accepted = 99;
    CHECK_STATUS(CWL_ERR_INVALID_ARGUMENT, cwl_push_events(sink, events, 4, &accepted));
    CHECK_EQUAL(2, accepted);
    CHECK_STATUS(CWL_OK, cwl_push_events(sink, events + 3, 1, &accepted));
    CHECK_EQUAL(1, accepted);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_EQUAL(3, stats_of(sink).delivered_events);
    CHECK_EQUAL(1, stats_of(sink).refused_events);
    cwl_sink_free(sink);
}

static void two_sinks_are_independent(void)
{
    cwl_sink *one = open_local("one");
    cwl_sink *two = open_local("two");
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_push_event(one, &event));
    CHECK_STATUS(CWL_OK, cwl_shutdown(one, 10000));
    CHECK_STATUS(CWL_OK, cwl_push_event(two, &event));
    CHECK_STATUS(CWL_OK, cwl_push_event(two, &event));
    CHECK_STATUS(CWL_OK, cwl_shutdown(two, 10000));
    CHECK_EQUAL(1, stats_of(one).delivered_events);
    CHECK_EQUAL(2, stats_of(two).delivered_events);
    cwl_sink_free(one);
    cwl_sink_free(two);
}

static void events_of_a_freed_target_are_sent(void)
{
    cwl_sink *sink = open_local("freed");
    cwl_target *target = NULL;
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    CHECK_STATUS(CWL_OK, cwl_target_push(target, &event));
    cwl_target_free(target);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_EQUAL(1, stats_of(sink).delivered_events);
    cwl_sink_free(sink);
}

/* ---- the log callback ---- */

struct listener {
    pthread_mutex_t lock; /* guards the other members */
    cwl_sink *sink;
    int messages;
    int pushed;
    int wrong; /* calls from the callback that returned another status than expected */
    int32_t highest_level;
    cwl_status wrong_status; /* the status of the last of them */
};

static void expect_in_callback(struct listener *listener, cwl_status expected, cwl_status actual)
{
    if (actual != expected) {
        listener->wrong++;
        listener->wrong_status = actual;
    }
}

/* Ships each diagnostic through the sink that caused it. */
static void push_diagnostic(int32_t level, const char *message, void *user)
{
    struct listener *listener = user;
    cwl_sink *opened = NULL;
    cwl_event event = test_event(message);
    pthread_mutex_lock(&listener->lock);
    listener->messages++;
    if (level > listener->highest_level)
        listener->highest_level = level;
    if (*message == '\0')
        listener->wrong++;
    if (listener->sink != NULL) {
        expect_in_callback(listener, CWL_OK, cwl_push_event(listener->sink, &event));
        listener->pushed++;
        expect_in_callback(listener, CWL_ERR_IN_CALLBACK, cwl_flush(listener->sink, 1000));
        expect_in_callback(listener, CWL_ERR_IN_CALLBACK, cwl_shutdown(listener->sink, 1000));
        expect_in_callback(listener, CWL_ERR_IN_CALLBACK, cwl_sink_open(NULL, &opened));
        expect_in_callback(listener, CWL_ERR_IN_CALLBACK, cwl_set_log_callback(0, NULL, NULL));
    }
    pthread_mutex_unlock(&listener->lock);
}

static void set_sink(struct listener *listener, cwl_sink *sink)
{
    pthread_mutex_lock(&listener->lock);
    listener->sink = sink;
    pthread_mutex_unlock(&listener->lock);
}

static int pushed_by(struct listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    int pushed = listener->pushed;
    pthread_mutex_unlock(&listener->lock);
    return pushed;
}

static void a_host_may_push_but_not_wait_inside_the_log_callback(void)
{
    struct listener listener = { PTHREAD_MUTEX_INITIALIZER, NULL, 0, 0, 0, 0, CWL_OK };
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_DEBUG, push_diagnostic, &listener));
    cwl_sink *sink = open_local("callback");
    set_sink(&listener, sink);
    cwl_event event = test_event("the host's own event");
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000)); /* creates group and stream, which is logged */
    for (int waited_ms = 0; pushed_by(&listener) == 0 && waited_ms < 20000; waited_ms++)
        sleep_ms(1);
    set_sink(&listener, NULL);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(0, NULL, NULL));
    CHECK(listener.messages > 0);
    CHECK(listener.pushed > 0);
    if (listener.wrong > 0)
        fail_check(__FILE__, __LINE__, "%d calls from the callback returned a wrong status, the last one %s",
                   listener.wrong, cwl_status_name(listener.wrong_status));
    CHECK(listener.highest_level <= CWL_LOG_DEBUG);
    CHECK_EQUAL(1 + listener.pushed, stats_of(sink).delivered_events);
    cwl_sink_free(sink);
}

static void a_removed_log_callback_is_not_called(void)
{
    struct listener listener = { PTHREAD_MUTEX_INITIALIZER, NULL, 0, 0, 0, 0, CWL_OK };
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, push_diagnostic, &listener));
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(0, NULL, NULL));
    int before = listener.messages;
    cwl_sink *sink = open_local("silent");
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_EQUAL(before, listener.messages);
    cwl_sink_free(sink);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(no_event_is_lost_with_many_threads_and_every_push_function);
    RUN(push_events_stops_at_the_first_refused_event);
    RUN(two_sinks_are_independent);
    RUN(events_of_a_freed_target_are_sent);
    RUN(a_host_may_push_but_not_wait_inside_the_log_callback);
    RUN(a_removed_log_callback_is_not_called);
    return finish();
}
