/* Implements messages and the progress line, which the library's threads use too: see terminal.h. */

#include "terminal.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cwl_sink.h"

/* The progress line is the last line of the terminal; messages are printed above it. */
static struct {
    /* Guards the other members and every write to stderr. No function of the library is called under this lock. */
    pthread_mutex_t lock;
    bool enabled;         /* the progress line is wanted, and stderr is a terminal */
    size_t shown_columns; /* the columns that the progress line takes now */
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

/* Overwrites the progress line. Blanks cover the rest of a longer line. The last column stays free, because a line that
 * wraps cannot be overwritten. The caller holds the lock. */
static void redraw(const char *text)
{
    size_t columns = terminal_columns();
    size_t width = strlen(text);
    if (width > columns - 1)
        width = columns - 1;
    size_t blanks = terminal.shown_columns > width ? terminal.shown_columns - width : 0;
    if (blanks > columns - 1 - width)
        blanks = columns - 1 - width;
    fprintf(stderr, "\r%.*s%*s", (int)width, text, (int)blanks, "");
    if (blanks > 0)
        fprintf(stderr, "\r%.*s", (int)width, text);
    fflush(stderr);
    terminal.shown_columns = width;
}

static void clear_line(void)
{
    if (terminal.shown_columns > 0) {
        redraw("");
        fputc('\r', stderr);
        terminal.shown_columns = 0;
    }
}

void start_progress(void)
{
    terminal.enabled = isatty(STDERR_FILENO);
}

bool progress_enabled(void)
{
    return terminal.enabled;
}

void draw_progress_line(const char *text)
{
    pthread_mutex_lock(&terminal.lock);
    if (terminal.shown_columns == 0 || strcmp(text, terminal.text) != 0) {
        snprintf(terminal.text, sizeof terminal.text, "%s", text);
        redraw(terminal.text);
    }
    pthread_mutex_unlock(&terminal.lock);
}

void stop_progress(void)
{
    pthread_mutex_lock(&terminal.lock);
    clear_line();
    fflush(stderr);
    terminal.enabled = false;
    pthread_mutex_unlock(&terminal.lock);
}

/* A message may contain text of a service or a file's name. Control characters in it are replaced, so that it stays one
 * line and does not move the cursor. */
void print_message(const char *format, ...)
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
    bool was_shown = terminal.shown_columns > 0;
    clear_line();
    fprintf(stderr, "cwl-ship: %s\n", text);
    if (was_shown)
        redraw(terminal.text);
    fflush(stderr);
    pthread_mutex_unlock(&terminal.lock);
}

/* The library calls this from its own threads, also from several at the same time. */
void log_from_library(int32_t level, const char *message, void *user)
{
    (void)user;
    print_message("%s: %s", level == CWL_LOG_ERROR ? "error" : "warning", message);
}
