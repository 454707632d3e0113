/*
 * What identifies a file whatever it is called: device, inode and time of birth, and the mark of its content, a hash
 * of its first bytes. A file that was renamed keeps all of them; an inode that was used again has another birth, or
 * where the filesystem does not tell births, another mark; a file that was truncated has another mark.
 */
#ifndef CWL_SHIP_IDENTITY_H
#define CWL_SHIP_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct identity {
    uint64_t device;
    uint64_t inode;
    int64_t birth_ns; /* since the Unix epoch; 0 where the filesystem does not tell it */
};

/* A regular file as one look at it found it. */
struct look {
    struct identity identity;
    uint64_t size;
    int64_t written_ns; /* when its content changed last */
    int64_t changed_ms; /* when its content or its names changed last */
};

/* Most bytes that a mark is made of. */
#define MARK_BYTES_MAX 1024

struct mark {
    uint32_t bytes; /* of the file's beginning that it was made of; 0: none, which fits every file */
    uint64_t hash;
};

/* Looks at `name` in the folder. Returns false, with errno, when it is not there or not a regular file. */
bool look_at(int folder, const char *name, bool follow_link, struct look *look);

/* Looks at an open file. */
bool look_at_open(int fd, struct look *look);

bool same_file(const struct identity *one, const struct identity *other);

/* FNV-1a, to be continued from `hash`. */
uint64_t hash_bytes(uint64_t hash, const void *data, size_t length);
#define HASH_START UINT64_C(0xcbf29ce484222325)

/* The mark of a file's first bytes, as many as there are and at most `bytes`. */
struct mark mark_of(int fd, uint64_t bytes);

/* Whether the file begins with what the mark was made of. */
bool mark_fits(int fd, const struct mark *mark);

#endif
