/*
 * Tests the outcomes of events: acks by callback and by polling, and the offsets of sources.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>

#include "check.h"

enum { EVENTS = 3000 };

static const char *endpoint;

static cwl_sink *open_local(const char *test)
{
    cwl_config *config = test_config(endpoint, test);
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", "20"));
    return open_sink(config);
}

/* Counts the acks of each token. One thread of the library calls back, and the test reads the counts after the
 * shutdown. */
struct ack_counts {
    unsigned char acks[EVENTS];
    int unexpected; /* acks with an unknown token or another outcome than a plain delivery */
};

static void count_ack(struct ack_counts *counts, const cwl_ack *ack)
{
    int delivered = ack->struct_size == sizeof *ack && ack->outcome == CWL_DELIVERED && ack->reason == CWL_REASON_NONE
                    && ack->error_code == NULL && ack->error_message == NULL;
    if (ack->token < EVENTS && delivered)
        counts->acks[ack->token]++;
    else
        counts->unexpected++;
}

static void check_one_ack_each(const struct ack_counts *counts)
{
    int wrong = 0;
    for (size_t i = 0; i < EVENTS; i++)
        wrong += counts->acks[i] != 1;
    CHECK_EQUAL(0, wrong);
    CHECK_EQUAL(0, counts->unexpected);
}

static void on_acks(const cwl_ack *acks, size_t count, void *user)
{
    for (size_t i = 0; i < count; i++)
        count_ack(user, (const cwl_ack *)(const void *)((const char *)acks + i * acks->struct_size));
}

static void push_all(cwl_sink *sink)
{
    for (uint64_t token = 0; token < EVENTS; token++) {
        cwl_event event = test_event("an event that is acked");
        event.token = token;
        CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    }
}

static void the_ack_callback_gets_one_ack_for_each_event(void)
{
    struct ack_counts counts;
    memset(&counts, 0, sizeof counts);
    cwl_sink *sink = open_local("ack-callback");
    CHECK_STATUS(CWL_OK, cwl_set_ack_callback(sink, on_acks, &counts));
    push_all(sink);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    check_one_ack_each(&counts);
    cwl_sink_free(sink);
}

static void the_ack_descriptor_is_readable_until_all_acks_are_fetched(void)
{
    struct ack_counts counts;
    memset(&counts, 0, sizeof counts);
    cwl_sink *sink = open_local("ack-poll");
    struct pollfd readable = { cwl_ack_fd(sink), POLLIN, 0 };
    CHECK_OR_RETURN(readable.fd >= 0);
    push_all(sink);
    for (int fetched = 0; fetched < EVENTS;) {
        CHECK_OR_RETURN(poll(&readable, 1, 20000) == 1);
        cwl_ack acks[100];
        memset(acks, 0, sizeof acks);
        acks[0].struct_size = sizeof acks[0];
        int64_t number = cwl_poll_acks(sink, acks, 100, 0);
        CHECK_OR_RETURN(number > 0);
        for (int64_t i = 0; i < number; i++)
            count_ack(&counts, &acks[i]);
        fetched += (int)number;
    }
    CHECK_EQUAL(0, poll(&readable, 1, 0));
    check_one_ack_each(&counts);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
}

static void the_offset_of_a_source_advances_over_delivered_events(void)
{
    cwl_sink *sink = open_local("source");
    cwl_source *source = NULL;
    uint64_t offset = 1;
    CHECK_STATUS(CWL_OK, cwl_source_open(sink, "a file", &source));
    CHECK_STATUS(CWL_OK, cwl_source_offset(source, &offset));
    CHECK_EQUAL(0, offset);
    for (uint64_t i = 0; i < 100; i++) {
        cwl_event event = test_event("ten bytes\n");
        event.source = source;
        event.offset_begin = 10 * i;
        event.offset_end = 10 * (i + 1);
        CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    }
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 20000));
    CHECK_STATUS(CWL_OK, cwl_source_offset(source, &offset));
    CHECK_EQUAL(1000, offset);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
    cwl_source_free(source); /* the handle of a source outlives its sink */
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(the_ack_callback_gets_one_ack_for_each_event);
    RUN(the_ack_descriptor_is_readable_until_all_acks_are_fetched);
    RUN(the_offset_of_a_source_advances_over_delivered_events);
    return finish();
}
