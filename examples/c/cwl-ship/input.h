/*
 * An input: a file or standard input, its bytes cut into lines, and how far it has been read.
 *
 * A line is handed on once, with the offset behind its newline, when its newline has been read. Memory is bounded:
 * of a line that is too long whatever follows only the beginning is kept.
 */
#ifndef CWL_SHIP_INPUT_H
#define CWL_SHIP_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"

struct shipper;

struct input {
    const char *name;
    int fd;
    uint64_t line; /* number of the line that was taken last, from 1, counted from where the reading began */
    char *data;    /* bytes of lines that are not complete yet */
    size_t capacity;
    size_t length;
    size_t scanned;    /* the first so many bytes hold no newline */
    uint64_t line_cut; /* bytes of the present line that were read and not kept */

    uint64_t begun;     /* offset at which the reading began */
    uint64_t position;  /* offset behind what was read */
    uint64_t settled;   /* offset behind the last line that was pushed, refused or empty, as all before it */
    bool held;          /* a line was not pushed, for want of time: nothing behind it is pushed or settled */
    cwl_source *source; /* NULL: offsets are not kept */
    uint64_t covered;   /* end of the last event's range; the next one begins there, whatever was skipped */
};

/* How a read ended. */
enum read_result { READ_SOME, READ_NOTHING_YET, READ_END, READ_FAILED };

/* Reads one block and ships every line that it completes. What failed has been said. */
enum read_result read_block(struct shipper *ship, struct input *input);

/* Ships the beginning of a line of which no end came. */
void ship_rest(struct shipper *ship, struct input *input);

/* Ships a file, a pipe or standard input (-) from its beginning to its end, or to a signal. */
void ship_input(struct shipper *ship, const char *file);

/* Lets go of the memory; the descriptor is the caller's. */
void free_input(struct input *input);

#endif
