/* Implements the loads and the table of outcomes: see loads.h. */

#include "loads.h"

#include <inttypes.h>
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

static const double MS_NS = 1e6;
static const double SECOND_NS = 1e9;

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

/* ---- the arguments ---- */

static void parse_detail(struct load *load, const char *name, const char *value)
{
    double number = strtod(value, NULL);
    if (strcmp(name, "stream") == 0)
        snprintf(load->stream, sizeof load->stream, "%s", value);
    else if (strcmp(name, "events") == 0)
        load->events = (uint64_t)number * load->targets;
    else if (strcmp(name, "after_ms") == 0)
        load->after_ns = (int64_t)(number * MS_NS);
    else if (strcmp(name, "sweep_ms") == 0)
        load->sweep_ns = (int64_t)(number * MS_NS);
    else
        die(name);
}

void parse_load(char *text)
{
    char role[16];
    double rate_each;
    int length = 0;
    if (load_count == LOADS_MAX)
        die("too many loads");
    struct load *load = &loads[load_count++];
    int fields = sscanf(text, "%15[^:]:%127[^:]:%" SCNu32 ":%lf:%zu%n", role, load->prefix, &load->targets, &rate_each,
                        &load->bytes, &length);
    if (fields != 5 || load->targets == 0 || rate_each <= 0 || load->bytes == 0)
        die(text);
    load->rate = rate_each * load->targets;
    load->events = UINT64_MAX;
    load->role = HEALTHY;
    while (load->role < ROLES && strcmp(role, role_names[load->role]) != 0)
        load->role++;
    if (load->role == ROLES)
        die(text);
    for (char *detail = strtok(text + length, ":"); detail != NULL; detail = strtok(NULL, ":")) {
        char *equals = strchr(detail, '=');
        if (equals == NULL)
            die(detail);
        *equals = '\0';
        parse_detail(load, detail, equals + 1);
    }
}

void allocate_messages(void)
{
    size_t longest = 1;
    for (size_t i = 0; i < load_count; i++)
        if (loads[i].bytes > longest)
            longest = loads[i].bytes;
    filler = allocate(longest, 1);
    for (size_t i = 0; i < longest; i++)
        filler[i] = "the quick brown fox jumps over the lazy dog, 0123456789 times; "[i % 63];
}

/* ---- the targets and the times of their events ---- */

/* Pages that are never touched cost no memory, so the table has a record for every event that could be accepted. */
void allocate_records(int64_t run_ms)
{
    for (size_t i = 0; i < load_count; i++) {
        loads[i].capacity = (uint64_t)(loads[i].rate * (double)run_ms / 1000) + 2 * (uint64_t)loads[i].targets + 1;
        loads[i].first_token = table_size;
        table_size += loads[i].capacity;
    }
    table = allocate(table_size, sizeof *table);
    for (size_t i = 0; i < load_count; i++)
        loads[i].records = table + loads[i].first_token;
}

static void open_target(cwl_sink *sink, struct load *load, uint32_t target)
{
    bool streams = load->stream[0] != '\0';
    char numbered[sizeof load->prefix + 16];
    snprintf(numbered, sizeof numbered, "%s%" PRIu32, streams ? load->stream : load->prefix, target);
    const char *group = streams ? load->prefix : numbered, *stream = streams ? numbered : STREAM;
    if (cwl_target_open(sink, group, stream, &load->handles[target]) != CWL_OK)
        die("cwl_target_open");
}

void open_targets(cwl_sink *sink)
{
    for (size_t i = 0; i < load_count; i++) {
        loads[i].handles = allocate(loads[i].targets, sizeof *loads[i].handles);
        for (uint32_t target = 0; target < loads[i].targets; target++)
            open_target(sink, &loads[i], target);
    }
}

/* Nine times between two bursts, from `sweep_ns` less than the mean to as much more than it, again and again. */
static uint64_t bursts_due(double mean_ns, int64_t sweep_ns, int64_t elapsed_ns)
{
    uint64_t bursts = 1;
    double at_ns = 0;
    for (;; bursts++) {
        at_ns += mean_ns + (double)sweep_ns * ((double)((bursts - 1) % 9) - 4) / 4;
        if (at_ns > (double)elapsed_ns)
            return bursts;
    }
}

