/*
 * Looking for the files of a followed path: the path itself, what was rotated away from it, and what is known,
 * whatever it is called now. See trail.h for what is kept of them.
 *
 *   1. A file with the identity and the mark of a record is the record's.
 *   2. A file with the identity but not the content was truncated: its record is replaced.
 *   3. A copy of what was replaced, as copytruncate makes it, takes the record over.
 *   4. What is left is new, and read after all that is known, the path itself last.
 *   5. Records without a file are forgotten.
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

#include "terminal.h"
#include "trail.h"

/* A folder that changes while it is read may show a file twice or not at all: it is read again, this often at most. */
#define LISTINGS_MAX 20

struct found {
    char *place;
    bool is_path;
    bool is_ours; /* by its name; else only its inode is one that is known, and may have been used again */
    struct look look;
    struct record *record;
};

struct listing {
    struct found *found;
    size_t count, capacity;
};

static void clear_listing(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->found[i].place);
    listing->count = 0;
}

/* ---- the folder ------------------------------------------------------------------------------------------------ */

/* Whether the name is that of a rotated file: FILE.1, FILE-20260101, FILE.2026-01-01T10:00, FILE.old. */
static bool looks_rotated(const char *base, const char *name)
{
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 || strchr(".-_", name[length]) == NULL || name[length] == '\0')
        return false;
    const char *suffix = name + length + 1;
    if (strcmp(suffix, "old") == 0)
        return true;
    return strspn(suffix, "0123456789.-_:T") == strlen(suffix) && strpbrk(suffix, "0123456789") != NULL;
}

static bool is_known_inode(const struct trail *trail, uint64_t inode)
{
    for (const struct record *record = trail->oldest; record != NULL; record = record->next)
        if (record->identity.inode == inode)
            return true;
    return false;
}

static bool is_followed_itself(const struct trail *trail, const char *name)
{
    for (const struct trail *peer = trail->peer; peer != trail; peer = peer->peer)
        if (strcmp(peer->folder, trail->folder) == 0 && strcmp(peer->base, name) == 0)
            return true;
    return false;
}

/* Adds one entry of the folder, if it is a regular file that can be read. The same file under two names counts once,
 * and as the path if it is that. */
static void add_found(struct trail *trail, int folder, struct listing *listing, const char *name)
{
    struct look look;
    bool is_path = strcmp(name, trail->base) == 0;
    if (is_followed_itself(trail, name) || !look_at(folder, name, is_path, &look))
        return;
    struct found *place = NULL;
    for (size_t i = 0; i < listing->count && place == NULL; i++)
        if (same_file(&listing->found[i].look.identity, &look.identity))
            place = &listing->found[i];
    if (place != NULL && !is_path)
        return;
    if (place != NULL) {
        free(place->place);
    } else {
        if (listing->count == listing->capacity) {
            listing->capacity = listing->capacity * 2 + 16;
            listing->found = need_memory(realloc(listing->found, listing->capacity * sizeof *listing->found));
        }
        place = &listing->found[listing->count++];
    }
    *place = (struct found){ .place = need_memory(strdup(name)), .is_path = is_path, .look = look };
    place->is_ours = is_path || looks_rotated(trail->base, name);
}

static bool list_once(struct trail *trail, int folder, struct listing *listing)
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
        if (strcmp(entry->d_name, trail->base) == 0 || looks_rotated(trail->base, entry->d_name)
            || is_known_inode(trail, (uint64_t)entry->d_ino))
            add_found(trail, folder, listing, entry->d_name);
    closedir(entries);
    return true;
}

