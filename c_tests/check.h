/*
 * check.h - the macros and helpers that the C tests share.
 *
 * A test is a function of type void(void). RUN calls it and prints "ok NAME" or "not ok NAME". A CHECK that fails
 * prints where it stands, and the test continues; a CHECK_OR_RETURN that fails ends the test. finish() prints "N
 * passed, N failed" and returns the exit code for main.
 */
#ifndef CHECK_H
#define CHECK_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "cwl_sink.h"

static struct {
    pthread_mutex_t lock; /* guards failures_of_test, because a test may CHECK on several threads */
    int failures_of_test;
    int passed;
    int failed;
} check_state = { PTHREAD_MUTEX_INITIALIZER, 0, 0, 0 };

static inline void fail_check(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    pthread_mutex_lock(&check_state.lock);
    check_state.failures_of_test++;
    printf("# %s:%d: ", file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    pthread_mutex_unlock(&check_state.lock);
}

#define CHECK(condition)                                              \
    do {                                                              \
        if (!(condition))                                             \
            fail_check(__FILE__, __LINE__, "failed: %s", #condition); \
    } while (0)

#define CHECK_OR_RETURN(condition)                                    \
    do {                                                              \
        if (!(condition)) {                                           \
            fail_check(__FILE__, __LINE__, "failed: %s", #condition); \
            return;                                                   \
        }                                                             \
    } while (0)

/* A failure also prints the library's last error. A host that is not linked with the library defines this macro before
 * it includes this file. */
#ifdef CHECK_LAST_ERROR
#define CHECK_LINKED 0
#else
#define CHECK_LINKED 1
#define CHECK_LAST_ERROR() cwl_last_error()
#endif

#define CHECK_STATUS(expected, call)                                                                           \
    do {                                                                                                       \
        cwl_status check_got = (call);                                                                         \
        if (check_got != (expected))                                                                           \
            fail_check(__FILE__, __LINE__, "%s is %d (%s), not %s", #call, (int)check_got, CHECK_LAST_ERROR(), \
                       #expected);                                                                             \
    } while (0)

#define CHECK_EQUAL(expected, actual)                                                                      \
    do {                                                                                                   \
        unsigned long long check_expected = (unsigned long long)(expected);                                \
        unsigned long long check_actual = (unsigned long long)(actual);                                    \
        if (check_expected != check_actual)                                                                \
            fail_check(__FILE__, __LINE__, "%s is %llu, not %llu", #actual, check_actual, check_expected); \
    } while (0)

static inline void check_run(const char *name, void (*test)(void))
{
    check_state.failures_of_test = 0;
    test();
    if (check_state.failures_of_test == 0)
        check_state.passed++;
    else
        check_state.failed++;
    printf("%s %s\n", check_state.failures_of_test == 0 ? "ok" : "not ok", name);
    fflush(stdout);
}

#define RUN(test) check_run(#test, test)

static inline int finish(void)
{
    printf("%d passed, %d failed\n", check_state.passed, check_state.failed);
    fflush(stdout);
    return check_state.failed == 0 && check_state.passed > 0 ? 0 : 1;
}

/* Returns the endpoint for the tests: the first argument, or CWL_TEST_ENDPOINT. */
static inline const char *test_endpoint(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : getenv("CWL_TEST_ENDPOINT");
    if (endpoint == NULL || *endpoint == '\0') {
        fprintf(stderr, "usage: %s ENDPOINT, or set CWL_TEST_ENDPOINT\n", argv[0]);
        exit(2);
    }
    return endpoint;
}

/* Returns a log group for this process and this test, because all programs share one endpoint. */
static inline const char *test_group(const char *test)
{
    static char name[128];
    snprintf(name, sizeof name, "/c/%s/%ld", test, (long)getpid());
    return name;
}

static inline void sleep_ms(long ms)
{
    struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&pause, NULL);
}

/* Returns a socket that is bound to a free port, and writes its URL to `url`. Returns -1 when that fails. */
static inline int bound_socket(char *url, size_t size)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0
        || getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        fail_check(__FILE__, __LINE__, "no socket on loopback");
        return -1;
    }
    snprintf(url, size, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

static inline cwl_event test_event(const char *message)
{
    cwl_event event;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    event.message = message;
    event.message_len = strlen(message);
    return event;
}

#if CHECK_LINKED

/* Returns a configuration for the endpoint, with a log group for this test. */
static inline cwl_config *test_config(const char *endpoint, const char *test)
{
    cwl_config *config = cwl_config_new();
    CHECK(config != NULL);
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "endpoint_url", endpoint));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "region", "us-east-1"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "access_key_id", "test"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "secret_access_key", "test"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "log_group", test_group(test)));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "log_stream", "s"));
    return config;
}

/* Opens a sink and frees its configuration. */
static inline cwl_sink *open_sink(cwl_config *config)
{
    cwl_sink *sink = NULL;
    CHECK_STATUS(CWL_OK, cwl_sink_open(config, &sink));
    CHECK(sink != NULL);
    cwl_config_free(config);
    return sink;
}

static inline cwl_stats_snapshot stats_of(cwl_sink *sink)
{
    cwl_stats_snapshot stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK_STATUS(CWL_OK, cwl_stats(sink, &stats));
    return stats;
}

#endif

#endif
