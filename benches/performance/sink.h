/* sink.h - what every measurement does with the library: opens a sink, pushes, flushes, counts. */

#ifndef SINK_H
#define SINK_H

#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"
#include "lines.h"

/* How many events share a timestamp where pushes are measured: an agent does not look at the clock for each line. */
#define EVENTS_A_TIME_OF_DAY 1000

/* Ends the program with a message and the library's last error. */
void die(const char *what);

/* A sink for an endpoint with the test key, the default target /bench and host; `options` are KEY=VALUE. */
cwl_sink *open_sink(const char *endpoint, int option_count, char **options);

cwl_target *open_target(cwl_sink *sink, const char *group, const char *stream);

/* An event without a message, of now. */
cwl_event event_of_now(void);

/* Pushes so many lines. Each must be taken. */
void push_lines(cwl_target *target, struct cursor *cursor, size_t bytes, uint64_t count);

/* Waits until everything has its outcome. */
void flush(cwl_sink *sink);

/* Prints `"pushed": N, "delivered": N, "requests": N, "requests_failed": N}` and a newline: the end of a result. */
void print_counts(cwl_sink *sink);

/* Ends the sink; what is left is abandoned. */
void end_sink(cwl_sink *sink);

#endif
