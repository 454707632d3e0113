/*
 * loads.h - the loads that the host pushes, and the table of the outcomes.
 *
 * The table has a record for every event that could be accepted. The token of an event is the index of its record.
 */

#ifndef LOADS_H
#define LOADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"

#define LOADS_MAX 16

/* One accepted event. The pusher writes the first two members before the push; the library's thread writes the rest. */
struct record {
    int64_t pushed_ns;
    uint32_t target;
    uint8_t outcome;
    uint8_t acks;
    uint16_t unused;
    int64_t acked_ns; /* the time of the first ack */
};

enum role { HEALTHY, FAILING, FLOOD, ROLES };

struct load {
    enum role role;
    char prefix[128];
    uint32_t targets;
    double rate; /* events a second, of all targets together */
    size_t bytes;
    char stream[16];  /* not empty: PREFIX is a group, and the targets are its streams, named by this and a number */
    uint64_t events;  /* the most events of all targets together */
    int64_t after_ns; /* the first event is due at this time after the begin */
    int64_t sweep_ns; /* not 0: all targets get an event at once, and the time between sweeps by this much */
    cwl_target **handles;
    struct record *records; /* this load's part of the table */
    uint64_t first_token, capacity;
    uint64_t due, accepted, refused_full, refused_otherwise; /* written only by the thread of its role */
};

extern struct load loads[LOADS_MAX];
extern size_t load_count;
extern struct record *table;
extern uint64_t table_size;
extern char *filler; /* the text of every message */

/* Prints a message with the library's last error, and exits. */
void die(const char *what);

/* Parses an argument ROLE:PREFIX:TARGETS:RATE:BYTES[:NAME=VALUE...] and adds its load. The host explains it. */
void parse_load(char *text);

/* Makes the text of the messages and, for a run of this length, the table. */
void allocate_messages(void);
void allocate_records(int64_t run_ms);

/* Opens a handle for every target of every load. */
void open_targets(cwl_sink *sink);

/* Returns the number of the load's events that are due this long after the begin. */
uint64_t due_count(const struct load *load, int64_t elapsed_ns);

/* Frees the handles of the targets, and all memory of the loads. */
void free_loads(void);

/* Prints the load's counts as a JSON object. The pushing ended at `pushed_until_ns`. */
void print_load(const struct load *load, int64_t pushed_until_ns);

/* Writes the records of all accepted healthy events. */
void write_records(const char *path);

#endif
