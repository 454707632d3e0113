/* Implements the command line: see options.h. */

#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "terminal.h"

/* The longest wait of a push inside the library before the agent checks signals and the clock again. */
#define BLOCK_SLICE_MS "200"

#define MAX_TIMEOUT_S 1e6

const char HELP_TEXT[] =
    "Send the lines of files or of standard input to Amazon CloudWatch Logs.\n"
    "\n"
    "Usage: cwl-ship --group GROUP --stream STREAM [OPTION]... [FILE...]\n"
    "\n"
    "Each line becomes one event, without its newline. Without FILE, and where FILE is -, standard input is read.\n"
    "Empty lines cannot be sent; they are only counted.\n"
    "\n"
    "  --group GROUP       log group; it is created if it does not exist\n"
    "  --stream STREAM     log stream; it is created if it does not exist\n"
    "  --endpoint URL      an endpoint other than the region's own, such as http://127.0.0.1:4586\n"
    "  --region REGION     AWS region, such as eu-central-1 [default: AWS_REGION or the region of the profile]\n"
    "  --set KEY=VALUE     set any option of the library, such as compression=none; may be repeated\n"
    "  --follow            keep reading at the end of the files, also when they are rotated by renaming or by\n"
    "                      truncating, and wait for files that do not exist yet\n"
    "  --state-dir DIR     save in DIR how far each file was delivered; the next run continues there, and also\n"
    "                      reads files that were rotated in the meantime; only one cwl-ship at a time can use DIR\n"
    "  --timeout SECONDS   how long to continue sending after the last line was read [default: 60]\n"
    "  --quiet             print no progress, and no summary when everything was delivered\n"
    "  --help, --version   print this text or the version, and exit\n"
    "\n"
    "Credentials come from where every AWS tool finds them: environment, profile, container, instance.\n"
    "SIGINT and SIGTERM end the reading; lines already read are still sent. A second signal exits at once.\n"
    "\n"
    "FILE was rotated when its name means another file. The old file is read until nothing was added to it for\n"
    "2 seconds, then the new file is read. With --state-dir, files rotated while cwl-ship was not running are read\n"
    "too, oldest first: files of the same folder with names such as FILE.1, FILE-20260101 or FILE.old. Compressed\n"
    "files are not read. A last line without a newline is sent when its file was rotated, or without --follow.\n"
    "\n"
    "Exit code: 0 everything that was read was delivered, 1 something was not delivered, 2 nothing was sent because\n"
    "an option or a file is wrong.\n";

/* Reports one mistake. Parsing continues, so that the caller sees all mistakes at once. */
#define REPORT_MISTAKE(options, ...) ((options)->mistakes++, print_message(__VA_ARGS__))

static void set_option(struct options *options, const char *flag, const char *key, const char *value)
{
    if (cwl_config_set(options->config, key, value) != CWL_OK)
        REPORT_MISTAKE(options, "%s: %s", flag, cwl_last_error());
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
        options->push_blocks = strcmp(value, "block") == 0;
    }
}

/* Parses --set KEY=VALUE. The value is never part of a message, because it may be a secret. */
static void set_pair(struct options *options, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair) {
        REPORT_MISTAKE(options, "--set needs KEY=VALUE, such as --set compression=none");
        return;
    }
    size_t length = (size_t)(equals - pair);
    char key[64], flag[sizeof key + 8];
    if (length >= sizeof key)
        length = sizeof key - 1; /* longer than any key, so the library refuses the rest of it */
    memcpy(key, pair, length);
    key[length] = '\0';
    snprintf(flag, sizeof flag, "--set %s", key);
    set_option(options, flag, key, equals + 1);
}

static void set_timeout(struct options *options, const char *text)
{
    char *end = NULL;
    bool is_number = *text != '\0' && strspn(text, "0123456789.") == strlen(text);
    double seconds = is_number ? strtod(text, &end) : -1.0;
    if (!is_number || *end != '\0' || seconds < 0.0 || seconds > MAX_TIMEOUT_S) {
        REPORT_MISTAKE(options, "--timeout is \"%s\"; allowed are seconds from 0 to %.0f", text, MAX_TIMEOUT_S);
        return;
    }
    options->timeout_ms = (int64_t)(seconds * 1000.0);
}

