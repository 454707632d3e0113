/*
 * Tests the promises of the ABI except shipping: versions and names, struct sizes, and wrong arguments, which get a
 * status and a sentence and never crash.
 */
#include <pthread.h>
#include <stdint.h>

#include "check.h"

static const char *endpoint;

static cwl_sink *open_local(const char *test)
{
    return open_sink(test_config(endpoint, test));
}

/* Sets cwl_last_error to a known text, so that the text of the next failure can be recognized. */
static void set_known_last_error(void)
{
    cwl_config *config = cwl_config_new();
    CHECK_STATUS(CWL_ERR_CONFIG, cwl_config_set(config, "known_last_error", "x"));
    CHECK(strstr(cwl_last_error(), "known_last_error") != NULL);
    cwl_config_free(config);
}

/* Checks that the call is refused as an invalid argument and sets cwl_last_error. */
#define CHECK_REFUSED(call)                                                                              \
    do {                                                                                                 \
        set_known_last_error();                                                                          \
        CHECK_STATUS(CWL_ERR_INVALID_ARGUMENT, call);                                                    \
        if (cwl_last_error()[0] == '\0' || strstr(cwl_last_error(), "known_last_error") != NULL)         \
            fail_check(__FILE__, __LINE__, "%s left \"%s\" as the last error", #call, cwl_last_error()); \
    } while (0)

static void the_library_has_the_versions_of_its_header(void)
{
    CHECK_EQUAL(CWL_ABI_VERSION, cwl_abi_version());
    /* Another major version breaks every program that is linked with the library. */
    CHECK_EQUAL(0, CWL_ABI_MAJOR);
    int major, minor, patch;
    CHECK(sscanf(cwl_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
}

static void every_status_has_its_name_and_value(void)
{
    static const struct {
        int value;
        cwl_status status;
        const char *name;
    } all[] = {
        { 0, CWL_OK, "CWL_OK" },
        { 1, CWL_ERR_INVALID_ARGUMENT, "CWL_ERR_INVALID_ARGUMENT" },
        { 2, CWL_ERR_CONFIG, "CWL_ERR_CONFIG" },
        { 3, CWL_ERR_FULL, "CWL_ERR_FULL" },
        { 4, CWL_ERR_TIMEOUT, "CWL_ERR_TIMEOUT" },
        { 5, CWL_ERR_CLOSED, "CWL_ERR_CLOSED" },
        { 6, CWL_ERR_TOO_LARGE, "CWL_ERR_TOO_LARGE" },
        { 7, CWL_ERR_TOO_OLD, "CWL_ERR_TOO_OLD" },
        { 8, CWL_ERR_TOO_NEW, "CWL_ERR_TOO_NEW" },
        { 9, CWL_ERR_ABANDONED, "CWL_ERR_ABANDONED" },
        { 10, CWL_ERR_OPEN, "CWL_ERR_OPEN" },
        { 11, CWL_ERR_IN_CALLBACK, "CWL_ERR_IN_CALLBACK" },
        { 12, CWL_ERR_INTERNAL, "CWL_ERR_INTERNAL" },
        { 13, CWL_ERR_STATE, "CWL_ERR_STATE" },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECK_EQUAL(all[i].value, all[i].status);
        CHECK(strcmp(cwl_status_name(all[i].status), all[i].name) == 0);
    }
    static const int32_t none[] = { -1, 14, 1000, INT32_MIN, INT32_MAX };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        CHECK(strcmp(cwl_status_name(none[i]), "CWL_ERR_UNKNOWN") == 0);
    CHECK_EQUAL(1, CWL_LOG_ERROR);
    CHECK_EQUAL(5, CWL_LOG_TRACE);
}

/* Closes a sink that must have accepted no event. */
static void close_untouched(cwl_sink *sink)
{
    CHECK_EQUAL(0, stats_of(sink).accepted_events);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 1000));
    cwl_sink_free(sink);
}

static void null_is_refused_by_config_and_push(void)
{
    cwl_config *config = test_config(endpoint, "null-push");
    cwl_sink *sink = open_local("null-push");
    cwl_event event = test_event("m"), no_message = test_event("m");
    no_message.message = NULL;
    size_t accepted = 99;
    CHECK_REFUSED(cwl_config_set(NULL, "region", "us-east-1"));
    CHECK_REFUSED(cwl_config_set(config, NULL, "us-east-1"));
    CHECK_REFUSED(cwl_config_set(config, "region", NULL));
    CHECK_REFUSED(cwl_sink_open(config, NULL));
    CHECK_REFUSED(cwl_push_event(NULL, &event));
    CHECK_REFUSED(cwl_push_event(sink, NULL));
    CHECK_REFUSED(cwl_push_event(sink, &no_message));
    CHECK_REFUSED(cwl_push_events(NULL, &event, 1, &accepted));
    CHECK_EQUAL(0, accepted);
    CHECK_REFUSED(cwl_push_events(sink, NULL, 1, &accepted));
    CHECK_REFUSED(cwl_push_events(sink, &no_message, 1, NULL));
    close_untouched(sink);
    cwl_config_free(config);
}

static void null_is_refused_by_targets_sources_and_acks(void)
{
    cwl_sink *sink = open_local("null-target");
    cwl_target *target = NULL, *none = NULL;
    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    cwl_event event = test_event("m"), no_message = test_event("m");
    no_message.message = NULL;
    CHECK_REFUSED(cwl_target_open(NULL, NULL, NULL, &none));
    CHECK(none == NULL);
    CHECK_REFUSED(cwl_target_open(sink, NULL, NULL, NULL));
    CHECK_REFUSED(cwl_target_push(NULL, &event));
    CHECK_REFUSED(cwl_target_push(target, NULL));
    CHECK_REFUSED(cwl_target_push(target, &no_message));
    cwl_source *source = NULL;
    uint64_t offset = 0;
    CHECK_REFUSED(cwl_source_open(NULL, "name", &source));
    CHECK_REFUSED(cwl_source_open(sink, NULL, &source));
    CHECK_REFUSED(cwl_source_open(sink, "name", NULL));
    CHECK(source == NULL);
    CHECK_REFUSED(cwl_source_offset(NULL, &offset));
    CHECK_REFUSED(cwl_set_ack_callback(NULL, NULL, NULL));
    CHECK_REFUSED(cwl_set_ack_callback(sink, NULL, NULL));
    CHECK_EQUAL(-(int64_t)CWL_ERR_INVALID_ARGUMENT, cwl_poll_acks(NULL, NULL, 0, 0));
    CHECK_EQUAL(-(int64_t)CWL_ERR_INVALID_ARGUMENT, cwl_poll_acks(sink, NULL, 1, 0));
    CHECK_EQUAL(-(int64_t)CWL_ERR_INVALID_ARGUMENT, cwl_ack_fd(NULL));
    cwl_target_free(target);
    close_untouched(sink);
}

static void null_is_refused_by_flush_shutdown_and_statistics(void)
{
    cwl_sink *sink = open_local("null-stats");
    cwl_stats_snapshot stats = stats_of(sink);
    char *json = NULL;
    CHECK_REFUSED(cwl_flush(NULL, 0));
    CHECK_REFUSED(cwl_shutdown(NULL, 0));
    CHECK_REFUSED(cwl_stats(NULL, &stats));
    CHECK_REFUSED(cwl_stats(sink, NULL));
    CHECK_REFUSED(cwl_stats_json(NULL, &json));
    CHECK(json == NULL);
    CHECK_REFUSED(cwl_stats_json(sink, NULL));
    close_untouched(sink);
}

static void null_is_allowed_where_the_header_says_so(void)
{
    cwl_sink *sink = open_local("null-allowed");
    cwl_event event = test_event("m");
    cwl_config_free(NULL);
    cwl_sink_free(NULL);
    cwl_target_free(NULL);
    cwl_string_free(NULL);
    cwl_source_free(NULL);
    CHECK_STATUS(CWL_OK, cwl_push_events(sink, &event, 1, NULL));
    CHECK_STATUS(CWL_OK, cwl_push_events(sink, NULL, 0, NULL));
    CHECK_STATUS(CWL_OK, cwl_set_log_callback(0, NULL, NULL));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    cwl_sink_free(sink);

    /* A NULL configuration means all defaults. The runner's environment names a region. */
    sink = NULL;
    CHECK_STATUS(CWL_OK, cwl_sink_open(NULL, &sink));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 0));
    cwl_sink_free(sink);
}

