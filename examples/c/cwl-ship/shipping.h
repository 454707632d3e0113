/*
 * From a line to its outcome: pushing, the progress line, the flush at the end, the summary.
 *
 * A push waits while the library has no room, and looks at the signals and the clock while it does.
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
    int64_t progress_ms;  /* when the progress line was written last */
    int64_t deadline_ms;  /* when to leave, once reading is over; 0 before that */
    int64_t timestamp_ms; /* of the last event: time never runs backwards within the stream */
    uint64_t lines;
    uint64_t pushed;
    uint64_t pushed_bytes;
    uint64_t refused; /* lines that the library does not take */
    uint64_t unsent;  /* lines that were read, and for which there was no room before the end */
    uint64_t empty;
    uint64_t files;     /* that were read from with --follow or --state-dir, rotated ones among them */
    uint64_t rotations; /* by renaming */
    uint64_t truncations;
    bool read_failed;
};

/* Opens sink and target. Returns the exit code, EXIT_DELIVERED for "go on". */
int open_sink(struct shipper *ship);

/* Ships one line, which ends before the offset `end` of its input. */
void ship_line(struct shipper *ship, struct input *input, const char *line, size_t length, uint64_t end);

/* The same for a line of which only `kept` bytes were kept, because it is too long whatever follows. */
void ship_cut_line(struct shipper *ship, struct input *input, size_t kept, uint64_t end);

void show_progress(struct shipper *ship);

/* Waits until every line has its outcome, as long as it may, and abandons what is left. */
void drain(struct shipper *ship);

/* Says what came of it all; returns the exit code. */
int summarize(const struct shipper *ship);

#endif
