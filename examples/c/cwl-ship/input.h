/*
 * An input: a file or standard input, its bytes cut into lines, and how far it has been read.
 *
 * A line is shipped once, when its newline has been read, together with the offset behind the newline. Memory is
 * bounded: only the beginning of a line that is longer than CloudWatch Logs allows is kept.
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
    uint64_t line_number; /* number of the last line that was shipped or refused, counted from 1 at start_offset */
    char *data;           /* bytes of lines that are not complete yet */
    size_t capacity;
    size_t length;
    size_t scanned_bytes;     /* this many first bytes of `data` contain no newline */
    uint64_t discarded_bytes; /* bytes of the incomplete line that were read and not kept */

    uint64_t start_offset;   /* where the reading began */
    uint64_t read_offset;    /* end of the bytes that were read */
    uint64_t handled_offset; /* end of the last line that was pushed, refused or empty, like all lines before it */
    bool has_unsent_line;    /* a line could not be pushed in time, so no later line is pushed or counts as handled */
    cwl_source *source;      /* NULL: offsets are not kept */
    uint64_t pushed_offset;  /* end of the last event's range; the next range begins here, skipped lines included */
};

/* The result of one read. */
enum read_result { READ_SOME, READ_NOTHING_YET, READ_END, READ_FAILED };

/* Reads one block and ships every line that the block completes. Prints the reason when the read fails. */
enum read_result read_block(struct shipper *shipper, struct input *input);

/* Ships the last line, which has no newline. */
void ship_last_line(struct shipper *shipper, struct input *input);

/* Ships a file, a pipe or standard input (-) from its beginning to its end, or until a signal comes. */
void ship_input(struct shipper *shipper, const char *file);

/* Frees the memory. The caller closes the descriptor. */
void free_input(struct input *input);

#endif