static void a_handle_of_another_kind_is_refused(void)
{
    cwl_config *config = test_config(endpoint, "kind");
    cwl_sink *sink = open_local("kind");
    cwl_target *target = NULL;
    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    cwl_event event = test_event("m");
    cwl_sink *opened = NULL;
    cwl_stats_snapshot stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;

    CHECK_REFUSED(cwl_push_event((cwl_sink *)(void *)target, &event));
    CHECK_REFUSED(cwl_push_event((cwl_sink *)(void *)config, &event));
    CHECK_REFUSED(cwl_push_events((cwl_sink *)(void *)target, &event, 1, NULL));
    CHECK_REFUSED(cwl_flush((cwl_sink *)(void *)target, 0));
    CHECK_REFUSED(cwl_shutdown((cwl_sink *)(void *)target, 0));
    CHECK_REFUSED(cwl_stats((cwl_sink *)(void *)config, &stats));
    CHECK_REFUSED(cwl_target_push((cwl_target *)(void *)sink, &event));
    CHECK_REFUSED(cwl_config_set((cwl_config *)(void *)sink, "region", "us-east-1"));
    CHECK_REFUSED(cwl_sink_open((cwl_config *)(void *)target, &opened));
    CHECK(opened == NULL);

    /* Freeing a handle of the wrong kind does nothing: both handles still work. */
    cwl_sink_free((cwl_sink *)(void *)target);
    cwl_target_free((cwl_target *)(void *)sink);
    cwl_config_free((cwl_config *)(void *)sink);
    CHECK_STATUS(CWL_OK, cwl_target_push(target, &event));
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_EQUAL(2, stats_of(sink).delivered_events);
    cwl_target_free(target);
    cwl_sink_free(sink);
    cwl_config_free(config);
}

