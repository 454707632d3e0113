/* escape.h - the yardstick for a push: a JSON string escaped by a plain loop. */

#ifndef ESCAPE_H
#define ESCAPE_H

#include <stddef.h>

/* The most bytes that a message of this length has when it is escaped. */
#define ESCAPED_BYTES_MAX(bytes) ((bytes) * 6)

/* Writes the message to `out` as the content of a JSON string, and returns the end of what was written. */
char *escape(const char *message, size_t bytes, char *out);

#endif
