/* Implements the loads and the table of outcomes: see loads.h. */

#include "loads.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM "host"

struct load loads[LOADS_MAX];
size_t load_count;
struct record *table;
uint64_t table_size;
char *filler;

static const char *const role_names[ROLES] = { "healthy", "failing", "flood" };

void die(const char *what)
{
    fprintf(stderr, "host: %s: %s\n", what, cwl_last_error());
    exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        die("out of memory");
    return memory;
}

static void parse_load(const char *text)
{
    char role[16];
    double rate_each;
    if (load_count == LOADS_MAX)
        die("too many loads");
    struct load *load = &loads[load_count++];
    int fields = sscanf(text, "%15[^:]:%127[^:]:%" SCNu32 ":%lf:%zu", role, load->prefix, &load->targets, &rate_each,
                        &load->bytes);
    if (fields != 5 || load->targets == 0 || rate_each <= 0 || load->bytes == 0)
        die(text);
    load->rate = rate_each * load->targets;
    load->role = HEALTHY;
    while (load->role < ROLES && strcmp(role, role_names[load->role]) != 0)
        load->role++;
    if (load->role == ROLES)
        die(text);
}

void parse_loads(int count, char **texts)
{
    size_t longest = 1;
    for (int i = 0; i < count; i++) {
        parse_load(texts[i]);
        if (loads[i].bytes > longest)
            longest = loads[i].bytes;
    }
    filler = allocate(longest, 1);
    for (size_t i = 0; i < longest; i++)
        filler[i] = "the quick brown fox jumps over the lazy dog, 0123456789 times; "[i % 63];
}

/* Pages that are never touched cost no memory, so the table has a record for every event that could be accepted. */
void allocate_records(int64_t run_ms)
{
    for (size_t i = 0; i < load_count; i++) {
        loads[i].capacity = (uint64_t)(loads[i].rate * (double)run_ms / 1000) + loads[i].targets + 1;
        loads[i].first_token = table_size;
        table_size += loads[i].capacity;
    }
    table = allocate(table_size, sizeof *table);
    for (size_t i = 0; i < load_count; i++)
        loads[i].records = table + loads[i].first_token;
}

void open_targets(cwl_sink *sink)
{
    for (size_t i = 0; i < load_count; i++) {
        loads[i].handles = allocate(loads[i].targets, sizeof *loads[i].handles);
        for (uint32_t target = 0; target < loads[i].targets; target++) {
            char group[sizeof loads[i].prefix + 16];
            snprintf(group, sizeof group, "%s%" PRIu32, loads[i].prefix, target);
            if (cwl_target_open(sink, group, STREAM, &loads[i].handles[target]) != CWL_OK)
                die("cwl_target_open");
        }
    }
}

void free_loads(void)
{
    for (size_t i = 0; i < load_count; i++) {
        for (uint32_t target = 0; target < loads[i].targets; target++)
            cwl_target_free(loads[i].handles[target]);
        free(loads[i].handles);
    }
    free(table);
    free(filler);
}

void print_load(const struct load *load)
{
    uint64_t outcomes[4] = { 0 }, never_acked = 0, acked_twice = 0;
    uint64_t *delivered = allocate(load->targets, sizeof *delivered);
    for (uint64_t i = 0; i < load->accepted; i++) {
        const struct record *record = &load->records[i];
        never_acked += record->acks == 0;
        acked_twice += record->acks > 1;
        if (record->acks > 0 && record->outcome < 4)
            outcomes[record->outcome]++;
        if (record->acks > 0 && record->outcome == CWL_DELIVERED)
            delivered[record->target]++;
    }
    printf("{\"role\": \"%s\", \"prefix\": \"%s\", \"due\": %" PRIu64 ", \"accepted\": %" PRIu64
           ", \"refused_full\": %" PRIu64 ", \"refused_otherwise\": %" PRIu64 ", \"delivered\": %" PRIu64
           ", \"rejected\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"abandoned\": %" PRIu64
           ", \"never_acked\": %" PRIu64 ", \"acked_twice\": %" PRIu64 ", \"delivered_by_target\": [",
           role_names[load->role], load->prefix, load->due, load->accepted, load->refused_full, load->refused_otherwise,
           outcomes[CWL_DELIVERED], outcomes[CWL_REJECTED], outcomes[CWL_DROPPED], outcomes[CWL_ABANDONED], never_acked,
           acked_twice);
    for (uint32_t target = 0; target < load->targets; target++)
        printf("%s%" PRIu64, target == 0 ? "" : ", ", delivered[target]);
    printf("]}");
    free(delivered);
}

void write_records(const char *path)
{
    FILE *out = fopen(path, "wb");
    if (out == NULL)
        die(path);
    bool written = true;
    for (size_t i = 0; i < load_count; i++)
        if (loads[i].role == HEALTHY)
            written &= fwrite(loads[i].records, sizeof *table, loads[i].accepted, out) == loads[i].accepted;
    if (fclose(out) != 0 || !written)
        die(path);
}
