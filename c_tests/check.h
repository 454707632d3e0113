/*
 * check.h - the few macros that the C tests share.
 *
 * A test is a function of type void(void). RUN calls it and prints "ok NAME" or "not ok NAME"; a CHECK that does not
 * hold prints where and goes on, CHECK_OR_LEAVE ends the test. finish() prints "N passed, N failed" and gives the
 * exit code of main.
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
    pthread_mutex_t lock; /* guards the failures: CHECK works in every thread of a test */
    int failures_of_test;
    int passed;
    int failed;
} check_state = { PTHREAD_MUTEX_INITIALIZER, 0, 0, 0 };

static inline void check_failed(const char *file, int line, const char *format, ...)
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

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition))                                               \
            check_failed(__FILE__, __LINE__, "not so: %s", #condition); \
    } while (0)

#define CHECK_OR_LEAVE(condition)                                       \
    do {                                                                \
        if (!(condition)) {                                             \
            check_failed(__FILE__, __LINE__, "not so: %s", #condition); \
            return;                                                     \
        }                                                               \
    } while (0)

/* The library's text is part of the message: it says what it thinks is wrong. A host that is not linked with the
 * library defines another way to it before it includes this file. */
#ifndef CHECK_LAST_ERROR
#define CHECK_LAST_ERROR() cwl_last_error()
#endif

#define CHECK_STATUS(expected, call)                                                                             \
    do {                                                                                                         \
        cwl_status check_got = (call);                                                                           \
        if (check_got != (expected))                                                                             \
            check_failed(__FILE__, __LINE__, "%s is %d (%s), not %s", #call, (int)check_got, CHECK_LAST_ERROR(), \
                         #expected);                                                                             \
    } while (0)

#define CHECK_EQUAL(expected, actual)                                                                        \
    do {                                                                                                     \
        unsigned long long check_expected = (unsigned long long)(expected);                                  \
        unsigned long long check_actual = (unsigned long long)(actual);                                      \
        if (check_expected != check_actual)                                                                  \
            check_failed(__FILE__, __LINE__, "%s is %llu, not %llu", #actual, check_actual, check_expected); \
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

/* The endpoint to talk to: the first argument, or CWL_TEST_ENDPOINT. */
static inline const char *test_endpoint(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : getenv("CWL_TEST_ENDPOINT");
    if (endpoint == NULL || *endpoint == '\0') {
        fprintf(stderr, "usage: %s ENDPOINT, or set CWL_TEST_ENDPOINT\n", argv[0]);
        exit(2);
    }
    return endpoint;
}

/* A log group of this process and this test, so that programs share one endpoint. */
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

/* A socket on a port of its own, and the URL that leads there. */
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
        check_failed(__FILE__, __LINE__, "no socket on loopback");
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

#endif
