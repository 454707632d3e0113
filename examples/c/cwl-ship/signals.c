/* Implements time and signals: see signals.h. */

#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

volatile sig_atomic_t signal_count;
volatile sig_atomic_t last_signal;
static int wake_pipe[2] = { -1, -1 };

/* The first signal asks for an orderly end, the second one for an end at once. The third one meets the default action,
 * in case the program hangs. */
static void on_signal(int number)
{
    int saved = errno;
    last_signal = number;
    if (signal_count < 2)
        signal_count = signal_count + 1;
    if (signal_count >= 2) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
    }
    ssize_t ignored = write(wake_pipe[1], "", 1);
    (void)ignored;
    errno = saved;
}

/* A signal that the parent process ignored stays ignored: a shell ignores SIGINT for its background jobs. */
static void install_handler(int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(number, &action, NULL); /* no SA_RESTART: a signal ends a wait */
}

bool install_signal_handlers(void)
{
    if (pipe(wake_pipe) != 0)
        return false;
    for (int end = 0; end < 2; end++) {
        fcntl(wake_pipe[end], F_SETFD, FD_CLOEXEC);
        fcntl(wake_pipe[end], F_SETFL, O_NONBLOCK);
    }
    /* The reader of stderr may go away. The lines must be sent all the same. */
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, NULL);
    install_handler(SIGINT);
    install_handler(SIGTERM);
    return true;
}

bool stop_requested(void)
{
    return signal_count > 0;
}

const char *last_signal_name(void)
{
    return last_signal == SIGINT ? "SIGINT" : "SIGTERM";
}

/* Nobody reads the byte from the pipe, so a signal that came just before the wait ends it too. */
bool wait_readable(int fd, int timeout_ms)
{
    struct pollfd watched[2] = {
        { .fd = wake_pipe[0], .events = POLLIN },
        { .fd = fd, .events = POLLIN },
    };
    return poll(watched, 2, timeout_ms) > 0 && watched[1].revents != 0;
}
