/*
 * Scans the folder of a followed path for the path's files: the file at the path, the rotated files, and the known
 * files under any name. history.h says what is kept of each.
 *
 *   1. A file with the identity and the fingerprint of a tracked file is that tracked file.
 *   2. A file with the identity of a tracked file but another content was truncated: the tracked file is `replaced`.
 *   3. A file that begins like a replaced one is its copy, as copytruncate makes it. The tracked file continues there.
 *   4. Every other file is new. It is read after all known files, and the file at the path is read last.
 *   5. A tracked file that was not found is forgotten.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "terminal.h"

/* A folder that changes while it is listed may show a file twice or not at all, so it is listed again. */
#define LISTING_ATTEMPTS_MAX 20

struct found_file {
    char *name;
    bool at_path;
    bool has_own_name; /* the path's name or a rotated one; otherwise only the inode is known, and may be used again */
    struct file_info info;
    struct tracked_file *tracked;
};

struct listing {
    struct found_file *files;
    size_t count, capacity;
};

static void clear_listing(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->files[i].name);
    listing->count = 0;
}

/* ---- the folder ------------------------------------------------------------------------------------------------ */

/* Recognizes the names of rotated files: FILE.1, FILE-20260101, FILE.2026-01-01T10:00, FILE.old. */
static bool is_rotated_name(const char *file_name, const char *name)
{
    size_t length = strlen(file_name);
    if (strncmp(name, file_name, length) != 0 || strchr(".-_", name[length]) == NULL || name[length] == '\0')
        return false;
    const char *suffix = name + length + 1;
    if (strcmp(suffix, "old") == 0)
        return true;
    return strspn(suffix, "0123456789.-_:T") == strlen(suffix) && strpbrk(suffix, "0123456789") != NULL;
}

static bool is_known_inode(const struct history *history, uint64_t inode)
{
    for (const struct tracked_file *tracked = history->oldest; tracked != NULL; tracked = tracked->next)
        if (tracked->identity.inode == inode)
            return true;
    return false;
}

static bool has_own_history(const struct history *history, const char *name)
{
    for (const struct history *other = history->next_path; other != history; other = other->next_path)
        if (strcmp(other->folder, history->folder) == 0 && strcmp(other->file_name, name) == 0)
            return true;
    return false;
}

/* Returns the place for a file of this identity: the one that it has already, or a new one. */
static struct found_file *place_in_listing(struct listing *listing, const struct identity *identity)
{
    for (size_t i = 0; i < listing->count; i++)
        if (same_file(&listing->files[i].info.identity, identity))
            return &listing->files[i];
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity * 2 + 16;
        listing->files = require_memory(realloc(listing->files, listing->capacity * sizeof *listing->files));
    }
    listing->files[listing->count] = (struct found_file){ .name = NULL };
    return &listing->files[listing->count++];
}

/* Adds one entry of the folder, if it is a regular file that can be read. A file with two names is added once; its name
 * at the path is preferred. */
static void add_to_listing(struct history *history, int folder, struct listing *listing, const char *name)
{
    struct file_info info;
    bool at_path = strcmp(name, history->file_name) == 0;
    if (has_own_history(history, name) || !inspect_file(folder, name, at_path, &info))
        return;
    struct found_file *found = place_in_listing(listing, &info.identity);
    if (found->name != NULL && !at_path)
        return;
    free(found->name);
    *found = (struct found_file){
        .name = require_memory(strdup(name)),
        .at_path = at_path,
        .has_own_name = at_path || is_rotated_name(history->file_name, name),
        .info = info,
    };
}

static bool list_once(struct history *history, int folder, struct listing *listing)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = again >= 0 ? fdopendir(again) : NULL;
    if (entries == NULL) {
        if (again >= 0)
            close(again);
        return false;
    }
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL)
        if (strcmp(entry->d_name, history->file_name) == 0 || is_rotated_name(history->file_name, entry->d_name)
            || is_known_inode(history, (uint64_t)entry->d_ino))
            add_to_listing(history, folder, listing, entry->d_name);
    closedir(entries);
    return true;
}

