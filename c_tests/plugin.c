/*
 * Tests the table cwl_plugin from a host that is not linked with the library: it loads the library with dlopen and uses
 * only this table.
 */
#include <dlfcn.h>
#include <stdint.h>

#define CHECK_LAST_ERROR() plugin_last_error()
static const char *plugin_last_error(void);

#include "check.h"

#define LIBRARY "libcwl_sink.so.0"

static const char *endpoint;
static const cwl_plugin *plugin;

static const char *plugin_last_error(void)
{
    return plugin != NULL ? plugin->last_error() : "(no table)";
}

static void *load_library(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fail_check(__FILE__, __LINE__, "dlopen: %s", dlerror());
        return NULL;
    }
    plugin = (const cwl_plugin *)dlsym(library, "cwl_plugin");
    CHECK(plugin != NULL);
    return library;
}

static void the_table_is_complete(void)
{
    void *library = load_library();
    CHECK_OR_RETURN(plugin != NULL);
    CHECK_EQUAL(CWL_ABI_VERSION, plugin->abi_version);
    CHECK_EQUAL(sizeof(cwl_plugin), plugin->struct_size);
    /* Every member behind the two numbers is a function pointer. */
    for (size_t offset = offsetof(cwl_plugin, open); offset < sizeof(cwl_plugin); offset += sizeof(void *)) {
        void *member;
        memcpy(&member, (const char *)plugin + offset, sizeof member);
        if (member == NULL)
            fail_check(__FILE__, __LINE__, "the member at offset %zu is NULL", offset);
    }
    CHECK(plugin->version()[0] != '\0');
    CHECK(strcmp(plugin->status_name(CWL_ERR_FULL), "CWL_ERR_FULL") == 0);
    CHECK_STATUS(CWL_ERR_INVALID_ARGUMENT, plugin->flush(NULL, 0));
    CHECK(plugin->last_error()[0] != '\0');
    dlclose(library);
}

static cwl_config *local_config(const char *group)
{
    cwl_config *config = plugin->config_new();
    CHECK_STATUS(CWL_OK, plugin->config_set(config, "endpoint_url", endpoint));
    CHECK_STATUS(CWL_OK, plugin->config_set(config, "region", "us-east-1"));
    CHECK_STATUS(CWL_OK, plugin->config_set(config, "access_key_id", "test"));
    CHECK_STATUS(CWL_OK, plugin->config_set(config, "secret_access_key", "test"));
    CHECK_STATUS(CWL_OK, plugin->config_set(config, "log_group", test_group(group)));
    CHECK_STATUS(CWL_OK, plugin->config_set(config, "log_stream", "s"));
    return config;
}

/* Calls every function of the table, in the order of a host. */
static void ship_by_table(const char *group)
{
    cwl_sink *sink = NULL;
    cwl_target *target = NULL;
    cwl_config *config = local_config(group);
    CHECK_STATUS(CWL_OK, plugin->open(config, &sink));
    plugin->config_free(config);
    CHECK_OR_RETURN(sink != NULL);

    cwl_event events[3] = { test_event("one"), test_event("two"), test_event("three") };
    size_t accepted = 0;
    CHECK_STATUS(CWL_OK, plugin->push_event(sink, &events[0]));
    CHECK_STATUS(CWL_OK, plugin->push_events(sink, events, 3, &accepted));
    CHECK_EQUAL(3, accepted);
    CHECK_STATUS(CWL_OK, plugin->target_open(sink, NULL, "other", &target));
    CHECK_STATUS(CWL_OK, plugin->target_push(target, &events[1]));
    plugin->target_free(target);
    CHECK_STATUS(CWL_OK, plugin->flush(sink, 10000));

    cwl_stats_snapshot stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK_STATUS(CWL_OK, plugin->stats(sink, &stats));
    CHECK_EQUAL(5, stats.accepted_events);
    CHECK_EQUAL(5, stats.delivered_events);
    char *json = NULL;
    CHECK_STATUS(CWL_OK, plugin->stats_json(sink, &json));
    CHECK(json != NULL && strstr(json, "\"delivered_events\":5") != NULL);
    plugin->string_free(json);

    CHECK_STATUS(CWL_OK, plugin->shutdown(sink, 10000));
    CHECK_STATUS(CWL_ERR_CLOSED, plugin->push_event(sink, &events[0]));
    plugin->free(sink);
}

static void the_table_alone_ships_events(void)
{
    void *library = load_library();
    CHECK_OR_RETURN(plugin != NULL);
    ship_by_table("plugin");
    dlclose(library);
}

static void the_library_can_be_closed_and_loaded_again(void)
{
    for (int round = 0; round < 3; round++) {
        plugin = NULL;
        void *library = load_library();
        CHECK_OR_RETURN(plugin != NULL);
        ship_by_table("again");
        CHECK(dlclose(library) == 0);
        /* The library stays in memory: the host's threads may still run the destructors of its thread-locals. */
        void *still = dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD);
        CHECK(still != NULL);
        if (still != NULL)
            dlclose(still);
    }
}

/* The sink outlives the host's last reference to the library. */
static void a_sink_keeps_working_after_dlclose(void)
{
    cwl_sink *sink = NULL;
    void *library = load_library();
    CHECK_OR_RETURN(plugin != NULL);
    cwl_config *config = local_config("unloaded");
    CHECK_STATUS(CWL_OK, plugin->open(config, &sink));
    plugin->config_free(config);
    CHECK(dlclose(library) == 0);
    cwl_event event = test_event("after dlclose");
    CHECK_STATUS(CWL_OK, plugin->push_event(sink, &event));
    CHECK_STATUS(CWL_OK, plugin->shutdown(sink, 10000));
    plugin->free(sink);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(the_table_is_complete);
    RUN(the_table_alone_ships_events);
    RUN(the_library_can_be_closed_and_loaded_again);
    RUN(a_sink_keeps_working_after_dlclose);
    return finish();
}
