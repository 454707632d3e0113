/*
 * What became of the events: acks by callback and by polling, and the offsets of sources.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>

#include "check.h"

enum { EVENTS = 3000 };

static const char *endpoint;

static cwl_sink *open_local(const char *group)
{
    cwl_sink *sink = NULL;
    cwl_config *config = cwl_config_new();
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "endpoint_url", endpoint));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "region", "us-east-1"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "access_key_id", "test"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "secret_access_key", "test"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "log_group", group));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "log_stream", "s"));
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "flush_interval_ms", "20"));
    CHECK_STATUS(CWL_OK, cwl_sink_open(config, &sink));
    cwl_config_free(config);
    return sink;
}

/* How often each token was acked. One thread of the library calls back, and the test looks after the shutdown. */
struct tally {
    unsigned char acks[EVENTS];
    int strange;
};

static void count(struct tally *tally, const cwl_ack *ack)
{
    int plain = ack->struct_size == sizeof *ack && ack->outcome == CWL_DELIVERED && ack->reason == CWL_REASON_NONE
                && ack->error_code == NULL && ack->error_message == NULL;
    if (ack->token < EVENTS && plain)
        tally->acks[ack->token]++;
    else
        tally->strange++;
}

static void each_once(const struct tally *tally)
{
    int wrong = 0;
    for (size_t i = 0; i < EVENTS; i++)
        wrong += tally->acks[i] != 1;
    CHECK_EQUAL(0, wrong);
    CHECK_EQUAL(0, tally->strange);
}

static void on_acks(const cwl_ack *acks, size_t number, void *user)
{
    for (size_t i = 0; i < number; i++)
        count(user, (const cwl_ack *)(const void *)((const char *)acks + i * acks->struct_size));
}

static void push_all(cwl_sink *sink)
{
    for (uint64_t token = 0; token < EVENTS; token++) {
        cwl_event event = test_event("an event that is acked");
        event.token = token;
        CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    }
}

static void a_callback_is_given_one_ack_for_each_event(void)
{
    struct tally tally;
    memset(&tally, 0, sizeof tally);
    cwl_sink *sink = open_local(test_group("ack-callback"));
    CHECK_STATUS(CWL_OK, cwl_set_ack_callback(sink, on_acks, &tally));
    push_all(sink);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    each_once(&tally);
    cwl_sink_free(sink);
}

static void a_host_with_an_event_loop_polls_a_descriptor_and_fetches_acks(void)
{
    struct tally tally;
    memset(&tally, 0, sizeof tally);
    cwl_sink *sink = open_local(test_group("ack-poll"));
    struct pollfd readable = { cwl_ack_fd(sink), POLLIN, 0 };
    CHECK_OR_LEAVE(readable.fd >= 0);
    push_all(sink);
    for (int fetched = 0; fetched < EVENTS;) {
        CHECK_OR_LEAVE(poll(&readable, 1, 20000) == 1);
        cwl_ack acks[100];
        memset(acks, 0, sizeof acks);
        acks[0].struct_size = sizeof acks[0];
        int64_t number = cwl_poll_acks(sink, acks, 100, 0);
        CHECK_OR_LEAVE(number > 0);
        for (int64_t i = 0; i < number; i++)
            count(&tally, &acks[i]);
        fetched += (int)number;
    }
    CHECK_EQUAL(0, poll(&readable, 1, 0));
    each_once(&tally);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 20000));
    cwl_sink_free(sink);
}

static void a_source_is_final_below_its_offset(void)
{
    cwl_sink *sink = open_local(test_group("source"));
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
    cwl_source_free(source); /* a source's handle outlives its sink */
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(a_callback_is_given_one_ack_for_each_event);
    RUN(a_host_with_an_event_loop_polls_a_descriptor_and_fetches_acks);
    RUN(a_source_is_final_below_its_offset);
    return finish();
}
