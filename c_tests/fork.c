/*
 * Tests that a host may fork while it uses the library: the child goes on with the same handles, and the parent notices
 * nothing. Each outcome is checked at the endpoint: what was accepted arrived once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>

#include "check.h"

enum { WAIT_MS = 60000, CHILD_FAILED = 101 };

static const char *endpoint;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the endpoint's view ---- */

/* Returns the number of events that the endpoint has of a group, or -1. */
static long events_at_endpoint(const char *group)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    static const char request[] = "GET /_local/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if (write(fd, request, sizeof request - 1) != (ssize_t)(sizeof request - 1))
        return -1;
    static char answer[1 << 20];
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, answer + length, sizeof answer - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    answer[length] = '\0';
    char key[160];
    snprintf(key, sizeof key, "\"%s\"", group);
    const char *place = strstr(answer, key);
    place = place == NULL ? NULL : strstr(place, "\"events\":");
    return place == NULL ? 0 : atol(place + strlen("\"events\":"));
}

/* ---- children ---- */

/* Forks. The child runs `body` and exits: with 0, or with CHILD_FAILED when one of its checks failed. */
static pid_t fork_child(void (*body)(void *), void *argument)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int failures = check_state.failures_of_test;
        body(argument);
        fflush(stdout);
        _exit(check_state.failures_of_test == failures ? 0 : CHILD_FAILED);
    }
    CHECK(child > 0);
    return child;
}

/* Waits for a child, which must exit with 0 in time. */
static void wait_for_child(pid_t child)
{
    int status = -1;
    for (int64_t until = now_ms() + WAIT_MS; now_ms() < until; sleep_ms(1)) {
        if (waitpid(child, &status, WNOHANG) == child) {
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return;
        }
    }
    fail_check(__FILE__, __LINE__, "the child hangs");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

static void run_in_child(void (*body)(void *), void *argument)
{
    wait_for_child(fork_child(body, argument));
}

/* ---- helpers ---- */

/* Opens a sink that sends when it is flushed, or soon. */
static cwl_sink *open_for(const char *test, int seals_soon)
{
    cwl_config *config = test_config(endpoint, test);
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", seals_soon ? "1" : "3600000"));
    return open_sink(config);
}

static void push(cwl_sink *sink, uint64_t token)
{
    cwl_event event = test_event("m");
    event.token = token;
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
}

/* Takes one ack for each token from `first` on; each must be delivered, and none may come twice. */
static void check_acks(cwl_sink *sink, uint64_t first, size_t count)
{
    enum { MAX = 256 };
    cwl_ack acks[MAX];
    unsigned char seen[MAX] = { 0 };
    size_t total = 0;
    while (total < count) {
        acks[0].struct_size = sizeof acks[0];
        int64_t taken = cwl_poll_acks(sink, acks, MAX, WAIT_MS);
        CHECK_OR_RETURN(taken > 0);
        for (int64_t index = 0; index < taken; index++) {
            CHECK_OR_RETURN(acks[index].token >= first && acks[index].token < first + count);
            CHECK(acks[index].outcome == CWL_DELIVERED);
            CHECK_EQUAL(0, seen[acks[index].token - first]++);
        }
        total += (size_t)taken;
    }
    CHECK_EQUAL(0, cwl_poll_acks(sink, acks, MAX, 0));
}

/* ---- tests ---- */

static void push_flush_and_poll_in_child(void *argument)
{
    cwl_sink *sink = argument;
    for (uint64_t token = 1000; token < 1100; token++)
        push(sink, token);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    check_acks(sink, 1000, 100);
    cwl_stats_snapshot stats = stats_of(sink);
    CHECK_EQUAL(100, stats.accepted_events);
    CHECK_EQUAL(100, stats.delivered_events);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    cwl_sink_free(sink);
}

static void parent_and_child_each_deliver_what_they_accepted_and_get_the_acks_of_that(void)
{
    cwl_sink *sink = open_for("each", 0);
    CHECK_EQUAL(0, cwl_poll_acks(sink, NULL, 0, 0));
    for (uint64_t token = 0; token < 100; token++)
        push(sink, token);
    pid_t child = fork_child(push_flush_and_poll_in_child, sink);
    for (uint64_t token = 100; token < 200; token++)
        push(sink, token);
    wait_for_child(child);
    CHECK_EQUAL(100, events_at_endpoint(test_group("each"))); /* the parent has sent nothing yet */
    CHECK_STATUS(CWL_OK, cwl_flush(sink, WAIT_MS));
    check_acks(sink, 0, 200);
    CHECK_EQUAL(300, events_at_endpoint(test_group("each")));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    cwl_sink_free(sink);
}

static struct {
    cwl_sink *sink;
    cwl_target *target;
} inherited;

static void push_to_target(void)
{
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_target_push(inherited.target, &event));
}

