/* What identifies a file: see identity.h. */

#define _GNU_SOURCE /* statx, for the time of birth; without it files are told apart by their mark alone */

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

static int64_t birth_of(int folder, const char *name, int flags)
{
#ifdef STATX_BTIME
    struct statx told;
    if (statx(folder, name, flags, STATX_BTIME, &told) == 0 && (told.stx_mask & STATX_BTIME) != 0)
        return (int64_t)told.stx_btime.tv_sec * SECOND_NS + told.stx_btime.tv_nsec;
#endif
    (void)folder, (void)name, (void)flags;
    return 0;
}

static bool take_look(const struct stat *status, struct look *look)
{
    if (!S_ISREG(status->st_mode)) {
        errno = S_ISDIR(status->st_mode) ? EISDIR : EINVAL;
        return false;
    }
    int64_t written = nanoseconds(&status->st_mtim), changed = nanoseconds(&status->st_ctim);
    look->identity.device = (uint64_t)status->st_dev;
    look->identity.inode = (uint64_t)status->st_ino;
    look->size = (uint64_t)status->st_size;
    look->written_ns = written;
    look->changed_ms = (written > changed ? written : changed) / 1000000;
    return true;
}

bool look_at(int folder, const char *name, bool follow_link, struct look *look)
{
    /* Through a descriptor, so that both calls mean the same file. */
    int fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow_link ? 0 : O_NOFOLLOW));
    if (fd < 0)
        return false;
    bool good = look_at_open(fd, look);
    int error = errno;
    close(fd);
    errno = error;
    return good;
}

bool look_at_open(int fd, struct look *look)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !take_look(&status, look))
        return false;
#ifdef AT_EMPTY_PATH
    look->identity.birth_ns = birth_of(fd, "", AT_EMPTY_PATH);
#else
    look->identity.birth_ns = birth_of(fd, "", 0);
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

struct mark mark_of(int fd, uint64_t bytes)
{
    char data[MARK_BYTES_MAX];
    size_t wanted = bytes < sizeof data ? (size_t)bytes : sizeof data, length = 0;
    while (length < wanted) {
        ssize_t got = pread(fd, data + length, wanted - length, (off_t)length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    return (struct mark){ .bytes = (uint32_t)length, .hash = hash_bytes(HASH_START, data, length) };
}

bool mark_fits(int fd, const struct mark *mark)
{
    struct mark now = mark_of(fd, mark->bytes);
    return now.bytes == mark->bytes && (mark->bytes == 0 || now.hash == mark->hash);
}
