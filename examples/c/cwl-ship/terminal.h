/*
 * Standard error: messages, each one line, and below them one progress line that is written over. Any thread.
 */
#ifndef CWL_SHIP_TERMINAL_H
#define CWL_SHIP_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* How often the progress line is written. */
#define PROGRESS_MS 200

/* Columns of a progress line, with the NUL. */
#define PROGRESS_SIZE 256

/* Writes one message as one line, above the progress line if there is one. */
void say(const char *format, ...);

/* From here on there is a progress line, if stderr is a terminal. */
void begin_progress(void);

/* Whether there is one. */
bool progress_wanted(void);

void show_progress_text(const char *text);

/* Removes it for good. */
void end_progress(void);

/* The library's diagnostics, for cwl_set_log_callback. */
void log_from_library(int32_t level, const char *message, void *user);

#endif