static void set_state_dir(struct options *options, const char *folder)
{
    if (*folder == '\0')
        REPORT_MISTAKE(options, "--state-dir needs the name of a folder");
    else
        set_option(options, "--state-dir", "state_dir", folder);
}

static void parse_flag(struct options *options, const char *name)
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
        REPORT_MISTAKE(options, "there is no option %s; --help lists them", name);
}

static void parse_option_with_value(struct options *options, const char *name, const char *value)
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
    static const char *const with_value[] = { "--group", "--stream",    "--endpoint", "--region",
                                              "--set",   "--state-dir", "--timeout" };
    for (size_t i = 0; i < sizeof with_value / sizeof with_value[0]; i++)
        if (strcmp(name, with_value[i]) == 0)
            return true;
    return false;
}

/* Parses the option at argv[index], as --name VALUE or --name=VALUE. Returns the index of the next argument. */
static int parse_option(struct options *options, int argc, char **argv, int index)
{
    char name[32];
    const char *equals = strchr(argv[index], '=');
    size_t length = equals != NULL ? (size_t)(equals - argv[index]) : strlen(argv[index]);
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), argv[index]);
    if (!takes_value(name)) {
        if (equals != NULL)
            REPORT_MISTAKE(options, "there is no option %s that takes a value; --help lists them", name);
        else
            parse_flag(options, argv[index]);
        return index + 1;
    }
    if (equals != NULL) {
        parse_option_with_value(options, name, equals + 1);
        return index + 1;
    }
    if (index + 1 >= argc) {
        REPORT_MISTAKE(options, "%s needs a value", name);
        return index + 1;
    }
    parse_option_with_value(options, name, argv[index + 1]);
    return index + 2;
}

void read_options(struct options *options, int argc, char **argv)
{
    bool only_files = false;
    options->files = argv + 1;
    for (int index = 1; index < argc;) {
        if (only_files || argv[index][0] != '-' || strcmp(argv[index], "-") == 0) {
            options->files[options->file_count++] = argv[index++];
        } else if (strcmp(argv[index], "--") == 0) {
            only_files = true;
            index++;
        } else {
            index = parse_option(options, argc, argv, index);
        }
    }
}

/* By default a line that is too long for CloudWatch Logs is refused and named, not sent in part. --set oversize=VALUE
 * changes that. */
static void set_default_oversize(struct options *options)
{
    if (!options->oversize_given)
        set_option(options, "oversize", "oversize", "reject");
}

/* The library refuses by default what it has no room for. A reader of lines can wait instead, so the agent waits. Each
 * wait is short, so that signals and progress are checked in between. */
static void set_default_blocking(struct options *options)
{
    if (!options->when_full_given)
        set_option(options, "when_full", "when_full", "block");
    if (options->push_blocks && !options->block_timeout_given)
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

/* Returns true when the folder of the file exists. The file itself need not exist. */
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

/* Checks that the file can be read again and found again, which --follow and --state-dir need. */
static void check_trackable_file(struct options *options, const char *file)
{
    const char *flag = options->follow ? "--follow" : "--state-dir";
    struct stat status;
    if (is_stdin(file))
        REPORT_MISTAKE(options, "%s needs files: standard input cannot be read again", flag);
    else if (stat(file, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        REPORT_MISTAKE(options, "%s needs files: %s is not a regular file", flag, file);
}

/* Checks that the file can be read. A pipe is not opened for this check, because its writer would see a reader come and
 * go. */
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
        REPORT_MISTAKE(options, "cannot read %s: %s", is_stdin(file) ? "standard input" : file, strerror(error));
}

void check_options(struct options *options)
{
    static char *standard_input[] = { "-" };
    if (options->file_count == 0) {
        options->files = standard_input;
        options->file_count = 1;
    }
    if (!options->group_given)
        REPORT_MISTAKE(options, "no log group: give one with --group GROUP");
    if (!options->stream_given)
        REPORT_MISTAKE(options, "no log stream: give one with --stream STREAM");
    set_default_blocking(options);
    set_default_oversize(options);
    for (size_t i = 0; i < options->file_count; i++) {
        int mistakes = options->mistakes;
        if (options->follow || options->state_dir != NULL)
            check_trackable_file(options, options->files[i]);
        if (options->mistakes == mistakes)
            check_file(options, options->files[i]);
    }
}
