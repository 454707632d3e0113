/*
 * The file in which the records of a path are kept: replaced as a whole (written beside, fsynced, renamed, the folder
 * fsynced) and checked when it is read. One that is torn, empty or of a newer version is refused, never taken for
 * "nothing known". Whoever has the library's lock on the folder is alone in it.
 */
#ifndef CWL_SHIP_REGISTRY_H
#define CWL_SHIP_REGISTRY_H

#include "trail.h"

/* The name of the file for a path. The caller frees it. */
char *registry_name(const char *state_dir, const char *label);

/* Reads the records; none and `fresh` when there is no file yet. Returns false when it cannot be trusted, and says
 * why. */
bool load_registry(struct trail *trail);

/* Returns false, with errno, when that failed; the file is then as it was. */
bool save_registry(const struct trail *trail);

#endif
