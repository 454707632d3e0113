/* Implements the shipping of lines: see shipping.h. */

#include "shipping.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "signals.h"
#include "terminal.h"

/* The most refused lines that are named one by one. The summary counts all of them. */
#define REFUSALS_NAMED_MAX 10

/* The longest wait inside the library without a check for signals. */
#define WAIT_SLICE_MS 100

int open_sink(struct shipper *shipper)
{
    cwl_status status = cwl_sink_open(shipper->options->config, &shipper->sink);
    if (status == CWL_OK)
        status = cwl_target_open(shipper->sink, NULL, NULL, &shipper->target);
    if (status == CWL_OK)
        return EXIT_DELIVERED;
    print_message("%s", cwl_last_error());
    bool bad_input = status == CWL_ERR_CONFIG || status == CWL_ERR_OPEN || status == CWL_ERR_STATE;
    return bad_input ? EXIT_BAD_INPUT : EXIT_NOT_DELIVERED;
}

/* Starts the time limit of --timeout. */
static void start_timeout(struct shipper *shipper)
{
    if (shipper->deadline_ms == 0)
        shipper->deadline_ms = monotonic_ms() + shipper->options->timeout_ms;
}

/* Returns true after a second signal, or when the time limit is over. The first signal starts the time limit. */
static bool must_exit(struct shipper *shipper)
{
    if (stop_requested())
        start_timeout(shipper);
    return signal_count >= 2 || (shipper->deadline_ms != 0 && monotonic_ms() >= shipper->deadline_ms);
}

void update_progress(struct shipper *shipper)
{
    if (!progress_enabled())
        return;
    int64_t now = monotonic_ms();
    if (now - shipper->progress_shown_ms < PROGRESS_INTERVAL_MS)
        return;
    shipper->progress_shown_ms = now;

    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    if (cwl_stats(shipper->sink, &stats) != CWL_OK)
        return;
    char text[PROGRESS_SIZE], retrying[64] = "";
    if (stats.targets_failing > 0 || stats.endpoint_paused)
        snprintf(retrying, sizeof retrying, ", retrying (%" PRIu64 " requests failed)", stats.requests_failed);
    snprintf(text, sizeof text, "%s%" PRIu64 " lines, %.1f MB: %" PRIu64 " delivered, %" PRIu64 " pending%s",
             shipper->deadline_ms != 0 ? "flushing: " : "", shipper->lines, (double)shipper->pushed_bytes / 1e6,
             stats.delivered_events, stats.pending_events, retrying);
    draw_progress_line(text);
}

/* Marks the input as handled up to `end`, unless an earlier line is still to be sent. */
static void mark_handled(struct input *input, uint64_t end)
{
    if (!input->has_unsent_line)
        input->handled_offset = end;
}

static void refuse_line(struct shipper *shipper, struct input *input, uint64_t end, const char *reason)
{
    mark_handled(input, end);
    shipper->refused++;
    if (shipper->refused <= REFUSALS_NAMED_MAX && input->start_offset == 0)
        print_message("%s:%" PRIu64 ": not sent: %s", input->name, input->line_number, reason);
    else if (shipper->refused <= REFUSALS_NAMED_MAX)
        print_message("%s: the line that ends at byte %" PRIu64 ": not sent: %s", input->name, end, reason);
    if (shipper->refused == REFUSALS_NAMED_MAX + 1)
        print_message("further refused lines are not named; the summary counts them");
}

/* Returns the time for the next event. The wall clock may be set back, which must not change the order of the lines. */
static int64_t next_timestamp_ms(struct shipper *shipper)
{
    int64_t now = wall_ms();
    if (now > shipper->timestamp_ms)
        shipper->timestamp_ms = now;
    return shipper->timestamp_ms;
}