/* An event of a later version of the ABI, with more members behind the known ones. */
struct later_event {
    cwl_event known;
    uint64_t more[2];
};

static void struct_size_tells_the_version_of_an_event(void)
{
    cwl_sink *sink = open_local("event-size");
    cwl_target *target = NULL;
    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    const size_t wrong[] = { 0, 1, sizeof(size_t), offsetof(cwl_event, token) - 8, sizeof(cwl_event) + 1, SIZE_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cwl_event event = test_event("m");
        event.struct_size = wrong[i];
        CHECK_REFUSED(cwl_push_event(sink, &event));
        CHECK_REFUSED(cwl_target_push(target, &event));
        CHECK_REFUSED(cwl_push_events(sink, &event, 1, NULL));
    }

    /* An event of the first version, which ended before the token, keeps its meaning. */
    cwl_event first = test_event("first");
    first.struct_size = offsetof(cwl_event, token);
    first.token = UINT64_MAX;
    first.offset_begin = UINT64_MAX;
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &first));

    struct later_event later[3];
    memset(later, 0, sizeof later);
    for (size_t i = 0; i < 3; i++) {
        later[i].known = test_event("later");
        later[i].known.struct_size = sizeof later[i];
    }
    size_t accepted = 0;
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &later[0].known));
    CHECK_STATUS(CWL_OK, cwl_push_events(sink, &later[0].known, 3, &accepted));
    CHECK_EQUAL(3, accepted);

    later[1].more[1] = 1; /* a member that this version does not know and must not ignore */
    CHECK_REFUSED(cwl_push_event(sink, &later[1].known));
    CHECK_REFUSED(cwl_push_events(sink, &later[0].known, 3, &accepted));
    CHECK_EQUAL(1, accepted);
    later[1].more[1] = 0;
    later[2].known.struct_size = sizeof(cwl_event); /* differs from the size of the first event */
    CHECK_REFUSED(cwl_push_events(sink, &later[0].known, 3, &accepted));
    CHECK_EQUAL(2, accepted);

    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_EQUAL(1 + 1 + 3 + 1 + 2, stats_of(sink).delivered_events);
    cwl_target_free(target);
    cwl_sink_free(sink);
}

