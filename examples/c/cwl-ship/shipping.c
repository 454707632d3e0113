/* From a line to its outcome: see shipping.h. */

#include "shipping.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "signals.h"
#include "terminal.h"

/* Refused lines named one by one; the summary counts them all. */
#define REFUSALS_NAMED 10

/* The longest that anything waits without looking at signals. */
#define SLICE_MS 100

int open_sink(struct shipper *ship)
{
    cwl_status status = cwl_sink_open(ship->options->config, &ship->sink);
    if (status == CWL_OK)
        status = cwl_target_open(ship->sink, NULL, NULL, &ship->target);
    if (status == CWL_OK)
        return EXIT_DELIVERED;
    say("%s", cwl_last_error());
    bool wrong = status == CWL_ERR_CONFIG || status == CWL_ERR_OPEN || status == CWL_ERR_STATE;
    return wrong ? EXIT_BAD_INPUT : EXIT_NOT_DELIVERED;
}

/* From now on --timeout runs. */
static void start_leaving(struct shipper *ship)
{
    if (ship->deadline_ms == 0)
        ship->deadline_ms = monotonic_ms() + ship->options->timeout_ms;
}

static bool must_leave(struct shipper *ship)
{
    if (stopping())
        start_leaving(ship);
    return signals_seen >= 2 || (ship->deadline_ms != 0 && monotonic_ms() >= ship->deadline_ms);
}

void show_progress(struct shipper *ship)
{
    if (!progress_wanted())
        return;
    int64_t now = monotonic_ms();
    if (now - ship->progress_ms < PROGRESS_MS)
        return;
    ship->progress_ms = now;

    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    if (cwl_stats(ship->sink, &stats) != CWL_OK)
        return;
    char text[PROGRESS_SIZE], retrying[64] = "";
    if (stats.targets_failing > 0)
        snprintf(retrying, sizeof retrying, ", retrying (%" PRIu64 " requests failed)", stats.requests_failed);
    snprintf(text, sizeof text, "%s%" PRIu64 " lines, %.1f MB: %" PRIu64 " delivered, %" PRIu64 " pending%s",
             ship->deadline_ms != 0 ? "flushing: " : "", ship->lines, (double)ship->pushed_bytes / 1e6,
             stats.delivered_events, stats.pending_events, retrying);
    show_progress_text(text);
}

/* Nothing is to be sent any more of what lies before `end`. */
static void settle(struct input *input, uint64_t end)
{
    if (!input->held)
        input->settled = end;
}

static void refuse_line(struct shipper *ship, struct input *input, uint64_t end, const char *reason)
{
    settle(input, end);
    ship->refused++;
    if (ship->refused <= REFUSALS_NAMED && input->begun == 0)
        say("%s:%" PRIu64 ": not sent: %s", input->name, input->line, reason);
    else if (ship->refused <= REFUSALS_NAMED)
        say("%s: the line that ends at byte %" PRIu64 ": not sent: %s", input->name, end, reason);
    if (ship->refused == REFUSALS_NAMED + 1)
        say("more lines are not sent; the summary counts them");
}

/* The time of an event. The wall clock may be set back, which would change the order of the lines. */
static int64_t next_timestamp_ms(struct shipper *ship)
{
    int64_t now = wall_ms();
    if (now > ship->timestamp_ms)
        ship->timestamp_ms = now;
    return ship->timestamp_ms;
}

void ship_line(struct shipper *ship, struct input *input, const char *line, size_t length, uint64_t end)
{
    input->line++;
    ship->lines++;
    if (length == 0) {
        ship->empty++;
        settle(input, end);
        return;
    }
    cwl_event event = {
        .struct_size = sizeof event,
        .timestamp_ms = next_timestamp_ms(ship),
        .message = line,
        .message_len = length,
        .source = input->source,
        .offset_begin = input->source != NULL ? input->covered : 0,
        .offset_end = input->source != NULL ? end : 0,
    };
    for (;;) {
        if (input->held || must_leave(ship)) {
            ship->unsent++;
            input->held = true;
            return;
        }
        cwl_status status = cwl_target_push(ship->target, &event);
        show_progress(ship);
        if (status == CWL_OK) {
            ship->pushed++;
            ship->pushed_bytes += length;
            input->covered = end;
            settle(input, end);
            return;
        }
        if (status == CWL_ERR_CLOSED || status == CWL_ERR_INTERNAL) {
            say("%s: %s", input->name, cwl_last_error());
            input->held = true; /* not the line's fault: it is for the next run */
        } else if (status != CWL_ERR_FULL || !ship->options->blocks) {
            refuse_line(ship, input, end, cwl_last_error());
            return;
        }
    }
}

void ship_cut_line(struct shipper *ship, struct input *input, size_t kept, uint64_t end)
{
    char reason[128];
    snprintf(reason, sizeof reason, "the line has %" PRIu64 " bytes, and CloudWatch Logs takes about 1 MB",
             (uint64_t)kept + input->line_cut);
    input->line++;
    ship->lines++;
    input->line_cut = 0;
    refuse_line(ship, input, end, reason);
}

void drain(struct shipper *ship)
{
    bool all_final = false;
    start_leaving(ship);
    while (!all_final && !must_leave(ship)) {
        int64_t left = ship->deadline_ms - monotonic_ms();
        all_final = cwl_flush(ship->sink, left < SLICE_MS ? left : SLICE_MS) != CWL_ERR_TIMEOUT;
        show_progress(ship);
    }
    cwl_shutdown(ship->sink, all_final ? SLICE_MS : 0);
}

int summarize(const struct shipper *ship)
{
    cwl_stats_snapshot stats = { .struct_size = sizeof stats };
    cwl_stats(ship->sink, &stats);
    bool delivered = stats.delivered_events == ship->pushed && ship->refused == 0 && ship->unsent == 0
                     && !ship->read_failed;
    char files[96] = "";
    if (ship->options->follow || ship->options->state_dir != NULL)
        snprintf(files, sizeof files, " files=%" PRIu64 " rotations=%" PRIu64 " truncations=%" PRIu64, ship->files,
                 ship->rotations, ship->truncations);
    if (!delivered || !ship->options->quiet)
        say("lines=%" PRIu64 " pushed=%" PRIu64 " bytes=%" PRIu64 " delivered=%" PRIu64 " rejected=%" PRIu64
            " dropped=%" PRIu64 " abandoned=%" PRIu64 " refused=%" PRIu64 " unsent=%" PRIu64 " skipped_empty=%" PRIu64
            "%s seconds=%.2f",
            ship->lines, ship->pushed, ship->pushed_bytes, stats.delivered_events, stats.rejected_events,
            stats.dropped_events, stats.abandoned_events, ship->refused, ship->unsent, ship->empty, files,
            (double)(monotonic_ms() - ship->started_ms) / 1000.0);
    return delivered ? EXIT_DELIVERED : EXIT_NOT_DELIVERED;
}
