/*
 * cwl-ship - send the lines of files or of standard input to Amazon CloudWatch Logs.
 *
 * A small agent on top of libcwl_sink: one thread reads and pushes, the library batches, sends and retries on
 * threads of its own. The way of a line:
 *
 *     ship_input    opens an input and reads it block by block, until its end or a signal
 *     take_lines    cuts the blocks into lines; a line that is not complete waits for the next block
 *     ship_line     pushes one line, and waits while the library has no room
 *     drain         after the last line: flush, as long as --timeout allows, then shut down
 *
 * Signals only write into a pipe that every wait also looks at, so that none of them can fall between a check
 * and a wait. What was read when a signal came is still sent.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cwl_sink.h"

enum {
    EXIT_DELIVERED = 0,
    EXIT_NOT_DELIVERED = 1,
    EXIT_BAD_INPUT = 2
};

/* Bytes asked of one read(). */
#define READ_BYTES ((size_t)256 * 1024)

/* What is kept of one line. CloudWatch Logs takes at most 1,048,550 bytes, so a line of more than this is refused
 * whatever follows; the rest of it is counted and not kept, and memory stays bounded. */
#define LINE_KEPT_BYTES ((size_t)8 * 1024 * 1024)

/* Refused lines named one by one; the summary counts them all. */
#define REFUSALS_NAMED 10

/* How often the progress line is written, and the longest that anything waits without looking at signals. */
#define PROGRESS_MS 200
#define SLICE_MS 100

/* The longest that a push waits inside the library before the agent looks at signals and at the clock again. */
#define BLOCK_SLICE_MS "200"

#define DEFAULT_TIMEOUT_MS INT64_C(60000)
#define MAX_TIMEOUT_S 1e6

/* ---- standard error, shared with the library's threads -------------------------------------------------------- */

