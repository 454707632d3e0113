/* Implements the use of the library that all measurements share: see sink.h. */

#include "sink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

/* No flush takes as long as this; a run that hangs ends with an error. */
#define FLUSH_MS 240000
#define SHUTDOWN_MS 10000

void die(const char *what)
{
    fprintf(stderr, "host: %s: %s\n", what, cwl_last_error());
    exit(1);
}

static void set(cwl_config *config, const char *key, const char *value)
{
    if (cwl_config_set(config, key, value) != CWL_OK)
        die(key);
}

static void set_option(cwl_config *config, const char *option)
{
    char key[64];
    const char *equals = strchr(option, '=');
    if (equals == NULL || (size_t)(equals - option) >= sizeof key)
        fail("an option is not KEY=VALUE");
    memcpy(key, option, (size_t)(equals - option));
    key[equals - option] = '\0';
    set(config, key, equals + 1);
}

cwl_sink *open_sink(const char *endpoint, int option_count, char **options)
{
    cwl_config *config = cwl_config_new();
    set(config, "endpoint_url", endpoint);
    set(config, "region", "us-east-1");
    set(config, "access_key_id", "test");
    set(config, "secret_access_key", "test");
    set(config, "log_group", "/bench");
    set(config, "log_stream", "host");
    for (int i = 0; i < option_count; i++)
        set_option(config, options[i]);
    cwl_sink *sink = NULL;
    if (cwl_sink_open(config, &sink) != CWL_OK)
        die("cwl_sink_open");
    cwl_config_free(config);
    return sink;
}

cwl_target *open_target(cwl_sink *sink, const char *group, const char *stream)
{
    cwl_target *target = NULL;
    if (cwl_target_open(sink, group, stream, &target) != CWL_OK)
        die("cwl_target_open");
    return target;
}

cwl_event event_now(void)
{
    cwl_event event = { .struct_size = sizeof event, .timestamp_ms = now_ns(CLOCK_REALTIME) / 1000000 };
    return event;
}

void push_lines(cwl_target *target, struct cursor *cursor, size_t bytes, uint64_t count)
{
    cwl_event event;
    for (uint64_t i = 0; i < count; i++) {
        if (i % EVENTS_PER_TIMESTAMP == 0) {
            event = event_now();
            event.message_len = bytes;
        }
        event.message = next_line(cursor);
        if (cwl_target_push(target, &event) != CWL_OK)
            die("cwl_target_push");
    }
}

void flush(cwl_sink *sink)
{
    cwl_status status = cwl_flush(sink, FLUSH_MS);
    if (status != CWL_OK)
        die(cwl_status_name(status));
}

void print_counts(cwl_sink *sink)
{
    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    if (cwl_stats(sink, &stats) != CWL_OK)
        die("cwl_stats");
    printf("\"pushed\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"requests\": %" PRIu64
           ", \"requests_failed\": %" PRIu64 "}\n",
           stats.accepted_events, stats.delivered_events, stats.requests, stats.requests_failed);
}

void end_sink(cwl_sink *sink)
{
    cwl_shutdown(sink, SHUTDOWN_MS);
    cwl_sink_free(sink);
}
