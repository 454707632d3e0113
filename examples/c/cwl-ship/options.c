/* The command line: see options.h. */

#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "terminal.h"

/* The longest that a push waits inside the library before the agent looks at signals and at the clock again. */
#define BLOCK_SLICE_MS "200"

#define MAX_TIMEOUT_S 1e6

const char HELP[] =
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
    "  --follow            do not end with the files: send what is added to them, and read on where they are rotated\n"
    "                      by renaming or truncating; wait for files that do not exist yet\n"
    "  --state-dir DIR     keep in DIR how far each file was delivered, and read on from there the next time, also\n"
    "                      in what was rotated meanwhile; one cwl-ship at a time can use DIR\n"
    "  --timeout SECONDS   how long to go on sending after the last line was read [default: 60]\n"
    "  --quiet             no progress, and no summary when everything was delivered\n"
    "  --help, --version   print that and leave\n"
    "\n"
    "Credentials are found as every AWS tool finds them: environment, profile, container, instance.\n"
    "SIGINT and SIGTERM end the reading; what was read is still sent. A second one leaves at once.\n"
    "\n"
    "FILE was rotated when its name means another file: the old one is read until nothing was added for 2 seconds,\n"
    "then the new one. With --state-dir, that goes for what was rotated while cwl-ship was not running too: files in\n"
    "the same folder named FILE.1, FILE-20260101, FILE.old and the like, oldest first; compressed ones are not read.\n"
    "A last line without a newline waits for its end; it is sent when its file was rotated, or without --follow.\n"
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
    if (strcmp(key, "state_dir") == 0)
        options->state_dir = *value != '\0' ? value : NULL;
    if (strcmp(key, "oversize") == 0)
        options->oversize_given = true;
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

static void set_state_dir(struct options *options, const char *folder)
{
    if (*folder == '\0')
        MISTAKE(options, "--state-dir needs the name of a folder");
    else
        set_option(options, "--state-dir", "state_dir", folder);
}

static void take_flag(struct options *options, const char *name)
{
    if (strcmp(name, "--quiet") == 0)
        options->quiet = true;
    else if (strcmp(name, "--follow") == 0)
        options->follow = true;
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
    else if (strcmp(name, "--state-dir") == 0)
        set_state_dir(options, value);
    else if (strcmp(name, "--set") == 0)
        set_pair(options, value);
    else
        set_timeout(options, value);
}

static bool takes_value(const char *name)
{
    static const char *const valued[] = { "--group", "--stream",    "--endpoint", "--region",
                                          "--set",   "--state-dir", "--timeout" };
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

void read_options(struct options *options, int argc, char **argv)
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

/* A line that CloudWatch Logs does not take whole is named and not sent, rather than sent in part: who wants it cut or
 * split says so. */
static void settle_oversize(struct options *options)
{
    if (!options->oversize_given)
        set_option(options, "oversize", "oversize", "reject");
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

bool is_stdin(const char *file)
{
    return strcmp(file, "-") == 0;
}

int open_file(const char *file)
{
    return open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Whether the folder of a file that does not exist yet does. */
static bool folder_exists(const char *file)
{
    struct stat status;
    const char *slash = strrchr(file, '/');
    char *folder = strdup(slash != NULL ? file : ".");
    if (folder == NULL)
        return false;
    if (slash != NULL)
        folder[slash - file + 1] = '\0';
    bool exists = stat(folder, &status) == 0 && S_ISDIR(status.st_mode);
    free(folder);
    return exists;
}

/* --follow and --state-dir need something that can be read again and be found again. */
static void check_kept_file(struct options *options, const char *file)
{
    const char *flag = options->follow ? "--follow" : "--state-dir";
    struct stat status;
    if (is_stdin(file))
        MISTAKE(options, "%s needs files: standard input cannot be read again", flag);
    else if (stat(file, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        MISTAKE(options, "%s needs files: %s is not a regular file", flag, file);
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
    if (error == ENOENT && options->follow && folder_exists(file))
        error = 0;
    if (error != 0)
        MISTAKE(options, "cannot read %s: %s", is_stdin(file) ? "standard input" : file, strerror(error));
}

void check_options(struct options *options)
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
    settle_oversize(options);
    for (size_t i = 0; i < options->file_count; i++) {
        int mistakes = options->mistakes;
        if (options->follow || options->state_dir != NULL)
            check_kept_file(options, options->files[i]);
        if (options->mistakes == mistakes)
            check_file(options, options->files[i]);
    }
}