/* One line at the bottom of the terminal that is written over, and messages that go above it. */
static struct {
    pthread_mutex_t lock; /* guards what follows and every write to stderr; nothing of the library is called under it */
    bool live;            /* a progress line is wanted and stderr is a terminal */
    size_t shown;         /* columns of the progress line that stands there now */
    char text[256];
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

static void show_progress_text(const char *text)
{
    pthread_mutex_lock(&terminal.lock);
    if (terminal.shown == 0 || strcmp(text, terminal.text) != 0) {
        snprintf(terminal.text, sizeof terminal.text, "%s", text);
        draw_progress(terminal.text);
    }
    pthread_mutex_unlock(&terminal.lock);
}

static void end_progress(void)
{
    pthread_mutex_lock(&terminal.lock);
    clear_progress();
    fflush(stderr);
    terminal.live = false;
    pthread_mutex_unlock(&terminal.lock);
}

/* Writes one message as one line, above the progress line if there is one. A message may hold what a service or a
 * file's name brought along, so control characters are replaced: no message is two lines or moves the cursor. */
static void say(const char *format, ...)
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
static void log_from_library(int32_t level, const char *message, void *user)
{
    (void)user;
    say("%s: %s", level == CWL_LOG_ERROR ? "error" : "warning", message);
}

/* ---- time and signals ------------------------------------------------------------------------------------------ */

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

static volatile sig_atomic_t signals_seen;
static volatile sig_atomic_t last_signal;
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

static bool catch_signals(void)
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

/* ---- options --------------------------------------------------------------------------------------------------- */

struct options {
    cwl_config *config; /* what was set with --group, --stream, --endpoint, --region and --set */
    bool group_given;
    bool stream_given;
    bool when_full_given;
    bool blocks; /* when_full=block: a push that finds no room is tried again */
    bool block_timeout_given;
    bool quiet;
    bool help;
    bool version;
    int64_t timeout_ms;
    char **files;
    size_t file_count;
    int mistakes; /* each has been named on stderr */
};

static const char HELP[] =
    "Send the lines of files or of standard input to Amazon CloudWatch Logs.\n"
    "\n"
    "Usage: cwl-ship --group GROUP --stream STREAM [OPTION]... [FILE...]\n"
    "\n"
    "Every line becomes one event, without the newline that ends it. Without FILE, and where FILE is -, standard\n"
    "input is read. Empty lines cannot be sent; they are counted.\n"
    "\n"
    "  --group GROUP       log group; it is created if it is missing\n"
    "  --stream STREAM     log stream; it is created if it is missing\n"
    "  --endpoint URL      another endpoint than the region's own, such as http://127.0.0.1:4586\n"
    "  --region REGION     AWS region, such as eu-central-1; else AWS_REGION or the profile name it\n"
    "  --set KEY=VALUE     set any option of the library, such as compression=none; may be given again\n"
    "  --timeout SECONDS   how long to go on sending after the last line was read [default: 60]\n"
    "  --quiet             no progress, and no summary when everything was delivered\n"
    "  --help, --version   print that and leave\n"
    "\n"
    "Credentials are found as every AWS tool finds them: environment, profile, container, instance.\n"
    "SIGINT and SIGTERM end the reading; what was read is still sent. A second one leaves at once.\n"
    "\n"
    "Exit code: 0 all that was read was delivered, 1 something was not, 2 nothing was sent because an option or\n"
    "a file is wrong.\n";

/* Names one mistake. They are collected, so that a caller sees all of them at once. */
#define MISTAKE(options, ...) ((options)->mistakes++, say(__VA_ARGS__))

static void set_option(struct options *options, const char *flag, const char *key, const char *value)
{
    if (cwl_config_set(options->config, key, value) != CWL_OK)
        MISTAKE(options, "%s: %s", flag, cwl_last_error());
    if (strcmp(key, "log_group") == 0)
        options->group_given = true;
    if (strcmp(key, "log_stream") == 0)
        options->stream_given = true;
    if (strcmp(key, "block_timeout_ms") == 0)
        options->block_timeout_given = true;
    if (strcmp(key, "when_full") == 0) {
        options->when_full_given = true;
        options->blocks = strcmp(value, "block") == 0;
    }
}

/* --set KEY=VALUE. The value does not stand in our own messages: it may be a secret. */
static void set_pair(struct options *options, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair) {
        MISTAKE(options, "--set needs KEY=VALUE, such as --set compression=none");
        return;
    }
    size_t length = (size_t)(equals - pair);
    char key[64], flag[sizeof key + 8];
    if (length >= sizeof key)
        length = sizeof key - 1; /* longer than any key: the library refuses what is left of it */
    memcpy(key, pair, length);
    key[length] = '\0';
    snprintf(flag, sizeof flag, "--set %s", key);
    set_option(options, flag, key, equals + 1);
}

static void set_timeout(struct options *options, const char *text)
{
    char *end = NULL;
    bool plain = *text != '\0' && strspn(text, "0123456789.") == strlen(text);
    double seconds = plain ? strtod(text, &end) : -1.0;
    if (!plain || *end != '\0' || seconds < 0.0 || seconds > MAX_TIMEOUT_S) {
        MISTAKE(options, "--timeout is \"%s\"; allowed are seconds from 0 to %.0f", text, MAX_TIMEOUT_S);
        return;
    }
    options->timeout_ms = (int64_t)(seconds * 1000.0);
}

static void take_flag(struct options *options, const char *name)
{
    if (strcmp(name, "--quiet") == 0)
        options->quiet = true;
    else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        options->help = true;
    else if (strcmp(name, "--version") == 0)
        options->version = true;
    else
        MISTAKE(options, "there is no option %s; --help lists them", name);
}

static void take_valued(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--group") == 0)
        set_option(options, name, "log_group", value);
    else if (strcmp(name, "--stream") == 0)
        set_option(options, name, "log_stream", value);
    else if (strcmp(name, "--endpoint") == 0)
        set_option(options, name, "endpoint_url", value);
    else if (strcmp(name, "--region") == 0)
        set_option(options, name, "region", value);
    else if (strcmp(name, "--set") == 0)
        set_pair(options, value);
    else
        set_timeout(options, value);
}

static bool takes_value(const char *name)
{
    static const char *const valued[] = { "--group", "--stream", "--endpoint", "--region", "--set", "--timeout" };
    for (size_t i = 0; i < sizeof valued / sizeof valued[0]; i++)
        if (strcmp(name, valued[i]) == 0)
            return true;
    return false;
}

