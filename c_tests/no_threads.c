/*
 * Tests that the library works on when the system starts no more threads. This program has a pthread_create of its own,
 * which the library finds before that of the C library: it fails as under a limit (ulimit -u, pids.max of a cgroup).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "check.h"

static const char *endpoint;

/* The number of threads that may still start. */
static atomic_int threads_left = INT_MAX;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (create == NULL)
        *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    if (atomic_fetch_sub(&threads_left, 1) <= 0)
        return EAGAIN;
    return create(thread, attributes, start, argument);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int threads_of_process(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    while (tasks != NULL && (task = readdir(tasks)) != NULL)
        count += task->d_name[0] != '.';
    if (tasks != NULL)
        closedir(tasks);
    return count;
}

static void a_sink_is_refused_in_time_and_in_order_when_its_threads_cannot_start(void)
{
    /* The sink starts two threads. */
    for (int allowed = 0; allowed < 2; allowed++) {
        sigset_t before, after;
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        cwl_config *config = test_config(endpoint, "refused");
        cwl_sink *sink = NULL;
        int64_t began_at = now_ms();
        atomic_store(&threads_left, allowed);
        CHECK_STATUS(CWL_ERR_OPEN, cwl_sink_open(config, &sink));
        atomic_store(&threads_left, INT_MAX);
        CHECK(now_ms() - began_at < 1000);
        CHECK(sink == NULL);
        CHECK(strstr(cwl_last_error(), "no thread could be started") != NULL);
        CHECK(strstr(cwl_last_error(), "ulimit -u") != NULL);
        cwl_config_free(config);
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        for (int number = 1; number <= SIGRTMAX; number++)
            CHECK_EQUAL(sigismember(&before, number), sigismember(&after, number));
        for (int64_t until = now_ms() + 5000; threads_of_process() > 1 && now_ms() < until;)
            sleep_ms(1);
        CHECK_EQUAL(1, threads_of_process());
    }
}

static atomic_int limits_named;

static void note_limit(int32_t level, const char *message, void *user)
{
    (void)level;
    (void)user;
    if (strstr(message, "no thread could be started") != NULL && strchr(message, '\n') == NULL)
        atomic_fetch_add(&limits_named, 1);
}

static void events_are_kept_while_no_thread_can_start_and_delivered_afterwards(void)
{
    /* A name, so that each connection needs a thread to look it up. */
    char url[128];
    snprintf(url, sizeof url, "http://localhost%s", strrchr(endpoint, ':'));
    cwl_config *config = test_config(url, "kept");
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", "1"));
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_WARN, note_limit, NULL));
    cwl_sink *sink = open_sink(config);
    atomic_store(&threads_left, 0);
    for (int number = 0; number < 10; number++) {
        cwl_event event = test_event("kept");
        CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    }
    CHECK_STATUS(CWL_ERR_TIMEOUT, cwl_flush(sink, 500));
    CHECK_EQUAL(10, stats_of(sink).pending_events);
    for (int64_t until = now_ms() + 60000; atomic_load(&limits_named) == 0 && now_ms() < until;)
        sleep_ms(1);
    CHECK(atomic_load(&limits_named) > 0);
    atomic_store(&threads_left, INT_MAX);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 60000));
    CHECK_EQUAL(10, stats_of(sink).delivered_events);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 1000));
    cwl_sink_free(sink);
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_WARN, NULL, NULL));
}

static void a_sink_is_shut_down_while_no_thread_can_start(void)
{
    cwl_sink *sink = open_sink(test_config(endpoint, "shutdown"));
    cwl_event event = test_event("sent");
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    atomic_store(&threads_left, 0);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    atomic_store(&threads_left, INT_MAX);
    CHECK_EQUAL(1, stats_of(sink).delivered_events);
    cwl_sink_free(sink);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(a_sink_is_refused_in_time_and_in_order_when_its_threads_cannot_start);
    RUN(events_are_kept_while_no_thread_can_start_and_delivered_afterwards);
    RUN(a_sink_is_shut_down_while_no_thread_can_start);
    return finish();
}
