/*
 * cwl-ship - sends the lines of files or of standard input to Amazon CloudWatch Logs.
 *
 * It is a small agent on top of libcwl_sink. One thread reads and pushes; the library batches, sends and retries on its
 * own threads. These are the parts, in cwl-ship/, in the order in which a line passes them:
 *
 *     options    the command line
 *     follow     files that grow and are rotated: decides which file is read when, and when a file has ended
 *     history    all files that a path has had, and how far each was read; scan finds them, registry saves them
 *     identity   the identity of a file, independent of its name
 *     input      reads blocks and cuts them into lines
 *     shipping   pushes a line and waits while the library has no room; after the last line it flushes, as long as
 *                --timeout allows
 *     signals    the clocks, and the signals that end every wait
 *     terminal   messages and the progress line
 *
 * Lines that were read before a signal came are still sent.
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

/* Reads all inputs and waits for the outcomes of their lines. */
static int ship_inputs(struct shipper *shipper)
{
    const struct options *options = shipper->options;
    bool tracks_offsets = options->follow || options->state_dir != NULL;
    struct followed_path *paths = NULL;
    if (tracks_offsets && (paths = open_followed(shipper, options->files, options->file_count)) == NULL)
        return EXIT_BAD_INPUT;
    if (!options->quiet)
        start_progress();
    if (tracks_offsets)
        follow(shipper, paths, options->file_count);
    for (size_t i = 0; !tracks_offsets && i < options->file_count && !stop_requested(); i++)
        ship_input(shipper, options->files[i]);
    drain(shipper);
    close_followed(paths, options->file_count);
    stop_progress();
    return summarize(shipper);
}

static int ship_all(const struct options *options)
{
    struct shipper shipper = { .options = options, .started_ms = monotonic_ms() };
    cwl_set_log_callback(CWL_LOG_WARN, log_from_library, NULL);
    int code = open_sink(&shipper);
    if (code == EXIT_DELIVERED && !install_signal_handlers()) {
        print_message("cannot handle signals: %s", strerror(errno));
        code = EXIT_NOT_DELIVERED;
    }
    if (code == EXIT_DELIVERED)
        code = ship_inputs(&shipper);
    cwl_target_free(shipper.target);
    cwl_sink_free(shipper.sink);
    cwl_set_log_callback(0, NULL, NULL);
    return code;
}

static int print_text(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0) {
        print_message("cannot write to standard output: %s", strerror(errno));
        return EXIT_NOT_DELIVERED;
    }
    return EXIT_DELIVERED;
}

static int print_version(void)
{
    char text[64];
    snprintf(text, sizeof text, "cwl-ship %s (ABI %" PRIu32 ")\n", cwl_version(), cwl_abi_version());
    return print_text(text);
}

int main(int argc, char **argv)
{
    struct options options = { .timeout_ms = DEFAULT_TIMEOUT_MS };
    if (cwl_abi_version() < CWL_ABI_VERSION) {
        print_message("libcwl_sink has ABI %" PRIu32 ", this program needs %d: install a newer library",
                      cwl_abi_version(), CWL_ABI_VERSION);
        return EXIT_BAD_INPUT;
    }
    options.config = cwl_config_new();
    read_options(&options, argc, argv);
    int code = EXIT_BAD_INPUT;
    if (options.mistakes == 0 && options.help)
        code = print_text(HELP_TEXT);
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
