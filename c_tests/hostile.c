/*
 * What a guest in somebody else's process must not do: take the host's signals, change how the host handles them,
 * write to its standard output or error, touch its environment, leave threads behind, or come back late.
 */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "check.h"

extern char **environ;

/* shutdown() promises its time-out plus this. */
#define SHUTDOWN_GRACE_MS 500

static const char *endpoint;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The runner says so when the program runs under valgrind, which is many times slower. */
static int under_valgrind(void)
{
    return getenv("CWL_TEST_VALGRIND") != NULL;
}

static int64_t patience(int64_t ms)
{
    return under_valgrind() ? ms * 20 : ms;
}

static cwl_sink *open_at(const char *url, const char *group)
{
    cwl_sink *sink = NULL;
    cwl_config *config = cwl_config_new();
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "endpoint_url", url));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "region", "us-east-1"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "access_key_id", "test"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "secret_access_key", "test"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "log_group", test_group(group)));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "log_stream", "s"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", "5"));
    CHECK_STATUS(CWL_OK, cwl_sink_open(config, &sink));
    cwl_config_free(config);
    return sink;
}

static void push(cwl_sink *sink, const char *message)
{
    cwl_event event = test_event(message);
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
}

static cwl_stats_snapshot stats_of(cwl_sink *sink)
{
    cwl_stats_snapshot stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK_STATUS(CWL_OK, cwl_stats(sink, &stats));
    return stats;
}

/* ---- endpoints that do not work ---- */

/* ---- threads of this process ---- */

enum { NAME_SIZE = 256 };

static int read_task_file(const char *task, const char *file, char *text, size_t size)
{
    char path[2 * NAME_SIZE];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    FILE *stream = fopen(path, "r");
    if (stream == NULL)
        return 0; /* the thread has ended meanwhile */
    size_t length = fread(text, 1, size - 1, stream);
    fclose(stream);
    text[length] = '\0';
    return length > 0;
}

/* Valgrind runs a program's instructions itself: it needs the signals that they raise, and one of its own. */
static int is_valgrinds(int number)
{
    return number == SIGILL || number == SIGTRAP || number == SIGBUS || number == SIGFPE || number == SIGSEGV
           || number == SIGSYS || number == SIGRTMAX;
}

static void check_all_blocked(const char *task)
{
    char text[8192];
    if (!read_task_file(task, "status", text, sizeof text))
        return;
    const char *line = strstr(text, "SigBlk:");
    unsigned long long blocked = 0;
    CHECK_OR_LEAVE(line != NULL && sscanf(line, "SigBlk: %llx", &blocked) == 1);
    for (int number = 1; number <= SIGRTMAX; number++) {
        int cannot = number == SIGKILL || number == SIGSTOP || (number > 31 && number < SIGRTMIN)
                     || (under_valgrind() && is_valgrinds(number));
        if (!cannot && (blocked >> (number - 1) & 1) == 0)
            check_failed(__FILE__, __LINE__, "thread %s of the library does not block signal %d", task, number);
    }
}

/* How many threads of the library there are; looks at their signal masks on the way if asked to. */
static int library_threads(int check_masks)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    while (tasks != NULL && (task = readdir(tasks)) != NULL) {
        char name[NAME_SIZE];
        if (task->d_name[0] == '.' || !read_task_file(task->d_name, "comm", name, sizeof name))
            continue;
        if (strcmp(name, "cwl-sink\n") != 0)
            continue;
        count++;
        if (check_masks)
            check_all_blocked(task->d_name);
    }
    if (tasks != NULL)
        closedir(tasks);
    return count;
}

/* A thread gives itself its name, so one that has just been started may not have it yet. */
static int library_threads_at_least(int wanted, int check_masks)
{
    int64_t until = now_ms() + patience(5000);
    int count;
    while ((count = library_threads(0)) < wanted && now_ms() < until)
        sleep_ms(1);
    return check_masks ? library_threads(1) : count;
}

/* The kernel lets a thread's joiner go on shortly before the thread leaves /proc. */
static int library_threads_left(void)
{
    int64_t until = now_ms() + patience(200);
    int left;
    while ((left = library_threads(0)) > 0 && now_ms() < until)
        sleep_ms(1);
    return left;
}

