/* escape.h - the yardstick of a push: the escaping of a JSON string as anybody would write it. */

#ifndef ESCAPE_H
#define ESCAPE_H

#include <stddef.h>

/* Bytes of a message of this length at most, escaped. */
#define ESCAPED_MOST(bytes) ((bytes) * 6)

/* Writes the message as the inside of a JSON string to `out`, and gives where it ends. */
char *escape(const char *message, size_t bytes, char *out);

#endif