void ship_line(struct shipper *shipper, struct input *input, const char *line, size_t length, uint64_t end)
{
    input->line_number++;
    shipper->lines++;
    if (length == 0) {
        shipper->empty++;
        mark_handled(input, end);
        return;
    }
    cwl_event event = {
        .struct_size = sizeof event,
        .timestamp_ms = next_timestamp_ms(shipper),
        .message = line,
        .message_len = length,
        .source = input->source,
        .offset_begin = input->source != NULL ? input->pushed_offset : 0,
        .offset_end = input->source != NULL ? end : 0,
    };
    for (;;) {
        if (input->has_unsent_line || must_exit(shipper)) {
            shipper->unsent++;
            input->has_unsent_line = true;
            return;
        }
        cwl_status status = cwl_target_push(shipper->target, &event);
        update_progress(shipper);
        if (status == CWL_OK) {
            shipper->pushed++;
            shipper->pushed_bytes += length;
            input->pushed_offset = end;
            mark_handled(input, end);
            return;
        }
        if (status == CWL_ERR_CLOSED || status == CWL_ERR_INTERNAL) {
            print_message("%s: %s", input->name, cwl_last_error());
            input->has_unsent_line = true; /* the line itself is not at fault: the next run sends it */
        } else if (status != CWL_ERR_FULL || !shipper->options->push_blocks) {
            refuse_line(shipper, input, end, cwl_last_error());
            return;
        }
    }
}

void refuse_long_line(struct shipper *shipper, struct input *input, size_t kept_bytes, uint64_t end)
{
    char reason[128];
    snprintf(reason, sizeof reason, "the line has %" PRIu64 " bytes; CloudWatch Logs accepts about 1 MB",
             (uint64_t)kept_bytes + input->discarded_bytes);
    input->line_number++;
    shipper->lines++;
    input->discarded_bytes = 0;
    refuse_line(shipper, input, end, reason);
}

/* Returns the time for the next wait: until the time limit is over, and never negative, which is CWL_FOREVER. */
static int64_t next_wait_ms(const struct shipper *shipper)
{
    int64_t left_ms = shipper->deadline_ms - monotonic_ms();
    if (left_ms < 0)
        return 0;
    return left_ms < WAIT_SLICE_MS ? left_ms : WAIT_SLICE_MS;
}

void drain(struct shipper *shipper)
{
    bool all_final = false;
    start_timeout(shipper);
    while (!all_final && !must_exit(shipper)) {
        all_final = cwl_flush(shipper->sink, next_wait_ms(shipper)) != CWL_ERR_TIMEOUT;
        update_progress(shipper);
    }
    cwl_shutdown(shipper->sink, all_final ? WAIT_SLICE_MS : 0);
}

int summarize(const struct shipper *shipper)
{
    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    cwl_stats(shipper->sink, &stats);
    bool delivered = stats.delivered_events == shipper->pushed && shipper->refused == 0 && shipper->unsent == 0
                     && !shipper->read_failed;
    char files[96] = "";
    if (shipper->options->follow || shipper->options->state_dir != NULL)
        snprintf(files, sizeof files, " files=%" PRIu64 " rotations=%" PRIu64 " truncations=%" PRIu64, shipper->files,
                 shipper->rotations, shipper->truncations);
    if (!delivered || !shipper->options->quiet)
        print_message("lines=%" PRIu64 " pushed=%" PRIu64 " bytes=%" PRIu64 " delivered=%" PRIu64 " rejected=%" PRIu64
                      " dropped=%" PRIu64 " abandoned=%" PRIu64 " refused=%" PRIu64 " unsent=%" PRIu64
                      " skipped_empty=%" PRIu64 "%s seconds=%.2f",
                      shipper->lines, shipper->pushed, shipper->pushed_bytes, stats.delivered_events,
                      stats.rejected_events, stats.dropped_events, stats.abandoned_events, shipper->refused,
                      shipper->unsent, shipper->empty, files, (double)(monotonic_ms() - shipper->started_ms) / 1000.0);
    return delivered ? EXIT_DELIVERED : EXIT_NOT_DELIVERED;
}
