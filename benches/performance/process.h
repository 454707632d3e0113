/*
 * process.h - what a process can learn about itself: the time, its CPU time, its memory, how often it woke.
 *
 * Knows nothing of the library, so that the host that loads it with dlopen can use it too.
 */

#ifndef PROCESS_H
#define PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

/* Ends the program with a message. */
void fail(const char *what);

/* Zeroed memory; ends the program when there is none. */
void *allocated(size_t count, size_t size);

int64_t now_ns(clockid_t clock);

/* Sleeps until a time of CLOCK_MONOTONIC. */
void sleep_until(int64_t at_ns);

/* User and system time of all threads, in microseconds. */
int64_t cpu_us(void);

/* Resident memory now, and the most since the start or the last reset_peak. */
int64_t rss_kb(void);
int64_t peak_rss_kb(void);

/* Has peak_rss_kb begin anew. Ends the program where the kernel does not allow it. */
void reset_peak(void);

/* How many threads there are besides the main one, and how often these gave up the CPU by themselves so far. */
struct switches {
    int64_t threads;
    int64_t voluntary;
};
struct switches other_threads_switches(void);

/* Prints `"name": [...], `. */
void print_array(const char *name, const int64_t *values, size_t count);

#endif