/* Takes the option that stands at argv[at], as --name VALUE or --name=VALUE; returns where the next argument is. */
static int take_option(struct options *options, int argc, char **argv, int at)
{
    char name[32];
    const char *equals = strchr(argv[at], '=');
    size_t length = equals != NULL ? (size_t)(equals - argv[at]) : strlen(argv[at]);
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), argv[at]);
    if (!takes_value(name)) {
        if (equals != NULL)
            MISTAKE(options, "there is no option %s that takes a value; --help lists them", name);
        else
            take_flag(options, argv[at]);
        return at + 1;
    }
    if (equals != NULL) {
        take_valued(options, name, equals + 1);
        return at + 1;
    }
    if (at + 1 >= argc) {
        MISTAKE(options, "%s needs a value", name);
        return at + 1;
    }
    take_valued(options, name, argv[at + 1]);
    return at + 2;
}

/* Reads the command line. Files are gathered at the front of argv, in their order. */
static void read_options(struct options *options, int argc, char **argv)
{
    bool options_over = false;
    options->files = argv + 1;
    for (int at = 1; at < argc;) {
        if (options_over || argv[at][0] != '-' || strcmp(argv[at], "-") == 0) {
            options->files[options->file_count++] = argv[at++];
        } else if (strcmp(argv[at], "--") == 0) {
            options_over = true;
            at++;
        } else {
            at = take_option(options, argc, argv, at);
        }
    }
}

/* A reader of lines can wait, so it does, where the library would by default refuse what it has no room for. Each
 * wait is short, so that signals and progress are looked at in between. */
static void settle_blocking(struct options *options)
{
    if (!options->when_full_given)
        set_option(options, "when_full", "when_full", "block");
    if (options->blocks && !options->block_timeout_given)
        set_option(options, "block_timeout_ms", "block_timeout_ms", BLOCK_SLICE_MS);
}

static bool is_stdin(const char *file)
{
    return strcmp(file, "-") == 0;
}

