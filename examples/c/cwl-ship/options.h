/*
 * The command line. Every mistake is named on stderr, all of them at once, and nothing is sent.
 */
#ifndef CWL_SHIP_OPTIONS_H
#define CWL_SHIP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"

struct options {
    cwl_config *config; /* what was set with --group, --stream, --endpoint, --region, --state-dir and --set */
    bool group_given;
    bool stream_given;
    bool when_full_given;
    bool oversize_given;
    bool blocks; /* when_full=block: a push that finds no room is tried again */
    bool block_timeout_given;
    bool follow;
    const char *state_dir; /* NULL: offsets are not kept */
    bool quiet;
    bool help;
    bool version;
    int64_t timeout_ms;
    char **files;
    size_t file_count;
    int mistakes; /* each has been named on stderr */
};

extern const char HELP[];

/* Reads the command line. Files are gathered at the front of argv, in their order. */
void read_options(struct options *options, int argc, char **argv);

/* Checks that the options go together and that the files can be read. */
void check_options(struct options *options);

/* Whether FILE means standard input. */
bool is_stdin(const char *file);

/* How a file is opened: a named pipe without a writer must not hold up the open, and is waited for with poll(). */
int open_file(const char *file);

#endif
