/* Implements the history of a followed path: see history.h. */

#define _XOPEN_SOURCE 700 /* realpath */

#include "history.h"

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

void *require_memory(void *memory)
{
    if (memory == NULL) {
        print_message("out of memory");
        exit(1);
    }
    return memory;
}

/* Returns the path as one word of plain ASCII, for a source's name and a line of the registry: every other byte becomes
 * %XX. */
static char *escape_path(const char *folder, const char *file_name)
{
    size_t size = 3 * (strlen(folder) + strlen(file_name) + 1) + 1, length = 0;
    char *path = require_memory(malloc(size)), *escaped_path = require_memory(malloc(size));
    snprintf(path, size, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", file_name);
    for (const unsigned char *c = (const unsigned char *)path; *c != '\0'; c++) {
        bool plain = *c > ' ' && *c < 127 && *c != '%';
        length += (size_t)snprintf(escaped_path + length, size - length, plain ? "%c" : "%%%02X", *c);
    }
    free(path);
    return escaped_path;
}

bool open_history(struct history *history, const char *file, const char *state_dir, cwl_sink *sink)
{
    const char *slash = strrchr(file, '/');
    char *folder = require_memory(strdup(slash != NULL ? file : "."));
    if (slash != NULL)
        folder[slash - file + 1] = '\0';
    *history = (struct history){
        .name = file,
        .file_name = slash != NULL ? slash + 1 : file,
        .sink = state_dir != NULL ? sink : NULL,
        .next_serial = 1,
    };
    history->folder = realpath(folder, NULL);
    free(folder);
    if (history->folder == NULL) {
        print_message("cannot follow %s: %s", file, strerror(errno));
        return false;
    }
    history->escaped_path = escape_path(history->folder, history->file_name);
    if (state_dir != NULL)
        history->registry_path = registry_path(state_dir, history->escaped_path);
    return load_registry(history);
}

void free_tracked_file(struct tracked_file *tracked)
{
    cwl_source_free(tracked->source);
    free(tracked->current_name);
    free(tracked);
}

void close_history(struct history *history)
{
    for (struct tracked_file *tracked = history->oldest, *next; tracked != NULL; tracked = next) {
        next = tracked->next;
        free_tracked_file(tracked);
    }
    free(history->folder);
    free(history->escaped_path);
    free(history->registry_path);
    *history = (struct history){ .name = history->name };
}

void save_history(struct history *history)
{
    if (!history->unsaved || history->registry_path == NULL)
        return;
    if (save_registry(history)) {
        history->unsaved = history->save_failed = false;
    } else if (!history->save_failed) {
        /* A restart would continue from the older history: it may send lines twice, but loses none. */
        history->save_failed = true;
        print_message("cannot write %s: %s; retrying", history->registry_path, strerror(errno));
    }
}

/* ---- tracked files --------------------------------------------------------------------------------------------- */

void append_tracked_file(struct history *history, struct tracked_file *tracked)
{
    struct tracked_file **end = &history->oldest;
    while (*end != NULL)
        end = &(*end)->next;
    *end = tracked;
}

/* Opens the source of a tracked file, which restores its offset. */
static bool open_source(struct history *history, struct tracked_file *tracked)
{
    if (history->sink == NULL || tracked->source != NULL)
        return true;
    size_t size = strlen(history->escaped_path) + sizeof tracked->source_suffix + 2;
    char *name = require_memory(malloc(size));
    snprintf(name, size, "%s %s", history->escaped_path, tracked->source_suffix);
    cwl_status status = cwl_source_open(history->sink, name, &tracked->source);
    if (status != CWL_OK)
        print_message("%s: %s", history->name, cwl_last_error());
    free(name);
    return status == CWL_OK;
}

/* Returns the offset below which every event of the file is final. */
static uint64_t final_offset(const struct tracked_file *tracked)
{
    uint64_t offset = 0;
    if (tracked->source != NULL)
        cwl_source_offset(tracked->source, &offset);
    return offset;
}

/* The offsets of this run are newer than the saved ones, so the saved ones are used only once. */
bool restore_offsets(struct history *history, struct tracked_file *tracked)
{
    if (!open_source(history, tracked))
        return false;
    if (tracked->offsets_known)
        return true;
    tracked->offsets_known = true;
    tracked->pushed_offset = tracked->handled_offset = final_offset(tracked);
    if (tracked->pushed_offset >= tracked->skip_begin && tracked->handled_offset < tracked->skip_end)
        tracked->handled_offset = tracked->skip_end;
    return true;
}

/* The source must be new. A registry that was lost may have used the same name, so a serial number whose source has an
 * offset already is skipped. */
struct tracked_file *track_file(struct history *history, const struct identity *identity)
{
    struct tracked_file *tracked = require_memory(calloc(1, sizeof *tracked));
    tracked->identity = *identity;
    do {
        cwl_source_free(tracked->source);
        tracked->source = NULL;
        snprintf(tracked->source_suffix, sizeof tracked->source_suffix, "%" PRIx64 ":%" PRIu64 ":%" PRId64 "#%" PRIu64,
                 identity->device, identity->inode, identity->birth_ns, history->next_serial++);
        if (!open_source(history, tracked)) {
            free_tracked_file(tracked);
            return NULL;
        }
    } while (final_offset(tracked) != 0);
    append_tracked_file(history, tracked);
    history->unsaved = true;
    return tracked;
}

/* The oldest rotated file first; the file at the path last. */
struct tracked_file *next_to_read(const struct history *history)
{
    struct tracked_file *at_path = NULL;
    for (struct tracked_file *tracked = history->oldest; tracked != NULL; tracked = tracked->next) {
        if (tracked->current_name == NULL || tracked->done || tracked->ended_this_run)
            continue;
        if (!tracked->at_path)
            return tracked;
        at_path = tracked;
    }
    return at_path;
}

int64_t successor_birth_ms(const struct tracked_file *tracked)
{
    for (tracked = tracked->next; tracked != NULL; tracked = tracked->next)
        if (tracked->current_name != NULL)
            return tracked->identity.birth_ns / 1000000;
    return 0;
}

bool all_final(const struct tracked_file *tracked)
{
    return tracked->source == NULL || final_offset(tracked) >= tracked->pushed_offset;
}

/* Keeps the range of empty and refused lines behind the last event, so that the next run does not report them again. */
static void remember_skip(struct history *history, struct tracked_file *tracked)
{
    if (tracked->handled_offset <= tracked->pushed_offset || tracked->skip_end == tracked->handled_offset)
        return;
    tracked->skip_begin = tracked->pushed_offset;
    tracked->skip_end = tracked->handled_offset;
    history->unsaved = true;
}

void finish_tracked_files(struct history *history, enum run_phase phase)
{
    for (struct tracked_file *tracked = history->oldest; tracked != NULL; tracked = tracked->next) {
        if (tracked->done || !tracked->offsets_known || !all_final(tracked))
            continue;
        if (tracked->ended_for_good) {
            tracked->done = history->unsaved = true;
            tracked->skip_begin = tracked->pushed_offset;
            tracked->skip_end = tracked->handled_offset;
            cwl_source_free(tracked->source);
            tracked->source = NULL;
        } else if (phase == RUN_ENDS) {
            remember_skip(history, tracked);
        }
    }
    save_history(history);
}