static bool same_time(const struct stat *one, const struct stat *other)
{
    return one->st_mtim.tv_sec == other->st_mtim.tv_sec && one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

/* Lists the folder as it was at one time. */
static void list(struct trail *trail, int folder, struct listing *listing)
{
    struct stat before, after;
    for (int tries = 0; tries < LISTINGS_MAX; tries++) {
        clear_listing(listing);
        bool known = fstat(folder, &before) == 0;
        if (list_once(trail, folder, listing) && known && fstat(folder, &after) == 0 && same_time(&before, &after))
            return;
    }
}

/* ---- records and files ----------------------------------------------------------------------------------------- */

/* How far the record was read. */
static uint64_t read_to(const struct record *record)
{
    return record->begun ? record->settled : record->skip_end;
}

/* Whether the file begins with what the record was read from. */
static bool begins_alike(int folder, const struct found *found, const struct record *record)
{
    int fd = openat(folder, found->place, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    bool fits = fd >= 0 && mark_fits(fd, &record->mark);
    if (fd >= 0)
        close(fd);
    return fits;
}

static void bind_record(struct record *record, struct found *found)
{
    found->record = record;
    record->place = need_memory(strdup(found->place));
    record->is_path = found->is_path;
}

/* The newest record of the file. */
static struct record *record_of(const struct trail *trail, const struct identity *identity)
{
    struct record *newest = NULL;
    for (struct record *record = trail->oldest; record != NULL; record = record->next)
        if (!record->replaced && same_file(&record->identity, identity))
            newest = record;
    return newest;
}

static void bind_known(struct trail *trail, int folder, struct found *found)
{
    struct record *record = record_of(trail, &found->look.identity);
    if (record == NULL || record->place != NULL)
        return;
    if (found->look.size >= read_to(record) && begins_alike(folder, found, record)) {
        bind_record(record, found);
    } else {
        record->replaced = true;
        trail->unsaved = true;
    }
}

/* A copy may lack what was written, and read, while it was made: then there is nothing to read on. */
static void bind_copy(struct trail *trail, int folder, struct found *found)
{
    for (struct record *record = trail->oldest; record != NULL; record = record->next) {
        if (!record->replaced || record->place != NULL || record->mark.bytes == 0
            || !begins_alike(folder, found, record))
            continue;
        record->identity = found->look.identity;
        record->replaced = false;
        record->left = record->ended = found->look.size <= read_to(record);
        trail->unsaved = true;
        bind_record(record, found);
        return;
    }
}

/* Age of a file among its like: by birth, else by when it was written last; the path itself is the newest. */
static int by_age(const void *left, const void *right)
{
    const struct found *one = left, *other = right;
    if (one->is_path != other->is_path)
        return one->is_path ? 1 : -1;
    bool births = one->look.identity.birth_ns != 0 && other->look.identity.birth_ns != 0;
    int64_t first = births ? one->look.identity.birth_ns : one->look.written_ns;
    int64_t second = births ? other->look.identity.birth_ns : other->look.written_ns;
    return (first > second) - (first < second);
}

static bool bind_new(struct trail *trail, int folder, struct found *found)
{
    struct record *record = add_record(trail, &found->look.identity);
    if (record == NULL)
        return false;
    bind_record(record, found);
    if (trail->fresh && !found->is_path) {
        /* It was there before the path was followed. */
        int fd = openat(folder, found->place, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) {
            record->mark = mark_of(fd, found->look.size);
            close(fd);
        }
        record->skip_end = found->look.size;
        record->done = true;
    }
    return true;
}

/* A record whose file was written to after its end, or has become the path again, is read on. */
static bool reopen(struct trail *trail, struct record *record, const struct found *found)
{
    if ((record->done || record->ended) && (found->is_path || found->look.size > read_to(record))) {
        record->done = record->ended = record->left = false;
        trail->unsaved = true;
    }
    return record->done || begin_record(trail, record);
}

static void forget_lost(struct trail *trail)
{
    struct record **link = &trail->oldest;
    while (*link != NULL) {
        struct record *record = *link;
        if (record->place != NULL || (!record->done && !all_final(record))) {
            link = &record->next;
            continue;
        }
        if (!record->done && !record->read)
            say("%s: the file that was read last is gone, or was truncated; what had been added to it is not sent",
                trail->name);
        *link = record->next;
        free_record(record);
        trail->unsaved = true;
    }
}

bool scan_trail(struct trail *trail)
{
    struct listing listing = { NULL, 0, 0 };
    int folder = open(trail->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = true;
    if (folder >= 0)
        list(trail, folder, &listing);
    for (struct record *record = trail->oldest; record != NULL && good; record = record->next) {
        free(record->place);
        record->place = NULL;
        record->is_path = false;
        good = record->done || begin_record(trail, record);
    }
    if (listing.count > 1)
        qsort(listing.found, listing.count, sizeof *listing.found, by_age);
    for (size_t i = 0; i < listing.count && good; i++)
        bind_known(trail, folder, &listing.found[i]);
    for (size_t i = 0; i < listing.count && good; i++)
        if (listing.found[i].record == NULL && listing.found[i].is_ours && !listing.found[i].is_path)
            bind_copy(trail, folder, &listing.found[i]);
    for (size_t i = 0; i < listing.count && good; i++) {
        struct found *found = &listing.found[i];
        if (found->record == NULL && found->is_ours)
            good = bind_new(trail, folder, found);
        if (good && found->record != NULL)
            good = reopen(trail, found->record, found);
    }
    if (good && folder >= 0) {
        forget_lost(trail);
        trail->unsaved = trail->unsaved || trail->fresh;
        trail->fresh = false;
        save_trail(trail);
    }
    clear_listing(&listing);
    free(listing.found);
    if (folder >= 0)
        close(folder);
    return good;
}
