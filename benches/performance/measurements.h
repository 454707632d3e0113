/*
 * measurements.h - one function for each subcommand of the host. Each prints one line of JSON, whose last members are
 * what print_counts prints, and gives the exit code. `options` are those of the sink, KEY=VALUE.
 */

#ifndef MEASUREMENTS_H
#define MEASUREMENTS_H

#include <stdint.h>

struct request {
    const char *endpoint;
    const char *lines_path;
    int64_t numbers[3]; /* what the subcommand takes: see host.c */
    int option_count;
    char **options;
};

int measure_push(const struct request *request);
int measure_threads(const struct request *request);
int measure_paced(const struct request *request);
int measure_deliver(const struct request *request);
int measure_many(const struct request *request);
int measure_idle(const struct request *request);
int measure_memory(const struct request *request);

#endif