static void stats_fill_only_the_struct_size_of_the_caller(void)
{
    cwl_sink *sink = open_local("stats-size");
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));

    cwl_stats_snapshot stats;
    memset(&stats, 0xA5, sizeof stats);
    stats.struct_size = offsetof(cwl_stats_snapshot, accepted_bytes);
    CHECK_STATUS(CWL_OK, cwl_stats(sink, &stats));
    CHECK_EQUAL(1, stats.accepted_events);
    CHECK_EQUAL(UINT64_C(0xA5A5A5A5A5A5A5A5), stats.accepted_bytes);
    CHECK_EQUAL(offsetof(cwl_stats_snapshot, accepted_bytes), stats.struct_size);

    struct {
        cwl_stats_snapshot known;
        uint64_t more;
    } later;
    memset(&later, 0xA5, sizeof later);
    later.known.struct_size = sizeof later;
    CHECK_STATUS(CWL_OK, cwl_stats(sink, &later.known));
    CHECK_EQUAL(1, later.known.accepted_bytes);
    CHECK_EQUAL(0, later.more); /* a member that this version does not know becomes 0 */

    stats.struct_size = 0;
    CHECK_REFUSED(cwl_stats(sink, &stats));
    stats.struct_size = sizeof(size_t) - 1;
    CHECK_REFUSED(cwl_stats(sink, &stats));

    char *json = NULL;
    CHECK_STATUS(CWL_OK, cwl_stats_json(sink, &json));
    CHECK_OR_RETURN(json != NULL);
    CHECK(strstr(json, "\"accepted_events\":1") != NULL);
    CHECK(strstr(json, "\"target_states\":[") != NULL);
    cwl_string_free(json);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    cwl_sink_free(sink);
}

static cwl_sink *open_rejecting_oversize(const char *test)
{
    cwl_config *config = test_config(endpoint, test);
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "oversize", "reject"));
    return open_sink(config);
}

static void invalid_lengths_and_timestamps_are_refused(void)
{
    cwl_sink *sink = open_rejecting_oversize("invalid-events");
    cwl_event event = test_event("m");
    event.message_len = 0;
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event.message_len = SIZE_MAX;
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event = test_event("m");
    event.timestamp_ms = -1;
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event.timestamp_ms = INT64_MIN;
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event.timestamp_ms = 1;
    CHECK_STATUS(CWL_ERR_TOO_OLD, cwl_push_event(sink, &event));
    event.timestamp_ms = INT64_MAX;
    CHECK_STATUS(CWL_ERR_TOO_NEW, cwl_push_event(sink, &event));
    close_untouched(sink);
}

