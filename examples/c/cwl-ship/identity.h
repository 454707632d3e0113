/*
 * The identity of a file, independent of its name: device, inode and birth time, and the fingerprint of its content,
 * which is a hash of its first bytes.
 *
 * A renamed file keeps all of them. When an inode is used again, the new file has another birth time, or another
 * fingerprint where the filesystem reports no birth times. A truncated file has another fingerprint.
 */
#ifndef CWL_SHIP_IDENTITY_H
#define CWL_SHIP_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct identity {
    uint64_t device;
    uint64_t inode;
    int64_t birth_ns; /* since the Unix epoch; 0 where the filesystem does not report it */
};

/* The state of a regular file at one moment. */
struct file_info {
    struct identity identity;
    uint64_t size;
    int64_t modified_ns; /* when the content changed last */
    int64_t changed_ms;  /* when the content or a name of the file changed last */
};

/* The most bytes that a fingerprint covers. */
#define FINGERPRINT_BYTES_MAX 1024

struct fingerprint {
    uint32_t bytes; /* the number of first bytes that are hashed; 0: no fingerprint, which matches every file */
    uint64_t hash;
};

/* Opens a folder. Returns -1, with errno, when that fails. */
int open_folder(const char *path);

/* Opens the file `name` of the folder for reading. Returns -1, with errno, when that fails. */
int open_in_folder(int folder, const char *name);

/* Inspects the file `name` of the folder. Returns false, with errno, when there is no such regular file. */
bool inspect_file(int folder, const char *name, bool follow_link, struct file_info *info);

/* Inspects an open file. Returns false, with errno, when it is not a regular file. */
bool inspect_open_file(int fd, struct file_info *info);

/* Compares two identities. A birth time that is not known matches every other one. */
bool same_file(const struct identity *one, const struct identity *other);

/* Continues an FNV-1a hash, which begins with HASH_START. */
uint64_t hash_bytes(uint64_t hash, const void *data, size_t length);
#define HASH_START UINT64_C(0xcbf29ce484222325)

/* Returns the fingerprint of the first `max_bytes` of the file, or of the whole file if it is shorter. */
struct fingerprint fingerprint_of(int fd, uint64_t max_bytes);

/* Returns true when the file begins with the bytes that the fingerprint was made of. */
bool fingerprint_matches(int fd, const struct fingerprint *fingerprint);

#endif
