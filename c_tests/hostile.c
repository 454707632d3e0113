/*
 * Tests that the library is a good guest in another program: it does not take the host's signals, change their
 * handling, write to standard output or error, touch the environment, leave threads behind or return late.
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

/* cwl_shutdown returns at most this long after its time-out. */
#define SHUTDOWN_GRACE_MS 500

static const char *endpoint;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The runner sets this variable when the program runs under valgrind, which is many times slower. */
static int under_valgrind(void)
{
    return getenv("CWL_TEST_VALGRIND") != NULL;
}

/* Returns a longer time under valgrind. */
static int64_t scaled_ms(int64_t ms)
{
    return under_valgrind() ? ms * 20 : ms;
}

static cwl_sink *open_at(const char *url, const char *test)
{
    cwl_config *config = test_config(url, test);
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", "5"));
    return open_sink(config);
}

static void push(cwl_sink *sink, const char *message)
{
    cwl_event event = test_event(message);
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
}

/* ---- threads of this process ---- */

enum { NAME_SIZE = 256 };

static int read_task_file(const char *task, const char *file, char *text, size_t size)
{
    char path[2 * NAME_SIZE];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    FILE *stream = fopen(path, "r");
    if (stream == NULL)
        return 0; /* the thread has ended in the meantime */
    size_t length = fread(text, 1, size - 1, stream);
    fclose(stream);
    text[length] = '\0';
    return length > 0;
}

/* Valgrind executes the program's instructions itself. It needs the signals that they raise, and one for itself. */
static int is_used_by_valgrind(int number)
{
    return number == SIGILL || number == SIGTRAP || number == SIGBUS || number == SIGFPE || number == SIGSEGV
           || number == SIGSYS || number == SIGRTMAX;
}

/* A fault raises these on the thread at fault; they are not blocked, so that the host's crash reporter sees it. */
static int is_of_fault(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP
           || number == SIGSYS;
}

static void check_all_blocked(const char *task)
{
    char text[8192];
    if (!read_task_file(task, "status", text, sizeof text))
        return;
    const char *line = strstr(text, "SigBlk:");
    unsigned long long blocked = 0;
    CHECK_OR_RETURN(line != NULL && sscanf(line, "SigBlk: %llx", &blocked) == 1);
    for (int number = 1; number <= SIGRTMAX; number++) {
        int cannot = number == SIGKILL || number == SIGSTOP || (number > 31 && number < SIGRTMIN)
                     || (under_valgrind() && is_used_by_valgrind(number));
        int is_blocked = (blocked >> (number - 1) & 1) != 0;
        if (!cannot && is_blocked == is_of_fault(number))
            fail_check(__FILE__, __LINE__, "thread %s of the library %s signal %d", task,
                       is_blocked ? "blocks" : "does not block", number);
    }
}

/* Counts the threads of the library, and checks their signal masks if `check_masks`. */
static int library_threads(int check_masks)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    while (tasks != NULL && (task = readdir(tasks)) != NULL) {
        char name[NAME_SIZE];
        if (task->d_name[0] == '.' || !read_task_file(task->d_name, "comm", name, sizeof name))
            continue;
        if (strncmp(name, "cwl-", 4) != 0)
            continue;
        count++;
        if (check_masks)
            check_all_blocked(task->d_name);
    }
    if (tasks != NULL)
        closedir(tasks);
    return count;
}

/* Waits until there are at least `wanted` threads: a new thread sets its own name, so it may not have the name yet. */
static int library_threads_at_least(int wanted, int check_masks)
{
    int64_t deadline = now_ms() + scaled_ms(5000);
    int count;
    while ((count = library_threads(0)) < wanted && now_ms() < deadline)
        sleep_ms(1);
    return check_masks ? library_threads(1) : count;
}

/* Waits until no thread is left: the joiner of a thread may continue shortly before the thread leaves /proc. */
static int library_threads_left(void)
{
    int64_t deadline = now_ms() + scaled_ms(200);
    int left;
    while ((left = library_threads(0)) > 0 && now_ms() < deadline)
        sleep_ms(1);
    return left;
}

