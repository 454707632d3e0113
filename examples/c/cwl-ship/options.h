/*
 * The command line. All mistakes in it are printed to stderr, one message each, and then nothing is sent.
 */
#ifndef CWL_SHIP_OPTIONS_H
#define CWL_SHIP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"

struct options {
    cwl_config *config; /* the values of --group, --stream, --endpoint, --region, --state-dir and --set */
    bool group_given;
    bool stream_given;
    bool when_full_given;
    bool oversize_given;
    bool push_blocks; /* when_full=block: a push that finds no room is repeated */
    bool block_timeout_given;
    bool follow;
    const char *state_dir; /* NULL: offsets are not kept */
    bool quiet;
    bool help;
    bool version;
    int64_t timeout_ms;
    char **files;
    size_t file_count;
    int mistakes; /* the number of mistakes, each printed to stderr */
};

extern const char HELP_TEXT[];

/* Reads the command line. The files are moved to the front of argv, in their order. */
void read_options(struct options *options, int argc, char **argv);

/* Checks that the options fit together and that the files can be read. */
void check_options(struct options *options);

/* Returns true when the file is -, which means standard input. */
bool is_stdin(const char *file);

/* Opens a file. O_NONBLOCK, because the open of a named pipe without a writer must not block; poll() waits for the
 * writer. */
int open_file(const char *file);

#endif
