/* Implements the watch on the library: see watch.h. */

#include "watch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "loads.h"

#define PAUSES_MAX 64
#define WARNINGS_MAX 4
#define WARNING_BYTES 400

static const struct timespec INTERVAL = { .tv_nsec = 10000000 };
static const char PAUSE_WORDS[] = "delivery is paused for all targets";

struct pause {
    int64_t from_ns, until_ns; /* 0: it has not ended */
};

/* Written by the thread of the watch only. */
static struct pause pauses[PAUSES_MAX];
static uint64_t pause_count, peak_in_flight, peak_slow;

static pthread_t thread;
static atomic_bool ending;

/* Guards what the log callback writes; it is called by any thread of the library. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t warning_count, pause_message_count;
static char warnings[WARNINGS_MAX][WARNING_BYTES];

static cwl_stats_snapshot statistics_of(cwl_sink *sink)
{
    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    if (cwl_stats(sink, &stats) != CWL_OK)
        die("cwl_stats");
    return stats;
}

/* ---- the log ---- */

static void on_log(int32_t level, const char *message, void *user)
{
    (void)level;
    (void)user;
    pthread_mutex_lock(&log_lock);
    if (warning_count < WARNINGS_MAX)
        snprintf(warnings[warning_count], WARNING_BYTES, "%s", message);
    warning_count++;
    pause_message_count += strncmp(message, PAUSE_WORDS, sizeof PAUSE_WORDS - 1) == 0;
    pthread_mutex_unlock(&log_lock);
}

void watch_log(void)
{
    if (cwl_set_log_callback(CWL_LOG_WARN, on_log, NULL) != CWL_OK)
        die("cwl_set_log_callback");
}

/* ---- the statistics ---- */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void note_pause(bool paused)
{
    bool was_paused = pause_count > 0 && pauses[(pause_count - 1) % PAUSES_MAX].until_ns == 0;
    if (paused && !was_paused)
        pauses[pause_count++ % PAUSES_MAX] = (struct pause){ .from_ns = now_ns() };
    else if (!paused && was_paused)
        pauses[(pause_count - 1) % PAUSES_MAX].until_ns = now_ns();
}

static void *read_statistics(void *sink)
{
    while (!atomic_load(&ending)) {
        cwl_stats_snapshot stats = statistics_of(sink);
        note_pause(stats.endpoint_paused != 0);
        if (stats.requests_in_flight > peak_in_flight)
            peak_in_flight = stats.requests_in_flight;
        if (stats.requests_slow > peak_slow)
            peak_slow = stats.requests_slow;
        nanosleep(&INTERVAL, NULL);
    }
    return NULL;
}

void watch_begin(cwl_sink *sink)
{
    if (pthread_create(&thread, NULL, read_statistics, sink) != 0)
        die("pthread_create");
}

void watch_end(void)
{
    atomic_store(&ending, true);
    pthread_join(thread, NULL);
}

/* ---- results ---- */

static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text >= ' ')
            putchar(*text);
    putchar('"');
}

void print_watched(void)
{
    printf("\"pause_count\": %" PRIu64 ", \"pauses\": [", pause_count);
    for (uint64_t i = 0; i < pause_count && i < PAUSES_MAX; i++)
        printf("%s[%" PRId64 ", %" PRId64 "]", i == 0 ? "" : ", ", pauses[i].from_ns, pauses[i].until_ns);
    pthread_mutex_lock(&log_lock);
    printf("], \"pause_messages\": %" PRIu64 ", \"warnings\": %" PRIu64 ", \"first_warnings\": [", pause_message_count,
           warning_count);
    for (uint64_t i = 0; i < warning_count && i < WARNINGS_MAX; i++) {
        printf("%s", i == 0 ? "" : ", ");
        print_text(warnings[i]);
    }
    pthread_mutex_unlock(&log_lock);
    printf("], \"peak_in_flight\": %" PRIu64 ", \"peak_slow\": %" PRIu64, peak_in_flight, peak_slow);
}

void print_statistics(cwl_sink *sink)
{
    cwl_stats_snapshot stats = statistics_of(sink);
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {
        { "accepted_events", stats.accepted_events },
        { "delivered_events", stats.delivered_events },
        { "rejected_events", stats.rejected_events },
        { "dropped_events", stats.dropped_events },
        { "abandoned_events", stats.abandoned_events },
        { "pending_events", stats.pending_events },
        { "requests", stats.requests },
        { "requests_failed", stats.requests_failed },
        { "requests_throttled", stats.requests_throttled },
        { "batches_retried", stats.batches_retried },
        { "wire_bytes", stats.wire_bytes },
        { "buffered_bytes_peak", stats.buffered_bytes_peak },
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        printf("%s\"%s\": %" PRIu64, i == 0 ? "{" : ", ", members[i].name, members[i].value);
    printf("}");
}
