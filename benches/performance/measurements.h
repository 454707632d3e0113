/*
 * measurements.h - one function for each subcommand of the host. Each function prints one line of JSON, which ends with
 * the output of print_counts, and returns the exit code.
 */

#ifndef MEASUREMENTS_H
#define MEASUREMENTS_H

#include <stdint.h>

struct request {
    const char *endpoint;
    const char *lines_path;
    int64_t numbers[3]; /* the numbers of the subcommand: see host.c */
    int option_count;
    char **options; /* of the sink, each KEY=VALUE */
};

int measure_push(const struct request *request);
int measure_threads(const struct request *request);
int measure_paced(const struct request *request);
int measure_deliver(const struct request *request);
int measure_many(const struct request *request);
int measure_idle(const struct request *request);
int measure_memory(const struct request *request);

#endif