static void no_thread_is_left_after_the_shutdown(void)
{
    cwl_sink *one = open_at(endpoint, "threads-one");
    CHECK(library_threads_at_least(2, 0) >= 2); /* worker_threads is 2 */
    cwl_sink *two = open_at(endpoint, "threads-two");
    CHECK(library_threads_at_least(4, 0) >= 4);
    push(one, "m");
    push(two, "m");
    CHECK_STATUS(CWL_OK, cwl_shutdown(one, 10000));
    CHECK(library_threads_at_least(2, 0) >= 2); /* the other's */
    CHECK_STATUS(CWL_OK, cwl_shutdown(two, 10000));
    CHECK_EQUAL(0, library_threads_left());
    cwl_sink_free(one);
    cwl_sink_free(two);
}

static void freeing_without_a_shutdown_leaves_no_thread(void)
{
    cwl_sink *sink = open_at(endpoint, "threads-freed");
    push(sink, "m");
    cwl_sink_free(sink);
    CHECK_EQUAL(0, library_threads_left());
}

/* ---- signals ---- */

static pthread_t main_thread;
static volatile sig_atomic_t on_main, on_others;

static void count_signal(int number)
{
    (void)number;
    if (pthread_equal(pthread_self(), main_thread))
        on_main = on_main + 1;
    else
        on_others = on_others + 1;
}

static void block_usr1(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(how, &set, NULL);
}

static pthread_mutex_t helper_lock = PTHREAD_MUTEX_INITIALIZER;
static int helper_stops; /* guarded by helper_lock */

static int helper_should_stop(void)
{
    pthread_mutex_lock(&helper_lock);
    int stops = helper_stops;
    pthread_mutex_unlock(&helper_lock);
    return stops;
}

static void *push_until_stopped(void *sink)
{
    while (!helper_should_stop()) {
        push(sink, "from a host thread that blocks the signal");
        sleep_ms(1);
    }
    return NULL;
}

static void the_hosts_handler_runs_on_the_hosts_threads_only(void)
{
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    sigemptyset(&action.sa_mask);
    main_thread = pthread_self();
    on_main = on_others = 0;
    helper_stops = 0;
    CHECK_OR_LEAVE(sigaction(SIGUSR1, &action, &before) == 0);

    /* Opened while nothing is blocked, so that the library cannot have inherited a mask that saves it. */
    cwl_sink *sink = open_at(endpoint, "signals");
    CHECK(library_threads_at_least(2, 1) >= 2);
    pthread_t helper;
    block_usr1(SIG_BLOCK); /* the helper begins with this mask */
    CHECK_OR_LEAVE(pthread_create(&helper, NULL, push_until_stopped, sink) == 0);
    block_usr1(SIG_UNBLOCK);

    /* One thread takes the signal: it must be the one that gets it. */
    for (int i = 0; i < 2000; i++) {
        if (i % 50 == 0)
            push(sink, "while signals come");
        kill(getpid(), SIGUSR1);
    }
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    CHECK(on_main > 0);
    CHECK_EQUAL(0, on_others);

    /* No host thread takes it: it has to stay pending, whatever the library's threads do meanwhile. */
    block_usr1(SIG_BLOCK);
    on_main = 0;
    for (int i = 0; i < 200; i++) {
        push(sink, "while signals are blocked");
        kill(getpid(), SIGUSR1);
    }
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
    CHECK_EQUAL(0, on_main);
    CHECK_EQUAL(0, on_others);
    block_usr1(SIG_UNBLOCK);
    CHECK_EQUAL(1, on_main);

    pthread_mutex_lock(&helper_lock);
    helper_stops = 1;
    pthread_mutex_unlock(&helper_lock);
    pthread_join(helper, NULL);
    CHECK(library_threads_at_least(2, 1) >= 2); /* those started since, too */
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    sigaction(SIGUSR1, &before, NULL);
}

enum { SIGNALS = 65 };

struct signal_state {
    struct sigaction actions[SIGNALS];
    int known[SIGNALS];
    sigset_t mask;
};

static void save_signals(struct signal_state *state)
{
    memset(state, 0, sizeof *state);
    for (int number = 1; number < SIGNALS; number++)
        state->known[number] = sigaction(number, NULL, &state->actions[number]) == 0;
    pthread_sigmask(SIG_SETMASK, NULL, &state->mask);
}

