/* Implements the identity of a file: see identity.h. */

#define _GNU_SOURCE /* statx, for the birth time; without it only the fingerprint distinguishes files on one inode */

#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * SECOND_NS + time->tv_nsec;
}

static int64_t birth_ns_of(int folder, const char *name, int flags)
{
#ifdef STATX_BTIME
    struct statx status;
    if (statx(folder, name, flags, STATX_BTIME, &status) == 0 && (status.stx_mask & STATX_BTIME) != 0)
        return (int64_t)status.stx_btime.tv_sec * SECOND_NS + status.stx_btime.tv_nsec;
#endif
    (void)folder, (void)name, (void)flags;
    return 0;
}

/* Fills in everything except the birth time. */
static bool fill_info(const struct stat *status, struct file_info *info)
{
    if (!S_ISREG(status->st_mode)) {
        errno = S_ISDIR(status->st_mode) ? EISDIR : EINVAL;
        return false;
    }
    int64_t modified = nanoseconds(&status->st_mtim), changed = nanoseconds(&status->st_ctim);
    info->identity.device = (uint64_t)status->st_dev;
    info->identity.inode = (uint64_t)status->st_ino;
    info->size = (uint64_t)status->st_size;
    info->modified_ns = modified;
    info->changed_ms = (modified > changed ? modified : changed) / 1000000;
    return true;
}

int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int open_in_folder(int folder, const char *name)
{
    return openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

bool inspect_file(int folder, const char *name, bool follow_link, struct file_info *info)
{
    /* Through a descriptor, so that fstat and statx see the same file. */
    int fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow_link ? 0 : O_NOFOLLOW));
    if (fd < 0)
        return false;
    bool good = inspect_open_file(fd, info);
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

bool inspect_open_file(int fd, struct file_info *info)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !fill_info(&status, info))
        return false;
#ifdef AT_EMPTY_PATH
    info->identity.birth_ns = birth_ns_of(fd, "", AT_EMPTY_PATH);
#else
    info->identity.birth_ns = birth_ns_of(fd, "", 0);
#endif
    return true;
}

bool same_file(const struct identity *one, const struct identity *other)
{
    return one->device == other->device && one->inode == other->inode
           && (one->birth_ns == other->birth_ns || one->birth_ns == 0 || other->birth_ns == 0);
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

struct fingerprint fingerprint_of(int fd, uint64_t max_bytes)
{
    char data[FINGERPRINT_BYTES_MAX];
    size_t wanted = max_bytes < sizeof data ? (size_t)max_bytes : sizeof data, length = 0;
    while (length < wanted) {
        ssize_t got = pread(fd, data + length, wanted - length, (off_t)length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    return (struct fingerprint){ .bytes = (uint32_t)length, .hash = hash_bytes(HASH_START, data, length) };
}

bool fingerprint_matches(int fd, const struct fingerprint *fingerprint)
{
    struct fingerprint now = fingerprint_of(fd, fingerprint->bytes);
    return now.bytes == fingerprint->bytes && (fingerprint->bytes == 0 || now.hash == fingerprint->hash);
}