static void no_thread_of_the_library_is_left_after_shutdown(void)
{
    cwl_sink *one = open_at(endpoint, "threads-one");
    CHECK(library_threads_at_least(2, 0) >= 2); /* worker_threads is 2 */
    cwl_sink *two = open_at(endpoint, "threads-two");
    CHECK(library_threads_at_least(4, 0) >= 4);
    push(one, "m");
    push(two, "m");
    CHECK_STATUS(CWL_OK, cwl_shutdown(one, 10000));
    CHECK(library_threads_at_least(2, 0) >= 2); /* those of the other sink */
    CHECK_STATUS(CWL_OK, cwl_shutdown(two, 10000));
    CHECK_EQUAL(0, library_threads_left());
    cwl_sink_free(one);
    cwl_sink_free(two);
}

static void freeing_a_sink_without_shutdown_leaves_no_thread(void)
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
static int helper_stop; /* guarded by helper_lock */

static int helper_stop_requested(void)
{
    pthread_mutex_lock(&helper_lock);
    int requested = helper_stop;
    pthread_mutex_unlock(&helper_lock);
    return requested;
}

static void *push_until_stopped(void *sink)
{
    while (!helper_stop_requested()) {
        push(sink, "from a host thread that blocks the signal");
        sleep_ms(1);
    }
    return NULL;
}

/* Only the main thread does not block the signal, so it must be the one that handles it. */
static void send_signals_to_main(cwl_sink *sink)
{
    for (int i = 0; i < 2000; i++) {
        if (i % 50 == 0)
            push(sink, "while signals come");
        kill(getpid(), SIGUSR1);
    }
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    CHECK(on_main > 0);
    CHECK_EQUAL(0, on_others);
}

/* Every thread of the host blocks the signal, so it must stay pending while the threads of the library run. */
static void send_signals_to_nobody(cwl_sink *sink)
{
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
}

static void signal_handlers_of_the_host_run_only_on_its_own_threads(void)
{
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    sigemptyset(&action.sa_mask);
    main_thread = pthread_self();
    on_main = on_others = 0;
    helper_stop = 0;
    CHECK_OR_RETURN(sigaction(SIGUSR1, &action, &before) == 0);

    /* Opened while no signal is blocked, so that the library's threads cannot have inherited a mask that blocks. */
    cwl_sink *sink = open_at(endpoint, "signals");
    CHECK(library_threads_at_least(2, 1) >= 2);
    pthread_t helper;
    block_usr1(SIG_BLOCK); /* the helper inherits this mask */
    CHECK_OR_RETURN(pthread_create(&helper, NULL, push_until_stopped, sink) == 0);
    block_usr1(SIG_UNBLOCK);
    send_signals_to_main(sink);
    send_signals_to_nobody(sink);

    pthread_mutex_lock(&helper_lock);
    helper_stop = 1;
    pthread_mutex_unlock(&helper_lock);
    pthread_join(helper, NULL);
    CHECK(library_threads_at_least(2, 1) >= 2); /* includes the threads that were started since */
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
            fail_check(__FILE__, __LINE__, "%s the disposition of signal %d has changed", when, number);
        if (before->known[number] && sigismember(&before->mask, number) != sigismember(&after.mask, number))
            fail_check(__FILE__, __LINE__, "%s the mask of the caller has changed for signal %d", when, number);
    }
}

/* The state before the first call of the library: a change that is made only once must not hide in an earlier test. */
static struct signal_state signals_at_start;

static void signal_dispositions_and_masks_of_the_host_stay_unchanged(void)
{
    cwl_sink *sink = open_at(endpoint, "dispositions");
    check_signals(&signals_at_start, "after cwl_sink_open");
    push(sink, "m");
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    check_signals(&signals_at_start, "after cwl_flush");
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    check_signals(&signals_at_start, "after cwl_shutdown");
    CHECK_STATUS(CWL_ERR_INVALID_ARGUMENT, cwl_flush(NULL, 0));
    check_signals(&signals_at_start, "after an error");
}

/* A mask that blocked a signal before the call is restored too. */
static void a_signal_mask_set_by_the_host_stays_unchanged(void)
{
    struct signal_state before;
    sigset_t mine, old;
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mine, &old);
    save_signals(&before);
    cwl_sink *sink = open_at(endpoint, "mask");
    check_signals(&before, "after cwl_sink_open");
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    check_signals(&before, "after cwl_shutdown");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Accepts connections and resets each at once, so that the library writes into closed sockets. */
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
    CHECK_OR_RETURN(listener >= 0 && listen(listener, 64) == 0);
    pthread_t thread;
    CHECK_OR_RETURN(pthread_create(&thread, NULL, reset_connections, &listener) == 0);
    cwl_sink *sink = open_at(url, "reset");
    push(sink, "m");
    CHECK_STATUS(CWL_ERR_TIMEOUT, cwl_flush(sink, 1000));
    CHECK(stats_of(sink).requests_failed > 0);
    CHECK_STATUS(CWL_ERR_ABANDONED, cwl_shutdown(sink, 100)); /* reached only when no SIGPIPE has ended the process */
    cwl_sink_free(sink);
    shutdown(listener, SHUT_RDWR); /* ends the accept() of the thread */
    pthread_join(thread, NULL);
    close(listener);
}

