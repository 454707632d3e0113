/*
 * Tests that two copies of the library live in one process without a word to each other: this program is linked with
 * one, and loads a copy of its file from another place. Agents load plugins that bring the library along.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>

#include "check.h"

enum { WAIT_MS = 60000 };

static const char *endpoint;

/* Copies the file of the library to `path`. Returns 0 when that fails. */
static int copy_library(const char *path)
{
    Dl_info linked;
    static char bytes[1 << 16];
    void *function;
    *(cwl_status(**)(cwl_sink *, int64_t))&function = cwl_flush;
    if (dladdr(function, &linked) == 0)
        return 0;
    int from = open(linked.dli_fname, O_RDONLY), to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    ssize_t got = -1;
    while (from >= 0 && to >= 0 && (got = read(from, bytes, sizeof bytes)) > 0)
        if (write(to, bytes, (size_t)got) != got)
            break;
    close(from);
    close(to);
    return got == 0;
}

static void a_copy_calls_its_own_functions_and_both_deliver(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/cwl-copy-%ld.so", (long)getpid());
    CHECK_OR_RETURN(copy_library(path));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    CHECK_OR_RETURN(library != NULL);
    const cwl_plugin *copy = (const cwl_plugin *)dlsym(library, "cwl_plugin");
    CHECK_OR_RETURN(copy != NULL);
    for (size_t offset = offsetof(cwl_plugin, open); offset < sizeof(cwl_plugin); offset += sizeof(void *)) {
        void *function;
        Dl_info place;
        memcpy(&function, (const char *)copy + offset, sizeof function);
        CHECK(dladdr(function, &place) != 0 && strcmp(place.dli_fname, path) == 0);
    }

    cwl_sink *first = open_sink(test_config(endpoint, "copies")), *second = NULL;
    cwl_config *config = copy->config_new();
    CHECK_STATUS(CWL_OK, copy->config_set(config, "endpoint_url", endpoint));
    CHECK_STATUS(CWL_OK, copy->config_set(config, "region", "us-east-1"));
    CHECK_STATUS(CWL_OK, copy->config_set(config, "access_key_id", "test"));
    CHECK_STATUS(CWL_OK, copy->config_set(config, "secret_access_key", "test"));
    CHECK_STATUS(CWL_OK, copy->config_set(config, "log_group", test_group("copies")));
    CHECK_STATUS(CWL_OK, copy->config_set(config, "log_stream", "of the copy"));
    CHECK_STATUS(CWL_OK, copy->open(config, &second));
    copy->config_free(config);
    cwl_event event = test_event("m");
    CHECK_STATUS(CWL_OK, cwl_push_event(first, &event));
    CHECK_STATUS(CWL_OK, copy->push_event(second, &event));
    CHECK_STATUS(CWL_OK, copy->shutdown(second, WAIT_MS));
    copy->free(second);
    CHECK_STATUS(CWL_OK, cwl_shutdown(first, WAIT_MS));
    CHECK_EQUAL(1, stats_of(first).delivered_events);
    cwl_sink_free(first);
    dlclose(library);
}

int main(int argc, char **argv)
{
    endpoint = test_endpoint(argc, argv);
    RUN(a_copy_calls_its_own_functions_and_both_deliver);
    return finish();
}
