/* The trail of a followed path: see trail.h. */

#define _XOPEN_SOURCE 700 /* realpath */

#include "trail.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registry.h"
#include "terminal.h"

void *need_memory(void *memory)
{
    if (memory == NULL) {
        say("no memory left");
        exit(1);
    }
    return memory;
}

/* A path as text that is a source's name and one word of a line: what is not plain ASCII becomes %XX. */
static char *label_of(const char *folder, const char *base)
{
    size_t size = 3 * (strlen(folder) + strlen(base) + 1) + 1, length = 0;
    char *path = need_memory(malloc(size)), *label = need_memory(malloc(size));
    snprintf(path, size, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", base);
    for (const unsigned char *c = (const unsigned char *)path; *c != '\0'; c++) {
        bool plain = *c > ' ' && *c < 127 && *c != '%';
        length += (size_t)snprintf(label + length, size - length, plain ? "%c" : "%%%02X", *c);
    }
    free(path);
    return label;
}

bool open_trail(struct trail *trail, const char *file, const char *state_dir, cwl_sink *sink)
{
    const char *slash = strrchr(file, '/');
    char *folder = need_memory(strdup(slash != NULL ? file : "."));
    if (slash != NULL)
        folder[slash - file + 1] = '\0';
    *trail = (struct trail){
        .name = file,
        .base = slash != NULL ? slash + 1 : file,
        .sink = state_dir != NULL ? sink : NULL,
        .next_serial = 1,
    };
    trail->folder = realpath(folder, NULL);
    free(folder);
    if (trail->folder == NULL) {
        say("cannot follow %s: %s", file, strerror(errno));
        return false;
    }
    trail->label = label_of(trail->folder, trail->base);
    if (state_dir != NULL)
        trail->registry = registry_name(state_dir, trail->label);
    return load_registry(trail);
}

void free_record(struct record *record)
{
    cwl_source_free(record->source);
    free(record->place);
    free(record);
}

void close_trail(struct trail *trail)
{
    for (struct record *record = trail->oldest, *next; record != NULL; record = next) {
        next = record->next;
        free_record(record);
    }
    free(trail->folder);
    free(trail->label);
    free(trail->registry);
    *trail = (struct trail){ .name = trail->name };
}

void save_trail(struct trail *trail)
{
    if (!trail->unsaved || trail->registry == NULL)
        return;
    if (save_registry(trail)) {
        trail->unsaved = trail->save_failed = false;
    } else if (!trail->save_failed) {
        /* Less is known after a restart than could be: lines come twice then, but none is lost. */
        trail->save_failed = true;
        say("cannot write %s: %s; it is tried again", trail->registry, strerror(errno));
    }
}

/* ---- records --------------------------------------------------------------------------------------------------- */

/* Opens the source of a record, which brings its offset back. */
static bool open_source(struct trail *trail, struct record *record)
{
    if (trail->sink == NULL || record->source != NULL)
        return true;
    size_t size = strlen(trail->label) + sizeof record->token + 2;
    char *name = need_memory(malloc(size));
    snprintf(name, size, "%s %s", trail->label, record->token);
    cwl_status status = cwl_source_open(trail->sink, name, &record->source);
    if (status != CWL_OK)
        say("%s: %s", trail->name, cwl_last_error());
    free(name);
    return status == CWL_OK;
}

static uint64_t final_below(const struct record *record)
{
    uint64_t offset = 0;
    if (record->source != NULL)
        cwl_source_offset(record->source, &offset);
    return offset;
}

/* This run's own offsets, else what was kept. */
bool begin_record(struct trail *trail, struct record *record)
{
    if (!open_source(trail, record))
        return false;
    if (record->begun)
        return true;
    record->begun = true;
    record->covered = record->settled = final_below(record);
    if (record->covered >= record->skip_begin && record->settled < record->skip_end)
        record->settled = record->skip_end;
    return true;
}

/* Its source must be new, even where a lost registry had other records. */
struct record *add_record(struct trail *trail, const struct identity *identity)
{
    struct record *record = need_memory(calloc(1, sizeof *record)), **end = &trail->oldest;
    record->identity = *identity;
    do {
        cwl_source_free(record->source);
        record->source = NULL;
        snprintf(record->token, sizeof record->token, "%" PRIx64 ":%" PRIu64 ":%" PRId64 "#%" PRIu64, identity->device,
                 identity->inode, identity->birth_ns, trail->next_serial++);
        if (!open_source(trail, record)) {
            free_record(record);
            return NULL;
        }
    } while (final_below(record) != 0);
    while (*end != NULL)
        end = &(*end)->next;
    *end = record;
    trail->unsaved = true;
    return record;
}

struct record *next_record(const struct trail *trail)
{
    struct record *path = NULL;
    for (struct record *record = trail->oldest; record != NULL; record = record->next) {
        if (record->place == NULL || record->done || record->left)
            continue;
        if (!record->is_path)
            return record;
        path = record;
    }
    return path;
}

int64_t successor_birth_ms(const struct record *record)
{
    for (record = record->next; record != NULL; record = record->next)
        if (record->place != NULL)
            return record->identity.birth_ns / 1000000;
    return 0;
}

bool all_final(const struct record *record)
{
    return record->source == NULL || final_below(record) >= record->covered;
}

static void keep_skip(struct trail *trail, struct record *record)
{
    if (record->settled <= record->covered || record->skip_end == record->settled)
        return;
    record->skip_begin = record->covered;
    record->skip_end = record->settled;
    trail->unsaved = true;
}

void settle_trail(struct trail *trail, bool at_the_end)
{
    for (struct record *record = trail->oldest; record != NULL; record = record->next) {
        if (record->done || !record->begun || !all_final(record))
            continue;
        if (record->ended) {
            record->done = trail->unsaved = true;
            record->skip_begin = record->covered;
            record->skip_end = record->settled;
            cwl_source_free(record->source);
            record->source = NULL;
        } else if (at_the_end) {
            keep_skip(trail, record);
        }
    }
    save_trail(trail);
}
