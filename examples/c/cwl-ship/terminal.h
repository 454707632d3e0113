/*
 * Writes to standard error: messages, one line each, and below them a progress line that is overwritten. All functions
 * may be called from any thread.
 */
#ifndef CWL_SHIP_TERMINAL_H
#define CWL_SHIP_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* The time between two updates of the progress line. */
#define PROGRESS_INTERVAL_MS 200

/* Size of the progress line, with the NUL. */
#define PROGRESS_SIZE 256

/* Prints one message as one line, above the progress line if there is one. */
void print_message(const char *format, ...);

/* Enables the progress line, if stderr is a terminal. */
void start_progress(void);

/* Returns true when the progress line is enabled. */
bool progress_enabled(void);

/* Shows the text as the progress line. */
void draw_progress_line(const char *text);

/* Removes the progress line and disables it. */
void stop_progress(void);

/* Prints a diagnostic of the library, as a callback for cwl_set_log_callback. */
void log_from_library(int32_t level, const char *message, void *user);

#endif
