/*
 * Time and signals. A signal only counts itself and writes into a pipe that every wait also looks at, so that none
 * can fall between a check and a wait.
 */
#ifndef CWL_SHIP_SIGNALS_H
#define CWL_SHIP_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

int64_t monotonic_ms(void);

/* Since the Unix epoch. */
int64_t wall_ms(void);

/* How many of SIGINT and SIGTERM came, 2 at most; and which was the last. */
extern volatile sig_atomic_t signals_seen;
extern volatile sig_atomic_t last_signal;

/* Begins to catch them. Returns false, with errno, when that cannot be done. */
bool catch_signals(void);

/* Whether a signal asks to stop reading. */
bool stopping(void);

const char *last_signal_name(void);

/* Waits until `fd` can be read, a signal came or the time is over; a negative fd is left out, a negative time is
 * without end. Returns whether `fd` can be read. A signal that came before the call ends the wait as well. */
bool wait_for(int fd, int timeout_ms);

#endif