/* How a file is opened: a named pipe without a writer must not hold up the open, and is waited for with poll(). */
static int open_file(const char *file)
{
    return open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Whether the file can be read. A pipe is not opened for that: its writer would see a reader come and go. */
static void check_file(struct options *options, const char *file)
{
    struct stat status;
    int error = 0;
    if (is_stdin(file) ? fstat(STDIN_FILENO, &status) != 0 : stat(file, &status) != 0) {
        error = errno;
    } else if (S_ISDIR(status.st_mode)) {
        error = EISDIR;
    } else if (S_ISSOCK(status.st_mode) && !is_stdin(file)) {
        error = ENXIO;
    } else if (S_ISREG(status.st_mode) && !is_stdin(file)) {
        int fd = open_file(file);
        if (fd < 0)
            error = errno;
        else
            close(fd);
    } else if (!is_stdin(file) && faccessat(AT_FDCWD, file, R_OK, AT_EACCESS) != 0) {
        error = errno;
    }
    if (error != 0)
        MISTAKE(options, "cannot read %s: %s", is_stdin(file) ? "standard input" : file, strerror(error));
}

static void check_options(struct options *options)
{
    static char *standard_input[] = { "-" };
    if (options->file_count == 0) {
        options->files = standard_input;
        options->file_count = 1;
    }
    if (!options->group_given)
        MISTAKE(options, "no log group: give one with --group GROUP");
    if (!options->stream_given)
        MISTAKE(options, "no log stream: give one with --stream STREAM");
    settle_blocking(options);
    for (size_t i = 0; i < options->file_count; i++)
        check_file(options, options->files[i]);
}

/* ---- inputs ---------------------------------------------------------------------------------------------------- */

/* A file or standard input, and how far it has been read. */
struct input {
    const char *name;
    int fd;
    bool regular;       /* what is not read of it now can be read another time */
    uint64_t line;      /* number of the line that was taken last, from 1 */
    char *data;         /* bytes of lines that are not complete yet */
    size_t capacity;
    size_t length;
    size_t scanned;     /* the first so many bytes hold no newline */
    uint64_t line_cut;  /* bytes of the present line that were read and not kept */
};

struct shipper {
    const struct options *options;
    cwl_sink *sink;
    cwl_target *target;
    int64_t started_ms;
    int64_t progress_ms;    /* when the progress line was written last */
    int64_t deadline_ms;    /* when to leave, once reading is over; 0 before that */
    int64_t timestamp_ms;   /* of the last event: time never runs backwards within the stream */
    uint64_t lines;
    uint64_t pushed;
    uint64_t pushed_bytes;
    uint64_t refused;       /* lines that the library does not take */
    uint64_t unsent;        /* lines that were read, and for which there was no room before the end */
    uint64_t empty;
    bool read_failed;
};

static bool stopping(void)
{
    return signals_seen > 0;
}

/* From now on --timeout runs. */
static void start_leaving(struct shipper *ship)
{
    if (ship->deadline_ms == 0)
        ship->deadline_ms = monotonic_ms() + ship->options->timeout_ms;
}

static bool must_leave(struct shipper *ship)
{
    if (stopping())
        start_leaving(ship);
    return signals_seen >= 2 || (ship->deadline_ms != 0 && monotonic_ms() >= ship->deadline_ms);
}

static void show_progress(struct shipper *ship)
{
    if (!terminal.live)
        return;
    int64_t now = monotonic_ms();
    if (now - ship->progress_ms < PROGRESS_MS)
        return;
    ship->progress_ms = now;

    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    if (cwl_stats(ship->sink, &stats) != CWL_OK)
        return;
    char text[sizeof terminal.text], retrying[64] = "";
    if (stats.targets_failing > 0)
        snprintf(retrying, sizeof retrying, ", retrying (%" PRIu64 " requests failed)", stats.requests_failed);
    snprintf(text, sizeof text, "%s%" PRIu64 " lines, %.1f MB: %" PRIu64 " delivered, %" PRIu64 " pending%s",
             ship->deadline_ms != 0 ? "flushing: " : "", ship->lines, (double)ship->pushed_bytes / 1e6,
             stats.delivered_events, stats.pending_events, retrying);
    show_progress_text(text);
}

static void refuse_line(struct shipper *ship, const struct input *input, const char *reason)
{
    ship->refused++;
    if (ship->refused <= REFUSALS_NAMED)
        say("%s:%" PRIu64 ": not sent: %s", input->name, input->line, reason);
    if (ship->refused == REFUSALS_NAMED + 1)
        say("more lines are not sent; the summary counts them");
}

/* The time of an event. The wall clock may be set back, which would change the order of the lines. */
static int64_t next_timestamp_ms(struct shipper *ship)
{
    int64_t now = clock_ms(CLOCK_REALTIME);
    if (now > ship->timestamp_ms)
        ship->timestamp_ms = now;
    return ship->timestamp_ms;
}

static void ship_line(struct shipper *ship, struct input *input, const char *line, size_t length)
{
    input->line++;
    ship->lines++;
    if (length == 0) {
        ship->empty++;
        return;
    }
    cwl_event event = {
        .struct_size = sizeof event,
        .timestamp_ms = next_timestamp_ms(ship),
        .message = line,
        .message_len = length,
    };
    for (;;) {
        if (must_leave(ship)) {
            ship->unsent++;
            return;
        }
        cwl_status status = cwl_target_push(ship->target, &event);
        show_progress(ship);
        if (status == CWL_OK) {
            ship->pushed++;
            ship->pushed_bytes += length;
            return;
        }
        if (status != CWL_ERR_FULL || !ship->options->blocks) {
            refuse_line(ship, input, cwl_last_error());
            return;
        }
    }
}

/* A line of which only the beginning was kept, because it is too long whatever follows. */
static void ship_cut_line(struct shipper *ship, struct input *input, size_t kept)
{
    char reason[128];
    snprintf(reason, sizeof reason, "the line has %" PRIu64 " bytes, and CloudWatch Logs takes about 1 MB",
             (uint64_t)kept + input->line_cut);
    input->line++;
    ship->lines++;
    input->line_cut = 0;
    refuse_line(ship, input, reason);
}

static void end_line(struct shipper *ship, struct input *input, const char *line, size_t length)
{
    if (input->line_cut > 0)
        ship_cut_line(ship, input, length);
    else
        ship_line(ship, input, line, length);
}

/* Ships every complete line of what was read and keeps the rest for the next block. */
static void take_lines(struct shipper *ship, struct input *input)
{
    size_t begin = 0;
    char *newline;
    while ((newline = memchr(input->data + input->scanned, '\n', input->length - input->scanned)) != NULL) {
        size_t end = (size_t)(newline - input->data);
        end_line(ship, input, input->data + begin, end - begin);
        begin = input->scanned = end + 1;
    }
    input->length -= begin;
    memmove(input->data, input->data + begin, input->length);
    if (input->length > LINE_KEPT_BYTES) {
        input->line_cut += input->length - LINE_KEPT_BYTES;
        input->length = LINE_KEPT_BYTES;
    }
    input->scanned = input->length;
}

/* Makes room for one more block. Returns false without memory. */
static bool make_room(struct input *input)
{
    size_t wanted = input->length + READ_BYTES;
    if (wanted <= input->capacity)
        return true;
    size_t capacity = input->capacity * 2 > wanted ? input->capacity * 2 : wanted;
    char *data = realloc(input->data, capacity);
    if (data == NULL)
        return false;
    input->data = data;
    input->capacity = capacity;
    return true;
}

/* Waits until the input can be read. The pipe of the signals is part of the wait, and it keeps its byte: a signal
 * that came just before is seen too. Returns false when a signal asks to stop. */
static bool wait_readable(struct shipper *ship, const struct input *input)
{
    for (;;) {
        struct pollfd watched[2] = {
            { .fd = wake_pipe[0], .events = POLLIN },
            { .fd = input->fd, .events = POLLIN },
        };
        int ready = poll(watched, 2, terminal.live ? PROGRESS_MS : -1);
        if (stopping())
            return false;
        if (ready > 0)
            return true;
        show_progress(ship); /* time-out, or another signal */
    }
}

static void read_failed(struct shipper *ship, const struct input *input, int error)
{
    ship->read_failed = true;
    say("%s: cannot read on after line %" PRIu64 ": %s", input->name, input->line, strerror(error));
}

/* Reads to the end of the input. Returns false when it was left before. */
static bool read_lines(struct shipper *ship, struct input *input)
{
    while (wait_readable(ship, input)) {
        if (!make_room(input)) {
            read_failed(ship, input, ENOMEM);
            return false;
        }
        ssize_t got = read(input->fd, input->data + input->length, READ_BYTES);
        if (got == 0)
            return true;
        if (got > 0) {
            input->length += (size_t)got;
            take_lines(ship, input);
        } else if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) {
            read_failed(ship, input, errno);
            return false;
        }
    }
    return false;
}

