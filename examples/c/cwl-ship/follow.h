/*
 * Reading files that grow, are rotated and truncated (--follow), or that are read again another time (--state-dir).
 *
 * One thread reads all files, a block of each in turn. Without new data it looks at them a few times a second; signals
 * wake it at once. An incomplete last line is left alone until it is complete, or its file has ended for good.
 */
#ifndef CWL_SHIP_FOLLOW_H
#define CWL_SHIP_FOLLOW_H

#include <stddef.h>

#include "shipping.h"

struct followed;

/* Begins with the files. NULL when a path cannot be followed or its state not be trusted; that was said. */
struct followed *open_followed(struct shipper *ship, char **files, size_t count);

/* Reads until a signal; without --follow at most to the end of each file. */
void follow(struct shipper *ship, struct followed *all, size_t count);

/* After the drain: keeps how far everything came, and frees. NULL is allowed. */
void close_followed(struct followed *all, size_t count);

#endif
