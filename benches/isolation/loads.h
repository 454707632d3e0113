/*
 * loads.h - what the host pushes, and the table of what became of it.
 *
 * The table has a record for every event that could be accepted; an event's token is its record's index there.
 */

#ifndef LOADS_H
#define LOADS_H

#include <stddef.h>
#include <stdint.h>

#include "cwl_sink.h"

#define LOADS_MAX 16

/* One accepted event. Its pusher writes the first two members, before the push; the library's thread the others. */
struct record {
    int64_t pushed_ns;
    uint32_t target;
    uint8_t outcome;
    uint8_t acks;
    uint16_t unused;
    int64_t acked_ns; /* of the first ack */
};

enum role { HEALTHY, FAILING, FLOOD, ROLES };

struct load {
    enum role role;
    char prefix[128];
    uint32_t targets;
    double rate; /* events a second, of all its targets */
    size_t bytes;
    cwl_target **handles;
    struct record *records; /* part of the one table: a record's index there is its token */
    uint64_t first_token, capacity;
    uint64_t due, accepted, refused_full, refused_otherwise; /* written by its pusher's thread only */
};

extern struct load loads[LOADS_MAX];
extern size_t load_count;
extern struct record *table;
extern uint64_t table_size;
extern char *filler; /* what all messages are made of */

/* Ends the host with a message and the library's last error. */
void die(const char *what);

/* Reads the arguments that say ROLE:PREFIX:TARGETS:RATE:BYTES. */
void parse_loads(int count, char **texts);

/* Makes the table for a run of this length. */
void allocate_records(int64_t run_ms);

void open_targets(cwl_sink *sink);

/* Frees the loads' memory and their handles. */
void free_loads(void);

/* Prints the load's counts as a JSON object. */
void print_load(const struct load *load);

/* Writes the records of all accepted healthy events. */
void write_records(const char *path);

#endif