/* ---- standard output and error, environment ---- */

/* Standard output and standard error, redirected into one file. */
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
    int refused = bound_socket(url, sizeof url); /* bound but not listening: every connection is refused */
    struct capture capture;
    CHECK_OR_RETURN(refused >= 0 && begin_capture(&capture));
    cwl_status flush_status, refused_status, working_status;

    cwl_sink *sink = open_at(url, "refused");
    push(sink, "m");
    flush_status = cwl_flush(sink, 1000);
    refused_status = cwl_shutdown(sink, 100);
    cwl_sink_free(sink);
    cwl_push_event(NULL, NULL);
    sink = open_at(endpoint, "not-refused");
    push(sink, "m");
    working_status = cwl_shutdown(sink, 20000);
    cwl_sink_free(sink);

    off_t written = end_capture(&capture);
    CHECK_EQUAL(0, written);
    CHECK_EQUAL(CWL_ERR_TIMEOUT, flush_status);
    CHECK_EQUAL(CWL_ERR_ABANDONED, refused_status);
    CHECK_EQUAL(CWL_OK, working_status);
    close(refused);
}

/* The environment before the first call of the library; each entry ends in a newline. */
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

static void the_environment_stays_unchanged(void)
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

static void check_shutdown_time_at(const char *url, const char *what)
{
    enum { TIMEOUT_MS = 300, EVENTS = 3 };
    cwl_sink *sink = open_at(url, what);
    for (int i = 0; i < EVENTS; i++)
        push(sink, "m");
    CHECK_STATUS(CWL_ERR_TIMEOUT, cwl_flush(sink, 200));
    int64_t started_at_ms = now_ms();
    CHECK_STATUS(CWL_ERR_ABANDONED, cwl_shutdown(sink, TIMEOUT_MS));
    int64_t took_ms = now_ms() - started_at_ms;
    if (took_ms > TIMEOUT_MS + scaled_ms(SHUTDOWN_GRACE_MS))
        fail_check(__FILE__, __LINE__, "cwl_shutdown took %lld ms with the endpoint %s", (long long)took_ms, what);
    cwl_stats_snapshot stats = stats_of(sink);
    CHECK_EQUAL(EVENTS, stats.abandoned_events);
    CHECK_EQUAL(0, stats.pending_events);
    CHECK_EQUAL(0, library_threads_left());
    cwl_sink_free(sink);
}

static void shutdown_keeps_its_timeout_when_the_endpoint_refuses_connections(void)
{
    char url[64];
    int refused = bound_socket(url, sizeof url);
    CHECK_OR_RETURN(refused >= 0);
    check_shutdown_time_at(url, "refused");
    close(refused);
}

static void shutdown_keeps_its_timeout_when_the_endpoint_never_answers(void)
{
    char url[64];
    int hung = bound_socket(url, sizeof url); /* the kernel accepts the connection, and nobody reads from it */
    CHECK_OR_RETURN(hung >= 0 && listen(hung, 64) == 0);
    check_shutdown_time_at(url, "hung");
    close(hung);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    save_signals(&signals_at_start);
    environment_at_start = copy_environment();
    RUN(signal_dispositions_and_masks_of_the_host_stay_unchanged);
    RUN(a_signal_mask_set_by_the_host_stays_unchanged);
    RUN(no_thread_of_the_library_is_left_after_shutdown);
    RUN(freeing_a_sink_without_shutdown_leaves_no_thread);
    RUN(signal_handlers_of_the_host_run_only_on_its_own_threads);
    RUN(a_reset_connection_raises_no_sigpipe);
    RUN(nothing_is_written_to_stdout_or_stderr);
    RUN(the_environment_stays_unchanged);
    RUN(shutdown_keeps_its_timeout_when_the_endpoint_refuses_connections);
    RUN(shutdown_keeps_its_timeout_when_the_endpoint_never_answers);
    free(environment_at_start);
    return finish();
}
