/*
 * Saves and loads the history of a path, in one file of the state folder.
 *
 * The file is always replaced as a whole: a new file is written beside it, synced to disk and renamed, then the folder
 * is synced. It is checked when it is loaded: a damaged or empty file, or one of a newer version, is refused, and never
 * counts as an empty history. The library's lock on the state folder keeps every other process out.
 */
#ifndef CWL_SHIP_REGISTRY_H
#define CWL_SHIP_REGISTRY_H

#include "history.h"

/* Returns the path of the registry file for an escaped path. The caller frees it. */
char *registry_path(const char *state_dir, const char *escaped_path);

/* Loads the tracked files. Without a registry file the history is empty and `is_new`. Returns false when the file
 * cannot be trusted, and prints the reason. */
bool load_registry(struct history *history);

/* Saves the tracked files. Returns false, with errno, when that failed; then the old file is unchanged. */
bool save_registry(const struct history *history);

#endif