static void invalid_group_and_stream_names_are_refused(void)
{
    cwl_sink *sink = open_rejecting_oversize("invalid-names");
    cwl_target *target = NULL;
    cwl_event event = test_event("m");
    event.log_group = "no:colon";
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event.log_group = "";
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event = test_event("m");
    event.log_stream = "no:colon";
    CHECK_REFUSED(cwl_push_event(sink, &event));
    event.log_stream = "not \xff utf-8";
    CHECK_REFUSED(cwl_push_event(sink, &event));
    CHECK_REFUSED(cwl_target_open(sink, "no:colon", NULL, &target));
    CHECK(target == NULL);

    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    event = test_event("m");
    event.log_group = "g"; /* a target has its own group */
    CHECK_REFUSED(cwl_target_push(target, &event));
    cwl_target_free(target);
    close_untouched(sink);
}

static void a_message_above_the_limit_is_refused_and_nothing_of_it_is_sent(void)
{
    static char large[1048551];
    cwl_sink *sink = open_rejecting_oversize("oversize");
    cwl_target *target = NULL;
    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    memset(large, 'x', sizeof large);
    cwl_event event = test_event("m");
    event.message = large;
    event.message_len = sizeof large;
    CHECK_STATUS(CWL_ERR_TOO_LARGE, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_ERR_TOO_LARGE, cwl_target_push(target, &event));
    event.message_len = sizeof large - 1;
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    cwl_stats_snapshot stats = stats_of(sink);
    CHECK_EQUAL(1, stats.accepted_events);
    CHECK_EQUAL(1, stats.delivered_events);
    CHECK_EQUAL(sizeof large - 1, stats.delivered_bytes);
    cwl_target_free(target);
    cwl_sink_free(sink);
}

static void a_configuration_error_names_the_option_and_no_secret(void)
{
    cwl_config *config = cwl_config_new();
    CHECK_STATUS(CWL_ERR_CONFIG, cwl_config_set(config, "log_gruop", "g"));
    CHECK(strstr(cwl_last_error(), "log_gruop") != NULL && strstr(cwl_last_error(), "log_group") != NULL);
    CHECK_STATUS(CWL_ERR_CONFIG, cwl_config_set(config, "concurrency", "many"));
    CHECK(strstr(cwl_last_error(), "concurrency") != NULL && strstr(cwl_last_error(), "many") != NULL);
    CHECK_STATUS(CWL_ERR_CONFIG, cwl_config_set(config, "", ""));

    cwl_sink *sink = (cwl_sink *)(void *)config;
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "secret_access_key", "hunter2"));
    CHECK_STATUS(CWL_ERR_CONFIG, cwl_sink_open(config, &sink)); /* its access_key_id is missing */
    CHECK(sink == NULL);
    CHECK(strstr(cwl_last_error(), "access_key_id") != NULL);
    CHECK(strstr(cwl_last_error(), "hunter2") == NULL);
    cwl_config_free(config);

    CHECK_REFUSED(cwl_set_log_callback(0, (cwl_log_callback)abort, NULL));
    CHECK_REFUSED(cwl_set_log_callback(6, (cwl_log_callback)abort, NULL));
}

static void after_shutdown_pushes_are_refused_and_statistics_stay_readable(void)
{
    cwl_sink *sink = open_local("closed");
    cwl_target *target = NULL, *late = NULL;
    CHECK_STATUS(CWL_OK, cwl_target_open(sink, NULL, NULL, &target));
    cwl_event event = test_event("m");
    size_t accepted = 99;
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    CHECK_STATUS(CWL_ERR_CLOSED, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_ERR_CLOSED, cwl_push_events(sink, &event, 1, &accepted));
    CHECK_EQUAL(0, accepted);
    CHECK_STATUS(CWL_ERR_CLOSED, cwl_target_push(target, &event));
    CHECK_STATUS(CWL_ERR_CLOSED, cwl_target_open(sink, "g", "s", &late));
    CHECK(late == NULL);
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 1000));
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 1000)); /* a second shutdown */
    CHECK_EQUAL(1, stats_of(sink).delivered_events);
    cwl_sink_free(sink);
    CHECK_STATUS(CWL_ERR_CLOSED, cwl_target_push(target, &event)); /* the handle of a target outlives its sink */
    cwl_target_free(target);
}