static void check_signals(const struct signal_state *before, const char *when)
{
    struct signal_state after;
    save_signals(&after);
    for (int number = 1; number < SIGNALS; number++) {
        const struct sigaction *was = &before->actions[number], *is = &after.actions[number];
        if (before->known[number] != after.known[number] || was->sa_handler != is->sa_handler
            || was->sa_flags != is->sa_flags)
            check_failed(__FILE__, __LINE__, "%s the disposition of signal %d is another", when, number);
        if (before->known[number] && sigismember(&before->mask, number) != sigismember(&after.mask, number))
            check_failed(__FILE__, __LINE__, "%s the mask of the caller differs for signal %d", when, number);
    }
}

/* As it was before the first call of the library: what it changes only once must not hide in an earlier test. */
static struct signal_state signals_at_start;

static void dispositions_and_masks_of_the_host_stay(void)
{
    cwl_sink *sink = open_at(endpoint, "dispositions");
    check_signals(&signals_at_start, "after the opening");
    push(sink, "m");
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    check_signals(&signals_at_start, "after a flush");
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    check_signals(&signals_at_start, "after the shutdown");
    CHECK_STATUS(CWL_ERR_INVALID_ARGUMENT, cwl_flush(NULL, 0));
    check_signals(&signals_at_start, "after an error");
}

