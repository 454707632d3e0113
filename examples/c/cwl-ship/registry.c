/* Implements the registry file of a path: see registry.h. */

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

/* The most bytes of a path that stay readable in the name of its registry file. */
#define READABLE_BYTES_MAX 100

/* A larger file is not a registry. */
#define REGISTRY_BYTES_MAX ((size_t)64 * 1024 * 1024)

char *registry_path(const char *state_dir, const char *escaped_path)
{
    size_t size = strlen(state_dir) + READABLE_BYTES_MAX + 32;
    char readable[READABLE_BYTES_MAX + 1], *name = require_memory(malloc(size));
    size_t length = strlen(escaped_path);
    const char *tail = length > READABLE_BYTES_MAX ? escaped_path + length - READABLE_BYTES_MAX : escaped_path;
    snprintf(readable, sizeof readable, "%s", tail);
    for (char *c = readable; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("-_", *c) == NULL)
            *c = '_';
    snprintf(name, size, "%s/%s-%016" PRIx64 ".files", state_dir, readable,
             hash_bytes(HASH_START, escaped_path, length));
    return name;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Returns the whole file, with a NUL behind it. Returns NULL, with errno, when it cannot be read. */
static char *read_file(const char *name, size_t *length)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return NULL;
    size_t capacity = 64 * 1024;
    char *text = require_memory(malloc(capacity));
    *length = 0;
    for (size_t got; (got = fread(text + *length, 1, capacity - *length - 1, file)) > 0;) {
        *length += got;
        if (capacity - *length == 1 && capacity < REGISTRY_BYTES_MAX)
            text = require_memory(realloc(text, capacity *= 2));
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

/* Adds the tracked file that the line describes. Returns false when the line is not valid. In the file, the fingerprint
 * is called a mark. */
static bool parse_tracked_file(struct history *history, const char *line)
{
    struct tracked_file *tracked = require_memory(calloc(1, sizeof *tracked));
    unsigned done = 0, replaced = 0;
    int taken = 0;
    int fields = sscanf(line,
                        "file %" SCNu64 " %" SCNu64 " %" SCNd64 " mark %" SCNu32 " %" SCNx64 " skip %" SCNu64
                        " %" SCNu64 " done %u replaced %u source %95s%n",
                        &tracked->identity.device, &tracked->identity.inode, &tracked->identity.birth_ns,
                        &tracked->fingerprint.bytes, &tracked->fingerprint.hash, &tracked->skip_begin,
                        &tracked->skip_end, &done, &replaced, tracked->source_suffix, &taken);
    if (fields != 10 || line[taken] != '\0' || tracked->fingerprint.bytes > FINGERPRINT_BYTES_MAX) {
        free(tracked);
        return false;
    }
    tracked->done = done != 0;
    tracked->replaced = replaced != 0;
    append_tracked_file(history, tracked);
    return true;
}

/* Checks the first line and the checksum of the text, and cuts the checksum off. Returns the reason why the text cannot
 * be trusted, or NULL. */
static const char *check_text(char *text, size_t length)
{
    char expected[64];
    if (length == 0)
        return "it is empty";
    if (strncmp(text, FIRST_LINE_ANY_VERSION, sizeof FIRST_LINE_ANY_VERSION - 1) != 0)
        return "it does not begin with \"" FIRST_LINE_ANY_VERSION "\"";
    if (strncmp(text, FIRST_LINE, sizeof FIRST_LINE - 1) != 0)
        return "it is damaged, or was written by another version of cwl-ship";
    char *checksum = strstr(text, "\nchecksum ");
    if (strlen(text) != length || checksum == NULL)
        return "it is damaged";
    *checksum++ = '\0'; /* the checksum covers this newline */
    uint64_t hash = hash_bytes(hash_bytes(HASH_START, text, strlen(text)), "\n", 1);
    snprintf(expected, sizeof expected, "checksum %016" PRIx64 "\n", hash);
    return strcmp(checksum, expected) == 0 ? NULL : "it is damaged";
}

/* Parses the text into tracked files. Returns the reason why it cannot be trusted, or NULL. */
static const char *parse_registry(struct history *history, char *text, size_t length)
{
    const char *problem = check_text(text, length);
    if (problem != NULL)
        return problem;
    char *line = text + sizeof FIRST_LINE - 1, *next = strchr(line, '\n');
    if (next == NULL || strncmp(line, "path ", 5) != 0)
        return "it has no path";
    *next++ = '\0';
    if (strcmp(line + 5, history->escaped_path) != 0)
        return "it belongs to another path";
    line = next;
    if (sscanf(line, "next %" SCNu64, &history->next_serial) != 1)
        return "it has no number for the next file";
    for (line = strchr(line, '\n'); line != NULL; line = next) {
        line++;
        if ((next = strchr(line, '\n')) != NULL)
            *next = '\0';
        if (!parse_tracked_file(history, line))
            return "one of its lines cannot be parsed";
    }
    return NULL;
}

bool load_registry(struct history *history)
{
    size_t length;
    history->is_new = history->oldest == NULL;
    if (history->registry_path == NULL)
        return true;
    char *text = read_file(history->registry_path, &length);
    if (text == NULL && errno == ENOENT)
        return true;
    if (text == NULL) {
        print_message("cannot read %s: %s", history->registry_path, strerror(errno));
        return false;
    }
    const char *problem = parse_registry(history, text, length);
    if (problem != NULL)
        print_message("%s cannot be trusted: %s. Remove it to read %s from its beginning", history->registry_path,
                      problem, history->name);
    free(text);
    history->is_new = false;
    return problem == NULL;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

struct text_buffer {
    char *data;
    size_t length, capacity;
};

/* Every piece except the path is shorter. */
#define PIECE_BYTES 512

static void append(struct text_buffer *text, const char *piece)
{
    size_t length = strlen(piece);
    if (text->length + length + 1 > text->capacity) {
        text->capacity = (text->length + length + 1) * 2;
        text->data = require_memory(realloc(text->data, text->capacity));
    }
    memcpy(text->data + text->length, piece, length + 1);
    text->length += length;
}

static void render_registry(const struct history *history, struct text_buffer *text)
{
    char piece[PIECE_BYTES];
    append(text, FIRST_LINE "path ");
    append(text, history->escaped_path);
    snprintf(piece, sizeof piece, "\nnext %" PRIu64 "\n", history->next_serial);
    append(text, piece);
    for (const struct tracked_file *tracked = history->oldest; tracked != NULL; tracked = tracked->next) {
        snprintf(piece, sizeof piece,
                 "file %" PRIu64 " %" PRIu64 " %" PRId64 " mark %" PRIu32 " %016" PRIx64 " skip %" PRIu64 " %" PRIu64
                 " done %d replaced %d source %s\n",
                 tracked->identity.device, tracked->identity.inode, tracked->identity.birth_ns,
                 tracked->fingerprint.bytes, tracked->fingerprint.hash, tracked->skip_begin, tracked->skip_end,
                 tracked->done, tracked->replaced, tracked->source_suffix);
        append(text, piece);
    }
    snprintf(piece, sizeof piece, "checksum %016" PRIx64 "\n", hash_bytes(HASH_START, text->data, text->length));
    append(text, piece);
}

/* Writes the whole file and syncs it to disk. Returns false, with errno, when that failed. */
static bool write_file(const char *name, const struct text_buffer *text)
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

static bool sync_folder_of(const char *path)
{
    char *name = require_memory(strdup(path));
    int fd = open(dirname(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(name);
    return good;
}

bool save_registry(const struct history *history)
{
    struct text_buffer text = { NULL, 0, 0 };
    size_t size = strlen(history->registry_path) + sizeof ".new";
    char *temporary = require_memory(malloc(size));
    snprintf(temporary, size, "%s.new", history->registry_path);
    render_registry(history, &text);
    bool good = write_file(temporary, &text) && rename(temporary, history->registry_path) == 0
                && sync_folder_of(history->registry_path);
    free(text.data);
    free(temporary);
    return good;
}