static bool same_time(const struct stat *one, const struct stat *other)
{
    return one->st_mtim.tv_sec == other->st_mtim.tv_sec && one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

/* Lists the folder until it did not change meanwhile, so that the listing is the folder at one moment. */
static void list_folder(struct history *history, int folder, struct listing *listing)
{
    struct stat before, after;
    for (int attempt = 0; attempt < LISTING_ATTEMPTS_MAX; attempt++) {
        clear_listing(listing);
        bool known = fstat(folder, &before) == 0;
        if (list_once(history, folder, listing) && known && fstat(folder, &after) == 0 && same_time(&before, &after))
            return;
    }
}

/* Compares two files by age: by birth, or by modification where a birth is not known. The file at the path is the
 * newest. */
static int by_age(const void *left, const void *right)
{
    const struct found_file *one = left, *other = right;
    if (one->at_path != other->at_path)
        return one->at_path ? 1 : -1;
    bool births = one->info.identity.birth_ns != 0 && other->info.identity.birth_ns != 0;
    int64_t first = births ? one->info.identity.birth_ns : one->info.modified_ns;
    int64_t second = births ? other->info.identity.birth_ns : other->info.modified_ns;
    return (first > second) - (first < second);
}

/* ---- tracked files and found files ----------------------------------------------------------------------------- */

/* Returns the offset where the reading of the file continues. */
static uint64_t resume_offset(const struct tracked_file *tracked)
{
    return tracked->offsets_known ? tracked->handled_offset : tracked->skip_end;
}

/* Returns true when the found file begins with the content of the tracked file. */
static bool has_same_beginning(int folder, const struct found_file *found, const struct tracked_file *tracked)
{
    int fd = open_in_folder(folder, found->name);
    bool matches = fd >= 0 && fingerprint_matches(fd, &tracked->fingerprint);
    if (fd >= 0)
        close(fd);
    return matches;
}

static void bind(struct tracked_file *tracked, struct found_file *found)
{
    found->tracked = tracked;
    tracked->current_name = require_memory(strdup(found->name));
    tracked->at_path = found->at_path;
}

/* Returns the newest tracked file with this identity, or NULL. */
static struct tracked_file *newest_tracked_file(const struct history *history, const struct identity *identity)
{
    struct tracked_file *newest = NULL;
    for (struct tracked_file *tracked = history->oldest; tracked != NULL; tracked = tracked->next)
        if (!tracked->replaced && same_file(&tracked->identity, identity))
            newest = tracked;
    return newest;
}

static void bind_known(struct history *history, int folder, struct found_file *found)
{
    struct tracked_file *tracked = newest_tracked_file(history, &found->info.identity);
    if (tracked == NULL || tracked->current_name != NULL)
        return;
    if (found->info.size >= resume_offset(tracked) && has_same_beginning(folder, found, tracked)) {
        bind(tracked, found);
    } else {
        tracked->replaced = true;
        history->unsaved = true;
    }
}

/* A copy may lack the lines that were written, and read, while the copy was made. Then it has nothing more to read. */
static void bind_copy(struct history *history, int folder, struct found_file *found)
{
    for (struct tracked_file *tracked = history->oldest; tracked != NULL; tracked = tracked->next) {
        if (!tracked->replaced || tracked->current_name != NULL || tracked->fingerprint.bytes == 0
            || !has_same_beginning(folder, found, tracked))
            continue;
        tracked->identity = found->info.identity;
        tracked->replaced = false;
        tracked->ended_this_run = tracked->ended_for_good = found->info.size <= resume_offset(tracked);
        history->unsaved = true;
        bind(tracked, found);
        return;
    }
}

static bool bind_new(struct history *history, int folder, struct found_file *found)
{
    struct tracked_file *tracked = track_file(history, &found->info.identity);
    if (tracked == NULL)
        return false;
    bind(tracked, found);
    if (history->is_new && !found->at_path) {
        /* The file was rotated before the path was followed for the first time: it is not sent. */
        int fd = open_in_folder(folder, found->name);
        if (fd >= 0) {
            tracked->fingerprint = fingerprint_of(fd, found->info.size);
            close(fd);
        }
        tracked->skip_end = found->info.size;
        tracked->done = true;
    }
    return true;
}

/* Continues a file that was written to after its end, or that is at the path again. */
static bool reopen(struct history *history, struct tracked_file *tracked, const struct found_file *found)
{
    if ((tracked->done || tracked->ended_for_good) && (found->at_path || found->info.size > resume_offset(tracked))) {
        tracked->done = tracked->ended_for_good = tracked->ended_this_run = false;
        history->unsaved = true;
    }
    return tracked->done || restore_offsets(history, tracked);
}

static void forget_missing_files(struct history *history)
{
    struct tracked_file **link = &history->oldest;
    while (*link != NULL) {
        struct tracked_file *tracked = *link;
        if (tracked->current_name != NULL || (!tracked->done && !all_final(tracked))) {
            link = &tracked->next;
            continue;
        }
        if (!tracked->done && !tracked->was_read)
            print_message("%s: the file that was read last is gone, or was truncated; lines added to it are not sent",
                          history->name);
        *link = tracked->next;
        free_tracked_file(tracked);
        history->unsaved = true;
    }
}

/* Binds the found files to the tracked ones, in the order of the rules at the top. */
static bool bind_files(struct history *history, int folder, struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        bind_known(history, folder, &listing->files[i]);
    for (size_t i = 0; i < listing->count; i++)
        if (listing->files[i].tracked == NULL && listing->files[i].has_own_name && !listing->files[i].at_path)
            bind_copy(history, folder, &listing->files[i]);
    for (size_t i = 0; i < listing->count; i++) {
        struct found_file *found = &listing->files[i];
        if (found->tracked == NULL && found->has_own_name && !bind_new(history, folder, found))
            return false;
        if (found->tracked != NULL && !reopen(history, found->tracked, found))
            return false;
    }
    return true;
}

bool scan_folder(struct history *history)
{
    struct listing listing = { NULL, 0, 0 };
    int folder = open_folder(history->folder);
    bool good = true;
    if (folder >= 0)
        list_folder(history, folder, &listing);
    for (struct tracked_file *tracked = history->oldest; tracked != NULL && good; tracked = tracked->next) {
        free(tracked->current_name);
        tracked->current_name = NULL;
        tracked->at_path = false;
        good = tracked->done || restore_offsets(history, tracked);
    }
    if (listing.count > 1)
        qsort(listing.files, listing.count, sizeof *listing.files, by_age);
    good = good && bind_files(history, folder, &listing);
    if (good && folder >= 0) {
        forget_missing_files(history);
        history->unsaved = history->unsaved || history->is_new;
        history->is_new = false;
        save_history(history);
    }
    clear_listing(&listing);
    free(listing.files);
    if (folder >= 0)
        close(folder);
    return good;
}
