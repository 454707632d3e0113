/*
 * start.c - measures the time and the memory for loading the library and opening a sink.
 *
 *     start LIBRARY ENDPOINT
 *
 * The program is not linked with the library. It loads the library with dlopen, like a host that has plugins. Nothing
 * needs to listen at ENDPOINT, because opening a sink sends nothing. Prints one line of JSON.
 */

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>

#include "cwl_sink.h"
#include "process.h"

static cwl_config *make_config(const cwl_plugin *plugin, const char *endpoint)
{
    const char *const options[][2] = {
        { "region", "us-east-1" },       { "endpoint_url", endpoint }, { "access_key_id", "test" },
        { "secret_access_key", "test" }, { "log_group", "/bench" },    { "log_stream", "host" },
    };
    cwl_config *config = plugin->config_new();
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (plugin->config_set(config, options[i][0], options[i][1]) != CWL_OK)
            fail(plugin->last_error());
    return config;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "start: want LIBRARY ENDPOINT\n");
        return 2;
    }
    int64_t before_kb = rss_kb(), started_ns = now_ns(CLOCK_MONOTONIC);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail(dlerror());
    const cwl_plugin *plugin = dlsym(library, "cwl_plugin");
    if (plugin == NULL)
        fail("the library has no cwl_plugin");
    int64_t loaded_ns = now_ns(CLOCK_MONOTONIC);
    cwl_config *config = make_config(plugin, argv[2]);
    cwl_sink *sink = NULL;
    if (plugin->open(config, &sink) != CWL_OK)
        fail(plugin->last_error());
    int64_t opened_ns = now_ns(CLOCK_MONOTONIC), after_kb = rss_kb();
    plugin->config_free(config);

    printf("{\"dlopen_ms\": %.3f, \"open_ms\": %.3f, \"ms\": %.3f, \"before_kb\": %" PRId64 ", \"after_kb\": %" PRId64
           "}\n",
           (double)(loaded_ns - started_ns) / 1e6, (double)(opened_ns - loaded_ns) / 1e6,
           (double)(opened_ns - started_ns) / 1e6, before_kb, after_kb);
    plugin->shutdown(sink, 0);
    plugin->free(sink);
    return 0;
}