static void a_timeout_of_zero_never_waits(void)
{
    char url[64];
    int listener = bound_socket(url, sizeof url);
    CHECK(listener >= 0 && listen(listener, 16) == 0); /* accepts every connection and never answers */
    cwl_sink *sink = NULL;
    cwl_config *config = test_config(endpoint, "zero");
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "endpoint_url", url));
    CHECK_STATUS(CWL_OK, cwl_sink_open(config, &sink));
    cwl_config_free(config);
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_flush(sink, 0)); /* nothing is pending */
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    CHECK_STATUS(CWL_ERR_TIMEOUT, cwl_flush(sink, 0));
    CHECK_STATUS(CWL_ERR_ABANDONED, cwl_shutdown(sink, 0));
    cwl_stats_snapshot stats = stats_of(sink);
    CHECK_EQUAL(0, stats.delivered_events);
    CHECK_EQUAL(1, stats.abandoned_events);
    CHECK_EQUAL(0, stats.pending_events);
    cwl_sink_free(sink);
    close(listener);
}

static void a_flush_that_times_out_still_starts_the_delivery(void)
{
    cwl_sink *sink = open_local("started"); /* the default flush interval is 5 s */
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_push_event(sink, &event));
    cwl_status at_once = cwl_flush(sink, 0);
    CHECK(at_once == CWL_ERR_TIMEOUT || at_once == CWL_OK); /* depends on which thread is faster */
    for (int i = 0; i < 300 && stats_of(sink).delivered_events == 0; i++)
        sleep_ms(10);
    CHECK_EQUAL(1, stats_of(sink).delivered_events);
    CHECK_STATUS(CWL_OK, cwl_shutdown(sink, 10000));
    cwl_sink_free(sink);
}

static void *fail_on_other_thread(void *empty_before)
{
    *(int *)empty_before = cwl_last_error()[0] == '\0';
    set_known_last_error();
    return NULL;
}

static void each_thread_has_its_own_last_error(void)
{
    CHECK_STATUS(CWL_ERR_INVALID_ARGUMENT, cwl_flush(NULL, 0));
    char mine[256];
    snprintf(mine, sizeof mine, "%s", cwl_last_error());
    int empty_before = 0;
    pthread_t thread;
    CHECK_OR_RETURN(pthread_create(&thread, NULL, fail_on_other_thread, &empty_before) == 0);
    pthread_join(thread, NULL);
    CHECK(empty_before);
    CHECK(strcmp(mine, cwl_last_error()) == 0);
    cwl_config *config = cwl_config_new();
    CHECK_STATUS(CWL_OK, cwl_config_set(config, "region", "us-east-1"));
    CHECK(strcmp(mine, cwl_last_error()) == 0); /* a call that succeeds does not change it */
    cwl_config_free(config);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(the_library_has_the_versions_of_its_header);
    RUN(every_status_has_its_name_and_value);
    RUN(null_is_refused_by_config_and_push);
    RUN(null_is_refused_by_targets_sources_and_acks);
    RUN(null_is_refused_by_flush_shutdown_and_statistics);
    RUN(null_is_allowed_where_the_header_says_so);
    RUN(a_handle_of_another_kind_is_refused);
    RUN(struct_size_tells_the_version_of_an_event);
    RUN(stats_fill_only_the_struct_size_of_the_caller);
    RUN(invalid_lengths_and_timestamps_are_refused);
    RUN(invalid_group_and_stream_names_are_refused);
    RUN(a_message_above_the_limit_is_refused_and_nothing_of_it_is_sent);
    RUN(a_configuration_error_names_the_option_and_no_secret);
    RUN(after_shutdown_pushes_are_refused_and_statistics_stay_readable);
    RUN(a_timeout_of_zero_never_waits);
    RUN(a_flush_that_times_out_still_starts_the_delivery);
    RUN(each_thread_has_its_own_last_error);
    return finish();
}
