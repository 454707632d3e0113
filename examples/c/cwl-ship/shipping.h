/*
 * Ships lines: pushes them to the library, shows progress, flushes at the end and prints the summary.
 *
 * A push waits while the library has no room. Meanwhile it checks the signals and the clock.
 */
#ifndef CWL_SHIP_SHIPPING_H
#define CWL_SHIP_SHIPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"
#include "input.h"
#include "options.h"

enum {
    EXIT_DELIVERED = 0,
    EXIT_NOT_DELIVERED = 1,
    EXIT_BAD_INPUT = 2,
};

struct shipper {
    const struct options *options;
    cwl_sink *sink;
    cwl_target *target;
    int64_t started_ms;
    int64_t progress_shown_ms; /* when the progress line was written last */
    int64_t deadline_ms;       /* when to exit, once the reading has ended; 0 before that */
    int64_t timestamp_ms;      /* of the last event; never decreases within the stream */
    uint64_t lines;
    uint64_t pushed;
    uint64_t pushed_bytes;
    uint64_t refused;   /* lines that the library does not accept */
    uint64_t unsent;    /* lines that were read but found no room before the end */
    uint64_t empty;     /* lines without a byte, which cannot be sent */
    uint64_t files;     /* files read with --follow or --state-dir, rotated files included */
    uint64_t rotations; /* rotations by renaming */
    uint64_t truncations;
    bool read_failed;
};

/* Opens sink and target. Returns EXIT_DELIVERED when that succeeded, or the exit code. */
int open_sink(struct shipper *shipper);

/* Ships one line, which ends before the offset `end` of its input. */
void ship_line(struct shipper *shipper, struct input *input, const char *line, size_t length, uint64_t end);

/* Refuses a line that is too long, of which only `kept_bytes` were kept. */
void refuse_long_line(struct shipper *shipper, struct input *input, size_t kept_bytes, uint64_t end);

/* Updates the progress line if the last update is long enough ago. */
void update_progress(struct shipper *shipper);

/* Waits until every line has its outcome or the time is up, then abandons the rest. */
void drain(struct shipper *shipper);

/* Prints the summary and returns the exit code. */
int summarize(const struct shipper *shipper);

#endif
