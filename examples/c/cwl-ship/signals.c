/* Time and signals: see signals.h. */

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

volatile sig_atomic_t signals_seen;
volatile sig_atomic_t last_signal;
static int wake_pipe[2] = { -1, -1 };

/* The first signal asks for an orderly end, the second for one at once; the third finds the default action, in case
 * even that hangs. */
static void on_signal(int number)
{
    int saved = errno;
    last_signal = number;
    if (signals_seen < 2)
        signals_seen = signals_seen + 1;
    if (signals_seen >= 2) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
    }
    ssize_t ignored = write(wake_pipe[1], "", 1);
    (void)ignored;
    errno = saved;
}

/* A signal that the parent had ignored, as a shell does for its background jobs, stays ignored. */
static void catch_signal(int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(number, &action, NULL); /* without SA_RESTART: a signal ends a wait */
}

bool catch_signals(void)
{
    if (pipe(wake_pipe) != 0)
        return false;
    for (int end = 0; end < 2; end++) {
        fcntl(wake_pipe[end], F_SETFD, FD_CLOEXEC);
        fcntl(wake_pipe[end], F_SETFL, O_NONBLOCK);
    }
    /* Whoever reads stderr may go away; the lines must be sent all the same. */
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, NULL);
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    return true;
}

bool stopping(void)
{
    return signals_seen > 0;
}

const char *last_signal_name(void)
{
    return last_signal == SIGINT ? "SIGINT" : "SIGTERM";
}

/* The pipe keeps its byte: a signal that came just before is seen too. */
bool wait_for(int fd, int timeout_ms)
{
    struct pollfd watched[2] = {
        { .fd = wake_pipe[0], .events = POLLIN },
        { .fd = fd, .events = POLLIN },
    };
    return poll(watched, 2, timeout_ms) > 0 && watched[1].revents != 0;
}