static void use_target_in_grandchild(void *argument)
{
    (void)argument;
    push_to_target();
    CHECK_STATUS(CWL_OK, cwl_flush(inherited.sink, WAIT_MS));
    cwl_target_free(inherited.target);
    cwl_sink_free(inherited.sink);
}

static void use_target_in_child(void *argument)
{
    push_to_target();
    run_in_child(use_target_in_grandchild, argument);
    CHECK_STATUS(CWL_OK, cwl_flush(inherited.sink, WAIT_MS));
}

static void targets_of_the_parent_work_in_the_child_and_in_its_child(void)
{
    inherited.sink = open_for("targets", 0);
    CHECK_STATUS(CWL_OK, cwl_target_open(inherited.sink, NULL, NULL, &inherited.target));
    push_to_target();
    run_in_child(use_target_in_child, NULL);
    CHECK_EQUAL(2, events_at_endpoint(test_group("targets")));
    CHECK_STATUS(CWL_OK, cwl_flush(inherited.sink, WAIT_MS));
    CHECK_EQUAL(3, events_at_endpoint(test_group("targets")));
    cwl_target_free(inherited.target);
    cwl_sink_free(inherited.sink);
}

static void end_without_use(void *argument)
{
    int64_t began_at = now_ms();
    CHECK_STATUS(CWL_OK, cwl_flush(argument, WAIT_MS));
    CHECK_STATUS(CWL_OK, cwl_shutdown(argument, WAIT_MS));
    cwl_sink_free(argument);
    CHECK(now_ms() - began_at < 1000);
}

static void push_is_refused(void *argument)
{
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_ERR_CLOSED, cwl_push_event(argument, &event));
}

static void a_child_that_pushes_nothing_ends_at_once_and_one_of_a_closed_sink_cannot_push(void)
{
    cwl_sink *sink = open_for("unused", 0);
    push(sink, 1);
    run_in_child(end_without_use, sink);
    push(sink, 2);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    CHECK_EQUAL(2, events_at_endpoint(test_group("unused")));
    run_in_child(push_is_refused, sink);
    cwl_sink_free(sink);
}

enum { PUSHERS = 4, EVENTS_OF_CHILD = 3 };

static atomic_int is_over;

static void *push_until_over(void *sink)
{
    uintptr_t count = 0;
    while (!atomic_load(&is_over)) {
        push(sink, count++);
        struct timespec pause = { 0, 200000 };
        nanosleep(&pause, NULL);
    }
    return (void *)count;
}

static void push_and_end_in_child(void *argument)
{
    for (int number = 0; number < EVENTS_OF_CHILD; number++)
        push(argument, 0);
    CHECK_STATUS(CWL_OK, cwl_flush(argument, WAIT_MS));
    CHECK_STATUS(CWL_OK, cwl_shutdown(argument, WAIT_MS));
}

static void count_log(int32_t level, const char *message, void *user)
{
    (void)level;
    (void)message;
    atomic_fetch_add((atomic_int *)user, 1);
}

static void count_acks(const cwl_ack *acks, size_t count, void *user)
{
    (void)acks;
    atomic_fetch_add((atomic_int *)user, (int)count);
}

static void a_host_that_forks_over_and_over_while_it_pushes_loses_nothing_and_hangs_nowhere(void)
{
    int forks = getenv("CWL_TEST_VALGRIND") != NULL ? 5 : 500;
    static atomic_int messages, acks;
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_DEBUG, count_log, &messages));
    cwl_sink *sink = open_for("storm", 1);
    CHECK_STATUS(CWL_OK, cwl_set_ack_callback(sink, count_acks, &acks));
    pthread_t pushers[PUSHERS];
    atomic_store(&is_over, 0);
    for (int number = 0; number < PUSHERS; number++)
        CHECK_EQUAL(0, pthread_create(&pushers[number], NULL, push_until_over, sink));
    for (int number = 0; number < forks; number++)
        run_in_child(push_and_end_in_child, sink);
    atomic_store(&is_over, 1);
    uintptr_t pushed = 0;
    for (int number = 0; number < PUSHERS; number++) {
        void *count;
        pthread_join(pushers[number], &count);
        pushed += (uintptr_t)count;
    }
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    CHECK_EQUAL(pushed, stats_of(sink).delivered_events);
    CHECK_EQUAL(pushed, atomic_load(&acks));
    CHECK_EQUAL(pushed + (uintptr_t)(forks * EVENTS_OF_CHILD), events_at_endpoint(test_group("storm")));
    CHECK(atomic_load(&messages) > 0);
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(CWL_LOG_DEBUG, NULL, NULL));
    cwl_sink_free(sink);
}

