/* sink.h - the use of the library that all measurements share: opens a sink, pushes, flushes, counts. */

#ifndef SINK_H
#define SINK_H

#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"
#include "lines.h"

/* The number of events with the same timestamp in a measurement: an agent does not read the clock for each line. */
#define EVENTS_PER_TIMESTAMP 1000

/* Prints a message with the library's last error, and exits. */
void die(const char *what);

/* Opens a sink for an endpoint, with a test key and the default target /bench and host. `options` are KEY=VALUE. */
cwl_sink *open_sink(const char *endpoint, int option_count, char **options);

cwl_target *open_target(cwl_sink *sink, const char *group, const char *stream);

/* Returns an event of the current time, without a message. */
cwl_event event_now(void);

/* Pushes `count` lines. Exits when one is refused. */
void push_lines(cwl_target *target, struct cursor *cursor, size_t bytes, uint64_t count);

/* Waits until every event has its outcome. */
void flush(cwl_sink *sink);

/* Prints `"pushed": N, "delivered": N, "requests": N, "requests_failed": N}` and a newline, which end the JSON line. */
void print_counts(cwl_sink *sink);

/* Shuts the sink down, abandons what is left, and frees the sink. */
void end_sink(cwl_sink *sink);

#endif
