/*
 * cwl-ship - send the lines of files or of standard input to Amazon CloudWatch Logs.
 *
 * A small agent on top of libcwl_sink: one thread reads and pushes, the library batches, sends and retries on
 * threads of its own. The parts, in cwl-ship/, and the way of a line through them:
 *
 *     options    the command line
 *     follow     files that grow and are rotated: which file is read when, and when it has ended
 *     trail      which files a path has had, and how far each was read; scan finds them, registry keeps them
 *     identity   what a file is known by, whatever it is called
 *     input      reads block by block, and cuts the blocks into lines
 *     shipping   pushes a line, and waits while the library has no room; after the last one flushes, as long as
 *                --timeout allows
 *     signals    the clock, and signals, which every wait looks at
 *     terminal   messages and the progress line
 *
 * What was read when a signal came is still sent.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cwl-ship/follow.h"
#include "cwl-ship/input.h"
#include "cwl-ship/options.h"
#include "cwl-ship/shipping.h"
#include "cwl-ship/signals.h"
#include "cwl-ship/terminal.h"

#define DEFAULT_TIMEOUT_MS INT64_C(60000)

/* Reads all inputs and waits for their outcomes. */
static int ship_inputs(struct shipper *ship)
{
    const struct options *options = ship->options;
    bool kept = options->follow || options->state_dir != NULL;
    struct followed *followed = NULL;
    if (kept && (followed = open_followed(ship, options->files, options->file_count)) == NULL)
        return EXIT_BAD_INPUT;
    if (!options->quiet)
        begin_progress();
    if (kept)
        follow(ship, followed, options->file_count);
    for (size_t i = 0; !kept && i < options->file_count && !stopping(); i++)
        ship_input(ship, options->files[i]);
    drain(ship);
    close_followed(followed, options->file_count);
    end_progress();
    return summarize(ship);
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
    if (code == EXIT_DELIVERED)
        code = ship_inputs(&ship);
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
