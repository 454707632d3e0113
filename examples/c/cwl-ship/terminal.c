/* Standard error, shared with the library's threads: see terminal.h. */

#include "terminal.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cwl_sink.h"

/* One line at the bottom of the terminal that is written over, and messages that go above it. */
static struct {
    pthread_mutex_t lock; /* guards what follows and every write to stderr; nothing of the library is called under it */
    bool live;            /* a progress line is wanted and stderr is a terminal */
    size_t shown;         /* columns of the progress line that stands there now */
    char text[PROGRESS_SIZE];
} terminal = { PTHREAD_MUTEX_INITIALIZER, false, 0, "" };

static size_t terminal_columns(void)
{
#ifdef TIOCGWINSZ
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
#endif
    return 80;
}

/* Writes the progress line over the one that stands there. Blanks cover what a longer one would leave behind, and
 * the last column stays free, because a line that wraps cannot be written over. The lock is held. */
static void draw_progress(const char *text)
{
    size_t columns = terminal_columns();
    size_t width = strlen(text);
    if (width > columns - 1)
        width = columns - 1;
    size_t blanks = terminal.shown > width ? terminal.shown - width : 0;
    if (blanks > columns - 1 - width)
        blanks = columns - 1 - width;
    fprintf(stderr, "\r%.*s%*s", (int)width, text, (int)blanks, "");
    if (blanks > 0)
        fprintf(stderr, "\r%.*s", (int)width, text);
    fflush(stderr);
    terminal.shown = width;
}

static void clear_progress(void)
{
    if (terminal.shown > 0) {
        draw_progress("");
        fputc('\r', stderr);
        terminal.shown = 0;
    }
}

void begin_progress(void)
{
    terminal.live = isatty(STDERR_FILENO);
}

bool progress_wanted(void)
{
    return terminal.live;
}

void show_progress_text(const char *text)
{
    pthread_mutex_lock(&terminal.lock);
    if (terminal.shown == 0 || strcmp(text, terminal.text) != 0) {
        snprintf(terminal.text, sizeof terminal.text, "%s", text);
        draw_progress(terminal.text);
    }
    pthread_mutex_unlock(&terminal.lock);
}

void end_progress(void)
{
    pthread_mutex_lock(&terminal.lock);
    clear_progress();
    fflush(stderr);
    terminal.live = false;
    pthread_mutex_unlock(&terminal.lock);
}

/* Writes one message as one line, above the progress line if there is one. A message may hold what a service or a
 * file's name brought along, so control characters are replaced: no message is two lines or moves the cursor. */
void say(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++)
        if (iscntrl(*c))
            *c = ' ';

    pthread_mutex_lock(&terminal.lock);
    bool redraw = terminal.shown > 0;
    clear_progress();
    fprintf(stderr, "cwl-ship: %s\n", text);
    if (redraw)
        draw_progress(terminal.text);
    fflush(stderr);
    pthread_mutex_unlock(&terminal.lock);
}

/* The library's diagnostics. Called from its threads too, several at the same time. */
void log_from_library(int32_t level, const char *message, void *user)
{
    (void)user;
    say("%s: %s", level == CWL_LOG_ERROR ? "error" : "warning", message);
}
