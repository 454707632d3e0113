/*
 * Reads files that grow, are rotated and truncated (--follow), or that a later run continues (--state-dir).
 *
 * One thread reads all files, one block of each in turn. When no file has new data, the thread checks the files a few
 * times a second; a signal wakes it at once. An incomplete last line waits until it is complete or its file has ended
 * for good.
 */
#ifndef CWL_SHIP_FOLLOW_H
#define CWL_SHIP_FOLLOW_H

#include <stddef.h>

#include "shipping.h"

struct followed_path;

/* Opens the histories of the files. Returns NULL when a path cannot be followed or its state cannot be trusted, and
 * prints the reason. */
struct followed_path *open_followed(struct shipper *shipper, char **files, size_t count);

/* Reads until a signal comes. Without --follow, reads at most to the end of each file. */
void follow(struct shipper *shipper, struct followed_path *paths, size_t count);

/* Saves how far each file was delivered, and frees everything. Call it after drain. NULL is allowed. */
void close_followed(struct followed_path *paths, size_t count);

#endif