static cwl_source *source;

static void push_range(cwl_sink *sink, uint64_t begin, uint64_t end)
{
    cwl_event event = test_event("m");
    event.source = source;
    event.offset_begin = begin;
    event.offset_end = end;
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
}

static void use_source_in_child(void *argument)
{
    cwl_source *another = NULL;
    CHECK_STATUS(CWL_ERR_STATE, cwl_source_open(argument, "file", &another));
    CHECK(strstr(cwl_last_error(), "belongs to the parent process") != NULL);
    push_range(argument, 500, 510); /* the parent's source works, without a state */
    CHECK_STATUS(CWL_OK, cwl_flush(argument, WAIT_MS));
}

static void sleep_in_child(void *argument)
{
    (void)argument;
    sleep_ms(WAIT_MS);
}

static cwl_sink *open_with_state(const char *folder)
{
    cwl_config *config = test_config(endpoint, "state");
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "state_dir", folder));
    return open_sink(config);
}

static void the_state_stays_with_the_parent_which_can_open_it_again_while_a_child_lives(void)
{
    char folder[] = "/tmp/cwl-fork-XXXXXX", command[64];
    CHECK_OR_RETURN(mkdtemp(folder) != NULL);
    cwl_sink *sink = open_with_state(folder);
    CHECK_STATUS(CWL_OK, cwl_source_open(sink, "file", &source));
    push_range(sink, 0, 10);
    run_in_child(use_source_in_child, sink);
    pid_t sleeping = fork_child(sleep_in_child, NULL);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, WAIT_MS));
    cwl_source_free(source);
    cwl_sink_free(sink);
    sink = open_with_state(folder);
    uint64_t offset = 0;
    CHECK_STATUS(CWL_OK, cwl_source_open(sink, "file", &source));
    CHECK_STATUS(CWL_OK, cwl_source_offset(source, &offset));
    CHECK_EQUAL(10, offset); /* only the parent's event counts */
    cwl_source_free(source);
    cwl_sink_free(sink);
    kill(sleeping, SIGKILL);
    waitpid(sleeping, NULL, 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_EQUAL(0, system(command));
}

static int is_readable(int fd, int timeout_ms)
{
    struct pollfd one = { fd, POLLIN, 0 };
    return poll(&one, 1, timeout_ms) == 1;
}

static void wait_on_descriptor_in_child(void *argument)
{
    int fd = *(int *)argument;
    push(inherited.sink, 7);
    CHECK(is_readable(fd, WAIT_MS));
    check_acks(inherited.sink, 7, 1);
    CHECK_EQUAL(fd, cwl_ack_fd(inherited.sink));
}

static void the_ack_descriptor_wakes_parent_and_child_each_for_its_own_acks(void)
{
    inherited.sink = open_for("descriptor", 1);
    int fd = cwl_ack_fd(inherited.sink);
    CHECK(fd >= 0);
    run_in_child(wait_on_descriptor_in_child, &fd);
    CHECK(!is_readable(fd, 0)); /* the child's acks do not wake the parent */
    push(inherited.sink, 8);
    CHECK(is_readable(fd, WAIT_MS));
    check_acks(inherited.sink, 8, 1);
    CHECK_STATUS(CWL_OK, cwl_shutdown(inherited.sink, WAIT_MS));
    cwl_sink_free(inherited.sink);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(parent_and_child_each_deliver_what_they_accepted_and_get_the_acks_of_that);
    RUN(targets_of_the_parent_work_in_the_child_and_in_its_child);
    RUN(a_child_that_pushes_nothing_ends_at_once_and_one_of_a_closed_sink_cannot_push);
    RUN(a_host_that_forks_over_and_over_while_it_pushes_loses_nothing_and_hangs_nowhere);
    RUN(the_state_stays_with_the_parent_which_can_open_it_again_while_a_child_lives);
    RUN(the_ack_descriptor_wakes_parent_and_child_each_for_its_own_acks);
    return finish();
}
