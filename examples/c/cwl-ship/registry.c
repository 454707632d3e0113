/* The file of a path's records: see registry.h. */

#include "registry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "terminal.h"

#define FIRST_LINE "cwl-ship files 1\n"
#define FIRST_LINE_ANY_VERSION "cwl-ship files "

/* Longest part of a path that is kept readable in the file's name. */
#define READABLE 100

/* More than any registry has: a file of this size is none. */
#define REGISTRY_BYTES_MAX ((size_t)64 * 1024 * 1024)

char *registry_name(const char *state_dir, const char *label)
{
    size_t size = strlen(state_dir) + READABLE + 32;
    char readable[READABLE + 1], *name = need_memory(malloc(size));
    size_t length = strlen(label);
    const char *tail = length > READABLE ? label + length - READABLE : label;
    snprintf(readable, sizeof readable, "%s", tail);
    for (char *c = readable; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("-_", *c) == NULL)
            *c = '_';
    snprintf(name, size, "%s/%s-%016" PRIx64 ".files", state_dir, readable, hash_bytes(HASH_START, label, length));
    return name;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* The whole file, ending in NUL; NULL with errno. */
static char *read_whole(const char *name, size_t *length)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return NULL;
    size_t capacity = 64 * 1024;
    char *text = need_memory(malloc(capacity));
    *length = 0;
    for (size_t got; (got = fread(text + *length, 1, capacity - *length - 1, file)) > 0;) {
        *length += got;
        if (capacity - *length == 1 && capacity < REGISTRY_BYTES_MAX)
            text = need_memory(realloc(text, capacity *= 2));
    }
    bool failed = ferror(file) != 0;
    fclose(file);
    text[*length] = '\0';
    if (failed) {
        free(text);
        errno = EIO;
        return NULL;
    }
    return text;
}

static bool take_record(struct trail *trail, const char *line)
{
    struct record *record = need_memory(calloc(1, sizeof *record));
    struct record **end = &trail->oldest;
    unsigned done = 0, replaced = 0;
    int taken = 0;
    int fields = sscanf(line,
                        "file %" SCNu64 " %" SCNu64 " %" SCNd64 " mark %" SCNu32 " %" SCNx64 " skip %" SCNu64
                        " %" SCNu64 " done %u replaced %u source %95s%n",
                        &record->identity.device, &record->identity.inode, &record->identity.birth_ns,
                        &record->mark.bytes, &record->mark.hash, &record->skip_begin, &record->skip_end, &done,
                        &replaced, record->token, &taken);
    if (fields != 10 || line[taken] != '\0' || record->mark.bytes > MARK_BYTES_MAX) {
        free(record);
        return false;
    }
    record->done = done != 0;
    record->replaced = replaced != 0;
    while (*end != NULL)
        end = &(*end)->next;
    *end = record;
    return true;
}

/* Takes the text apart; returns what is wrong with it, NULL when nothing is. */
static const char *parse(struct trail *trail, char *text, size_t length)
{
    char expected[64];
    if (length == 0)
        return "it is empty";
    if (strncmp(text, FIRST_LINE_ANY_VERSION, sizeof FIRST_LINE_ANY_VERSION - 1) != 0)
        return "it does not begin with \"" FIRST_LINE_ANY_VERSION "\"";
    if (strncmp(text, FIRST_LINE, sizeof FIRST_LINE - 1) != 0)
        return "it is torn, or of another version of cwl-ship";
    char *checksum = strstr(text, "\nchecksum ");
    if (strlen(text) != length || checksum == NULL)
        return "it is torn";
    *checksum++ = '\0'; /* the newline belongs to what was summed up */
    uint64_t hash = hash_bytes(hash_bytes(HASH_START, text, strlen(text)), "\n", 1);
    snprintf(expected, sizeof expected, "checksum %016" PRIx64 "\n", hash);
    if (strcmp(checksum, expected) != 0)
        return "it is torn";

    char *line = text + sizeof FIRST_LINE - 1, *next = strchr(line, '\n');
    if (next == NULL || strncmp(line, "path ", 5) != 0)
        return "it names no path";
    *next++ = '\0';
    if (strcmp(line + 5, trail->label) != 0)
        return "it is of another path";
    line = next;
    if (sscanf(line, "next %" SCNu64, &trail->next_serial) != 1)
        return "it counts no files";
    for (line = strchr(line, '\n'); line != NULL; line = next) {
        line++;
        if ((next = strchr(line, '\n')) != NULL)
            *next = '\0';
        if (!take_record(trail, line))
            return "a line of it makes no sense";
    }
    return NULL;
}

bool load_registry(struct trail *trail)
{
    size_t length;
    trail->fresh = trail->oldest == NULL;
    if (trail->registry == NULL)
        return true;
    char *text = read_whole(trail->registry, &length);
    if (text == NULL && errno == ENOENT)
        return true;
    if (text == NULL) {
        say("cannot read %s: %s", trail->registry, strerror(errno));
        return false;
    }
    const char *wrong = parse(trail, text, length);
    if (wrong != NULL)
        say("%s cannot be trusted: %s. Remove it to read %s from its beginning", trail->registry, wrong, trail->name);
    free(text);
    trail->fresh = false;
    return wrong == NULL;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

struct text {
    char *data;
    size_t length, capacity;
};

/* Every piece is shorter than this, but for the path. */
#define PIECE_SIZE 512

static void add(struct text *text, const char *piece)
{
    size_t length = strlen(piece);
    if (text->length + length + 1 > text->capacity) {
        text->capacity = (text->length + length + 1) * 2;
        text->data = need_memory(realloc(text->data, text->capacity));
    }
    memcpy(text->data + text->length, piece, length + 1);
    text->length += length;
}

static void render(const struct trail *trail, struct text *text)
{
    char piece[PIECE_SIZE];
    add(text, FIRST_LINE "path ");
    add(text, trail->label);
    snprintf(piece, sizeof piece, "\nnext %" PRIu64 "\n", trail->next_serial);
    add(text, piece);
    for (const struct record *record = trail->oldest; record != NULL; record = record->next) {
        snprintf(piece, sizeof piece,
                 "file %" PRIu64 " %" PRIu64 " %" PRId64 " mark %" PRIu32 " %016" PRIx64 " skip %" PRIu64 " %" PRIu64
                 " done %d replaced %d source %s\n",
                 record->identity.device, record->identity.inode, record->identity.birth_ns, record->mark.bytes,
                 record->mark.hash, record->skip_begin, record->skip_end, record->done, record->replaced,
                 record->token);
        add(text, piece);
    }
    snprintf(piece, sizeof piece, "checksum %016" PRIx64 "\n", hash_bytes(HASH_START, text->data, text->length));
    add(text, piece);
}

static bool write_whole(const char *name, const struct text *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    size_t written = 0;
    bool good = true;
    while (good && written < text->length) {
        ssize_t put = write(fd, text->data + written, text->length - written);
        if (put > 0)
            written += (size_t)put;
        good = put > 0 || errno == EINTR;
    }
    good = good && fsync(fd) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

static bool sync_folder(const char *of)
{
    char *name = need_memory(strdup(of));
    int fd = open(dirname(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(name);
    return good;
}

bool save_registry(const struct trail *trail)
{
    struct text text = { NULL, 0, 0 };
    size_t size = strlen(trail->registry) + sizeof ".new";
    char *beside = need_memory(malloc(size));
    snprintf(beside, size, "%s.new", trail->registry);
    render(trail, &text);
    bool good = write_whole(beside, &text) && rename(beside, trail->registry) == 0 && sync_folder(trail->registry);
    free(text.data);
    free(beside);
    return good;
}