/* The beginning of a line of which no end came. Where a signal ended the reading of a file, the whole line is still
 * there for the next time; what came out of a pipe would be lost. */
static void ship_rest(struct shipper *ship, struct input *input, bool at_end)
{
    if (input->length > 0 && (at_end || !input->regular))
        end_line(ship, input, input->data, input->length);
}

static void ship_input(struct shipper *ship, const char *file)
{
    struct input input = { .name = is_stdin(file) ? "stdin" : file };
    struct stat status;
    input.fd = is_stdin(file) ? STDIN_FILENO : open_file(file);
    if (input.fd < 0) {
        ship->read_failed = true;
        say("cannot read %s: %s", file, strerror(errno));
        return;
    }
    input.regular = fstat(input.fd, &status) == 0 && S_ISREG(status.st_mode);
    bool at_end = read_lines(ship, &input);
    ship_rest(ship, &input, at_end);
    if (!at_end && stopping())
        say("%s: stopped after line %" PRIu64 " by %s", input.name, input.line,
            last_signal == SIGINT ? "SIGINT" : "SIGTERM");
    free(input.data);
    if (!is_stdin(file))
        close(input.fd);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* Opens sink and target. Returns the exit code, EXIT_DELIVERED for "go on". */
static int open_sink(struct shipper *ship)
{
    cwl_status status = cwl_sink_open(ship->options->config, &ship->sink);
    if (status == CWL_OK)
        status = cwl_target_open(ship->sink, NULL, NULL, &ship->target);
    if (status == CWL_OK)
        return EXIT_DELIVERED;
    say("%s", cwl_last_error());
    return status == CWL_ERR_CONFIG || status == CWL_ERR_OPEN ? EXIT_BAD_INPUT : EXIT_NOT_DELIVERED;
}

/* Waits until every line has its outcome, as long as it may, and abandons what is left. */
static void drain(struct shipper *ship)
{
    bool all_final = false;
    start_leaving(ship);
    while (!all_final && !must_leave(ship)) {
        int64_t left = ship->deadline_ms - monotonic_ms();
        all_final = cwl_flush(ship->sink, left < SLICE_MS ? left : SLICE_MS) != CWL_ERR_TIMEOUT;
        show_progress(ship);
    }
    cwl_shutdown(ship->sink, all_final ? SLICE_MS : 0);
}

static int summarize(const struct shipper *ship)
{
    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    cwl_stats(ship->sink, &stats);
    bool delivered = stats.delivered_events == ship->pushed && ship->refused == 0 && ship->unsent == 0
                     && !ship->read_failed;
    if (!delivered || !ship->options->quiet)
        say("lines=%" PRIu64 " pushed=%" PRIu64 " bytes=%" PRIu64 " delivered=%" PRIu64 " rejected=%" PRIu64
            " dropped=%" PRIu64 " abandoned=%" PRIu64 " refused=%" PRIu64 " unsent=%" PRIu64
            " skipped_empty=%" PRIu64 " seconds=%.2f",
            ship->lines, ship->pushed, ship->pushed_bytes, stats.delivered_events, stats.rejected_events,
            stats.dropped_events, stats.abandoned_events, ship->refused, ship->unsent, ship->empty,
            (double)(monotonic_ms() - ship->started_ms) / 1000.0);
    return delivered ? EXIT_DELIVERED : EXIT_NOT_DELIVERED;
}

static int ship_all(const struct options *options)
{
    struct shipper ship = { .options = options, .started_ms = monotonic_ms() };
    cwl_set_log_callback(CWL_LOG_WARN, log_from_library, NULL);
    int code = open_sink(&ship);
    if (code == EXIT_DELIVERED && !catch_signals()) {
        say("cannot handle signals: %s", strerror(errno));
        code = EXIT_NOT_DELIVERED;
    }
    if (code == EXIT_DELIVERED) {
        terminal.live = !options->quiet && isatty(STDERR_FILENO);
        for (size_t i = 0; i < options->file_count && !stopping(); i++)
            ship_input(&ship, options->files[i]);
        drain(&ship);
        end_progress();
        code = summarize(&ship);
    }
    cwl_target_free(ship.target);
    cwl_sink_free(ship.sink);
    cwl_set_log_callback(0, NULL, NULL);
    return code;
}

static int print_and_leave(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0) {
        say("cannot write to standard output: %s", strerror(errno));
        return EXIT_NOT_DELIVERED;
    }
    return EXIT_DELIVERED;
}

static int print_version(void)
{
    char text[64];
    snprintf(text, sizeof text, "cwl-ship %s (ABI %" PRIu32 ")\n", cwl_version(), cwl_abi_version());
    return print_and_leave(text);
}

int main(int argc, char **argv)
{
    struct options options = { .timeout_ms = DEFAULT_TIMEOUT_MS };
    if (cwl_abi_version() < CWL_ABI_VERSION) {
        say("libcwl_sink has ABI %" PRIu32 ", this program needs %d: install a newer library", cwl_abi_version(),
            CWL_ABI_VERSION);
        return EXIT_BAD_INPUT;
    }
    options.config = cwl_config_new();
    read_options(&options, argc, argv);
    int code = EXIT_BAD_INPUT;
    if (options.mistakes == 0 && options.help)
        code = print_and_leave(HELP);
    else if (options.mistakes == 0 && options.version)
        code = print_version();
    else {
        check_options(&options);
        if (options.mistakes == 0)
            code = ship_all(&options);
    }
    cwl_config_free(options.config);
    return code;
}
