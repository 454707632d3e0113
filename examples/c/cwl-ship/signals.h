/*
 * Time and signals. A signal handler only counts the signal and writes into a pipe. Every wait also waits for that
 * pipe, so no signal is missed between a check and a wait.
 */
#ifndef CWL_SHIP_SIGNALS_H
#define CWL_SHIP_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Milliseconds of a clock that is never set. */
int64_t monotonic_ms(void);

/* Milliseconds since the Unix epoch. */
int64_t wall_ms(void);

/* The number of SIGINT and SIGTERM signals that came, at most 2; and the last one of them. */
extern volatile sig_atomic_t signal_count;
extern volatile sig_atomic_t last_signal;

/* Installs the handlers for SIGINT and SIGTERM. Returns false, with errno, when that fails. */
bool install_signal_handlers(void);

/* Returns true when a signal has asked the program to stop reading. */
bool stop_requested(void);

const char *last_signal_name(void);

/* Waits until `fd` can be read, a signal comes or the time is over. A negative fd is left out; a negative time has no
 * end. Returns true when `fd` can be read. A signal that came before the call ends the wait as well. */
bool wait_readable(int fd, int timeout_ms);

#endif