uint64_t due_count(const struct load *load, int64_t elapsed_ns)
{
    int64_t elapsed = elapsed_ns - load->after_ns;
    if (elapsed < 0)
        return 0;
    uint64_t due = load->sweep_ns == 0
                       ? 1 + (uint64_t)(load->rate * (double)elapsed / SECOND_NS)
                       : load->targets * bursts_due(SECOND_NS * load->targets / load->rate, load->sweep_ns, elapsed);
    return due < load->events ? due : load->events;
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

/* ---- the outcomes ---- */

struct target_counts {
    uint64_t accepted, delivered, delivered_in_run;
    int64_t delivered_until_ns; /* the time of the last delivery so far */
    int64_t longest_wait_ns;    /* the longest time in the run in which an event waited and none was delivered */
};

/* The events of a target come in the order of their pushes. Each waits from its push, or from the delivery of the one
 * before it, to its own delivery. */
static void count_record(struct target_counts *counts, const struct record *record, int64_t pushed_until_ns)
{
    bool delivered = record->acks > 0 && record->outcome == CWL_DELIVERED;
    bool in_run = delivered && record->acked_ns <= pushed_until_ns;
    counts->accepted++;
    counts->delivered += delivered;
    counts->delivered_in_run += in_run;
    int64_t since = record->pushed_ns > counts->delivered_until_ns ? record->pushed_ns : counts->delivered_until_ns;
    int64_t until = in_run ? record->acked_ns : pushed_until_ns;
    if (until - since > counts->longest_wait_ns)
        counts->longest_wait_ns = until - since;
    if (in_run && record->acked_ns > counts->delivered_until_ns)
        counts->delivered_until_ns = record->acked_ns;
}

static void print_targets(const struct load *load, const struct target_counts *counts)
{
    printf(", \"by_target\": [");
    for (uint32_t target = 0; target < load->targets; target++) {
        const struct target_counts *count = &counts[target];
        printf("%s[%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRId64 "]", target == 0 ? "" : ", ", count->accepted,
               count->delivered, count->delivered_in_run, count->longest_wait_ns / 1000000);
    }
    printf("]");
}

void print_load(const struct load *load, int64_t pushed_until_ns)
{
    uint64_t outcomes[4] = { 0 }, never_acked = 0, acked_twice = 0;
    int64_t last_delivery_ns = 0;
    struct target_counts *counts = allocate(load->targets, sizeof *counts);
    for (uint64_t i = 0; i < load->accepted; i++) {
        const struct record *record = &load->records[i];
        never_acked += record->acks == 0;
        acked_twice += record->acks > 1;
        if (record->acks > 0 && record->outcome < 4)
            outcomes[record->outcome]++;
        if (record->acks > 0 && record->outcome == CWL_DELIVERED && record->acked_ns > last_delivery_ns)
            last_delivery_ns = record->acked_ns;
        count_record(&counts[record->target], record, pushed_until_ns);
    }
    printf("{\"role\": \"%s\", \"prefix\": \"%s\", \"due\": %" PRIu64 ", \"accepted\": %" PRIu64
           ", \"refused_full\": %" PRIu64 ", \"refused_otherwise\": %" PRIu64 ", \"delivered\": %" PRIu64
           ", \"rejected\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"abandoned\": %" PRIu64
           ", \"never_acked\": %" PRIu64 ", \"acked_twice\": %" PRIu64 ", \"last_delivery_ns\": %" PRId64,
           role_names[load->role], load->prefix, load->due, load->accepted, load->refused_full, load->refused_otherwise,
           outcomes[CWL_DELIVERED], outcomes[CWL_REJECTED], outcomes[CWL_DROPPED], outcomes[CWL_ABANDONED], never_acked,
           acked_twice, last_delivery_ns);
    print_targets(load, counts);
    printf("}");
    free(counts);
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
