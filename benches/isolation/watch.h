/*
 * watch.h - watches the library from outside while the host pushes: its statistics and its log.
 *
 * A thread of its own reads the statistics every 10 ms, so it sees each pause of the endpoint that lasts longer.
 */

#ifndef WATCH_H
#define WATCH_H

#include "cwl_sink.h"

/* Begins to count the warnings and errors in the log. Call it before the sink is opened. */
void watch_log(void);

/* Starts the thread that reads the statistics. */
void watch_begin(cwl_sink *sink);

/* Ends the thread. */
void watch_end(void);

/* Prints what was seen as members of a JSON object: the pauses, the warnings and the peaks. */
void print_watched(void);

/* Prints the statistics as a JSON object. */
void print_statistics(cwl_sink *sink);

#endif
