/*
 * Tests of callbacks that do what a host may do in them: take their time, or end their thread. Neither holds up the
 * library, and neither ends the process.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "check.h"

enum { WAIT_MS = 60000 };

static const char *endpoint;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static cwl_sink *open_for(const char *test)
{
    cwl_config *config = test_config(endpoint, test);
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", "1"));
    return open_sink(config);
}

static void push(cwl_sink *sink)
{
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
}

/* Waits until `count` is at least `wanted`. */
static void wait_for(atomic_int *count, int wanted)
{
    for (int64_t until = now_ms() + WAIT_MS; atomic_load(count) < wanted && now_ms() < until;)
        sleep_ms(1);
    CHECK(atomic_load(count) >= wanted);
}

static atomic_int calls;

static void end_thread_in_log(int32_t level, const char *message, void *user)
{
    (void)level;
    (void)message;
    (void)user;
    atomic_fetch_add(&calls, 1);
    pthread_exit(NULL);
}

static void count_in_log(int32_t level, const char *message, void *user)
{
    (void)level;
    (void)message;
    (void)user;
    atomic_fetch_add(&calls, 1);
}

static void a_log_callback_that_ends_its_thread_ends_the_messages_and_nothing_else(void)
{
    atomic_store(&calls, 0);
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, end_thread_in_log, NULL));
    cwl_sink *sink = open_for("log-exit");
    push(sink);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    wait_for(&calls, 1);
    push(sink);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    CHECK_EQUAL(1, atomic_load(&calls));
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, count_in_log, NULL));
    push(sink);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    wait_for(&calls, 2);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    CHECK_EQUAL(3, stats_of(sink).delivered_events);
    cwl_sink_free(sink);
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, NULL, NULL));
}

static void end_thread_in_acks(const cwl_ack *acks, size_t count, void *user)
{
    (void)acks;
    (void)count;
    (void)user;
    atomic_fetch_add(&calls, 1);
    pthread_exit(NULL);
}

static void an_ack_callback_that_ends_its_thread_ends_the_acks_and_nothing_else(void)
{
    atomic_store(&calls, 0);
    cwl_sink *sink = open_for("ack-exit");
    CHECK_STATUS(CWL_OK, cwl_set_ack_callback(sink, end_thread_in_acks, NULL));
    push(sink);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    wait_for(&calls, 1);
    push(sink);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    int64_t began_at = now_ms();
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    CHECK(now_ms() - began_at < 5000);
    CHECK_EQUAL(1, atomic_load(&calls));
    CHECK_EQUAL(2, stats_of(sink).delivered_events);
    cwl_sink_free(sink);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void wait_in_log(int32_t level, const char *message, void *user)
{
    count_in_log(level, message, user);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static atomic_int is_replaced;

static void *replace_callback(void *argument)
{
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, count_in_log, NULL));
    atomic_store(&is_replaced, 1);
    return argument;
}

static void a_log_callback_that_takes_its_time_holds_up_nobody_but_its_successor(void)
{
    atomic_store(&calls, 0);
    atomic_store(&is_replaced, 0);
    pthread_mutex_lock(&gate);
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, wait_in_log, NULL));
    cwl_sink *sink = open_for("log-slow");
    push(sink);
    wait_for(&calls, 1);
    pthread_t thread;
    CHECK_EQUAL(0, pthread_create(&thread, NULL, replace_callback, NULL));
    for (int round = 0; round < 20; round++) {
        for (int number = 0; number < 100; number++)
            push(sink);
        CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    }
    CHECK_EQUAL(2001, stats_of(sink).delivered_events);
    CHECK_EQUAL(1, atomic_load(&calls));
    CHECK_EQUAL(0, atomic_load(&is_replaced));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    pthread_mutex_unlock(&gate);
    pthread_join(thread, NULL);
    cwl_sink_free(sink);
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_TRACE, NULL, NULL));
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(a_log_callback_that_ends_its_thread_ends_the_messages_and_nothing_else);
    RUN(an_ack_callback_that_ends_its_thread_ends_the_acks_and_nothing_else);
    RUN(a_log_callback_that_takes_its_time_holds_up_nobody_but_its_successor);
    return finish();
}