/* A mask that is not empty to begin with is put back as it was, too. */
static void a_mask_that_the_host_had_set_stays(void)
{
    struct signal_state before;
    sigset_t mine, old;
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mine, &old);
    save_signals(&before);
    cwl_sink *sink = open_at(endpoint, "mask");
    check_signals(&before, "after the opening");
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    check_signals(&before, "after the shutdown");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Takes connections and resets each at once, so that the library writes into sockets that are gone. */
static void *reset_connections(void *listener)
{
    int fd;
    while ((fd = accept(*(int *)listener, NULL, NULL)) >= 0) {
        struct linger at_once = { 1, 0 };
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    return NULL;
}

static void a_reset_connection_raises_no_sigpipe(void)
{
    char url[64];
    int listener = bound_socket(url, sizeof url);
    CHECK_OR_LEAVE(listener >= 0 && listen(listener, 64) == 0);
    pthread_t thread;
    CHECK_OR_LEAVE(pthread_create(&thread, NULL, reset_connections, &listener) == 0);
    cwl_sink *sink = open_at(url, "reset");
    push(sink, "m");
    CHECK_STATUS(CWL_ERR_TIMEOUT, cwl_flush(sink, 1000));
    CHECK(stats_of(sink).requests_failed > 0);
    CHECK_STATUS(CWL_ERR_ABANDONED, cwl_shutdown(sink, 100)); /* we are still here: no SIGPIPE killed the process */
    cwl_sink_free(sink);
    shutdown(listener, SHUT_RDWR); /* ends the accept */
    pthread_join(thread, NULL);
    close(listener);
}

/* ---- standard output and error, environment ---- */

/* What both descriptors got while they led into a file. */
struct capture {
    int file;
    int saved[2];
};

static int begin_capture(struct capture *capture)
{
    char path[] = "/tmp/cwl-capture-XXXXXX";
    fflush(stdout);
    fflush(stderr);
    capture->file = mkstemp(path);
    if (capture->file < 0)
        return 0;
    unlink(path);
    for (int fd = 1; fd <= 2; fd++) {
        capture->saved[fd - 1] = dup(fd);
        dup2(capture->file, fd);
    }
    return 1;
}

static off_t end_capture(struct capture *capture)
{
    struct stat status;
    for (int fd = 1; fd <= 2; fd++) {
        dup2(capture->saved[fd - 1], fd);
        close(capture->saved[fd - 1]);
    }
    off_t written = fstat(capture->file, &status) == 0 ? status.st_size : -1;
    close(capture->file);
    return written;
}

static void nothing_is_written_to_stdout_or_stderr(void)
{
    char url[64];
    int refused = bound_socket(url, sizeof url); /* bound and not listening: every connection is refused */
    struct capture capture;
    CHECK_OR_LEAVE(refused >= 0 && begin_capture(&capture));
    cwl_status flushed, ended, works;

    cwl_sink *sink = open_at(url, "refused");
    push(sink, "m");
    flushed = cwl_flush(sink, 1000);
    ended = cwl_shutdown(sink, 100);
    cwl_sink_free(sink);
    cwl_push_event(NULL, NULL);
    sink = open_at(endpoint, "not-refused");
    push(sink, "m");
    works = cwl_shutdown(sink, 20000);
    cwl_sink_free(sink);

    off_t written = end_capture(&capture);
    CHECK_EQUAL(0, written);
    CHECK_EQUAL(CWL_ERR_TIMEOUT, flushed);
    CHECK_EQUAL(CWL_ERR_ABANDONED, ended);
    CHECK_EQUAL(CWL_OK, works);
    close(refused);
}

/* The environment before the first call of the library: its entries, each ending in a newline. */
static char *environment_at_start;

static char *copy_environment(void)
{
    size_t size = 1, at = 0;
    for (size_t i = 0; environ[i] != NULL; i++)
        size += strlen(environ[i]) + 1;
    char *copy = malloc(size);
    if (copy == NULL)
        exit(1);
    for (size_t i = 0; environ[i] != NULL; i++)
        at += (size_t)sprintf(copy + at, "%s\n", environ[i]);
    copy[at] = '\0';
    return copy;
}

static void the_environment_stays_as_it_is(void)
{
    cwl_sink *sink = open_at(endpoint, "environment");
    push(sink, "m");
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    char *now = copy_environment();
    CHECK(strcmp(environment_at_start, now) == 0);
    free(now);
}

/* ---- time ---- */

static void shutdown_is_punctual_at(const char *url, const char *what)
{
    enum { TIMEOUT_MS = 300, EVENTS = 3 };
    cwl_sink *sink = open_at(url, what);
    for (int i = 0; i < EVENTS; i++)
        push(sink, "m");
    CHECK_STATUS(CWL_ERR_TIMEOUT, cwl_flush(sink, 200));
    int64_t begun = now_ms();
    CHECK_STATUS(CWL_ERR_ABANDONED, cwl_shutdown(sink, TIMEOUT_MS));
    int64_t took = now_ms() - begun;
    if (took > TIMEOUT_MS + patience(SHUTDOWN_GRACE_MS))
        check_failed(__FILE__, __LINE__, "the shutdown took %lld ms at an endpoint that is %s", (long long)took, what);
    cwl_stats_snapshot stats = stats_of(sink);
    CHECK_EQUAL(EVENTS, stats.abandoned_events);
    CHECK_EQUAL(0, stats.pending_events);
    CHECK_EQUAL(0, library_threads_left());
    cwl_sink_free(sink);
}

static void shutdown_is_punctual_when_the_endpoint_refuses(void)
{
    char url[64];
    int refused = bound_socket(url, sizeof url);
    CHECK_OR_LEAVE(refused >= 0);
    shutdown_is_punctual_at(url, "refused");
    close(refused);
}

static void shutdown_is_punctual_when_the_endpoint_never_answers(void)
{
    char url[64];
    int hung = bound_socket(url, sizeof url); /* the kernel takes the connection, nobody reads it */
    CHECK_OR_LEAVE(hung >= 0 && listen(hung, 64) == 0);
    shutdown_is_punctual_at(url, "hung");
    close(hung);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    save_signals(&signals_at_start);
    environment_at_start = copy_environment();
    RUN(dispositions_and_masks_of_the_host_stay);
    RUN(a_mask_that_the_host_had_set_stays);
    RUN(no_thread_is_left_after_the_shutdown);
    RUN(freeing_without_a_shutdown_leaves_no_thread);
    RUN(the_hosts_handler_runs_on_the_hosts_threads_only);
    RUN(a_reset_connection_raises_no_sigpipe);
    RUN(nothing_is_written_to_stdout_or_stderr);
    RUN(the_environment_stays_as_it_is);
    RUN(shutdown_is_punctual_when_the_endpoint_refuses);
    RUN(shutdown_is_punctual_when_the_endpoint_never_answers);
    free(environment_at_start);
    return finish();
}
