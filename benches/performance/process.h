/*
 * process.h - measurements of the own process: the time, its CPU time, its memory, its context switches.
 *
 * Does not use the library, so that the program that loads the library with dlopen can use it too.
 */

#ifndef PROCESS_H
#define PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

/* Prints a message and exits. */
void fail(const char *what);

/* Returns zeroed memory, or exits when there is none. */
void *allocate(size_t count, size_t size);

int64_t now_ns(clockid_t clock);

/* Sleeps until a time of CLOCK_MONOTONIC. */
void sleep_until(int64_t deadline_ns);

/* Returns the user and system time of all threads, in microseconds. */
int64_t cpu_us(void);

/* Return the resident memory: now, and the most since the start or the last reset_peak. */
int64_t rss_kb(void);
int64_t peak_rss_kb(void);

/* Resets peak_rss_kb. Exits when the kernel does not allow it. */
void reset_peak(void);

/* The number of threads except the main thread, and their voluntary context switches so far. */
struct switches {
    int64_t threads;
    int64_t voluntary;
};
struct switches other_threads_switches(void);

/* Prints `"name": [...], `. */
void print_array(const char *name, const int64_t *values, size_t count);

#endif
