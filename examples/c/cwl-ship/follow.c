/* Implements the reading of files that grow, are rotated and truncated: see follow.h. */

#include "follow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "signals.h"
#include "terminal.h"

/* A rotated file has ended when nothing was added to it for this time: a writer may keep its descriptor for a while. */
#define ROTATED_QUIET_MS 2000

/* The time between two checks for new data: short after there was some, then longer and longer. */
#define POLL_MS_MIN 20
#define POLL_MS_MAX 200

/* One path, and the file of its history that is being read. */
struct followed_path {
    struct history history;
    struct tracked_file *tracked; /* NULL: no file is being read */
    struct input input;
    bool idle;                /* the last read found the end: the file may be truncated before there is more */
    int64_t fingerprinted_ns; /* the file's time of modification when its fingerprint was last compared */
    bool rotated;             /* the path means another file by now */
    int64_t rotation_seen_ms; /* when this run noticed the rotation, on the monotonic clock */
    int64_t rotation_wall_ms; /* when the file was rotated, as far as that is known */
    int64_t last_read_ms;     /* when there was data last */
    bool waiting_reported;    /* the message that the file does not exist yet was printed */
    bool finished;            /* this run reads nothing more of the path */
};

/* ---- from one file to the next --------------------------------------------------------------------------------- */

/* Opens the tracked file. Returns false when its current name means another file or none by now. */
static bool open_tracked_file(struct shipper *shipper, struct followed_path *followed, struct tracked_file *tracked)
{
    struct file_info info;
    int folder = open_folder(followed->history.folder);
    int fd = folder < 0 ? -1 : open_in_folder(folder, tracked->current_name);
    if (folder >= 0)
        close(folder);
    if (fd < 0)
        return false;
    if (!inspect_open_file(fd, &info) || !same_file(&info.identity, &tracked->identity)
        || lseek(fd, (off_t)tracked->handled_offset, SEEK_SET) < 0) {
        close(fd);
        return false;
    }
    shipper->files += !tracked->was_read;
    tracked->was_read = true;
    followed->tracked = tracked;
    followed->input = (struct input){
        .name = followed->history.name,
        .fd = fd,
        .start_offset = tracked->handled_offset,
        .read_offset = tracked->handled_offset,
        .handled_offset = tracked->handled_offset,
        .pushed_offset = tracked->pushed_offset,
        .source = tracked->source,
    };
    followed->idle = true; /* nothing is known yet about the content beyond the offset */
    followed->fingerprinted_ns = 0;
    followed->rotated = !tracked->at_path;
    followed->rotation_seen_ms = followed->last_read_ms = monotonic_ms();
    followed->rotation_wall_ms = successor_birth_ms(tracked);
    followed->waiting_reported = false;
    return true;
}

static void store_offsets(struct followed_path *followed)
{
    followed->tracked->pushed_offset = followed->input.pushed_offset;
    followed->tracked->handled_offset = followed->input.handled_offset;
}

static void close_tracked_file(struct followed_path *followed)
{
    store_offsets(followed);
    close(followed->input.fd);
    free_input(&followed->input);
    followed->tracked = NULL;
}

/* Returns the errno that keeps the path from being read, or 0. */
static int path_error(const struct followed_path *followed)
{
    struct file_info info;
    int folder = open_folder(followed->history.folder);
    int error = folder >= 0 && inspect_file(folder, followed->history.file_name, true, &info) ? 0 : errno;
    if (folder >= 0)
        close(folder);
    return error;
}

/* Opens the next file of the history. Returns false when there is none. */
static bool open_next_file(struct shipper *shipper, struct followed_path *followed)
{
    if (followed->waiting_reported && path_error(followed) != 0)
        return false;
    if (!scan_folder(&followed->history)) {
        shipper->read_failed = followed->finished = true;
        return false;
    }
    struct tracked_file *tracked = next_to_read(&followed->history);
    if (tracked != NULL && open_tracked_file(shipper, followed, tracked))
        return true;
    if (tracked == NULL && !shipper->options->follow)
        followed->finished = true;
    int error = tracked == NULL && !followed->finished && !followed->waiting_reported ? path_error(followed) : 0;
    if (error != 0) {
        followed->waiting_reported = true;
        print_message("%s: waiting for the file: %s", followed->history.name, strerror(error));
    }
    return false;
}

/* ---- at the end of a file -------------------------------------------------------------------------------------- */

/* Returns true when the path means another file than the open one. A path that means no file at the moment has not been
 * rotated. */
static bool is_rotated(const struct followed_path *followed)
{
    struct stat path, own;
    int folder = open_folder(followed->history.folder);
    bool both = folder >= 0 && fstatat(folder, followed->history.file_name, &path, 0) == 0
                && fstat(followed->input.fd, &own) == 0;
    if (folder >= 0)
        close(folder);
    return both && S_ISREG(path.st_mode) && (path.st_dev != own.st_dev || path.st_ino != own.st_ino);
}

static int64_t later_of(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

/* Returns true when nothing was added for a while. The times of the filesystem are valid across a restart. When a clock
 * was set they may be wrong, so the times that this run has observed count as well. */
static bool is_quiet(const struct followed_path *followed, const struct file_info *info)
{
    return wall_ms() - later_of(info->changed_ms, followed->rotation_wall_ms) >= ROTATED_QUIET_MS
           || monotonic_ms() - later_of(followed->last_read_ms, followed->rotation_seen_ms) >= ROTATED_QUIET_MS;
}

/* Returns true when the file has another content than what was read: it is shorter, or has another beginning. */
static bool is_truncated(struct followed_path *followed, const struct file_info *info)
{
    if (info->size < followed->input.read_offset)
        return true;
    if (!followed->idle || info->modified_ns == followed->fingerprinted_ns)
        return false;
    followed->fingerprinted_ns = info->modified_ns;
    return !fingerprint_matches(followed->input.fd, &followed->tracked->fingerprint);
}

static void close_truncated(struct shipper *shipper, struct followed_path *followed)
{
    print_message("%s: truncated after %" PRIu64 " bytes were read; reading from its beginning", followed->history.name,
                  followed->input.read_offset);
    shipper->truncations++;
    followed->tracked->replaced = followed->history.unsaved = true;
    close_tracked_file(followed);
}

enum file_end {
    END_OF_RUN,         /* the path still means the file; only this run reads no further */
    END_MAY_BE_WRITTEN, /* the file was rotated, but a writer may still add to it: the next run finds its end */
    END_FOR_GOOD,       /* the file was rotated, and nothing is added to it any more */
};

/* Closes a file that was read to its end. */
static void close_at_end(struct shipper *shipper, struct followed_path *followed, enum file_end end)
{
    if (end != END_MAY_BE_WRITTEN)
        ship_last_line(shipper, &followed->input);
    followed->tracked->ended_this_run = true;
    followed->tracked->ended_for_good = end == END_FOR_GOOD && !followed->input.has_unsent_line;
    shipper->rotations += end == END_FOR_GOOD;
    close_tracked_file(followed);
}

/* Handles a file without new data. Returns true when the next step has work at once. */
static bool handle_end(struct shipper *shipper, struct followed_path *followed, const struct file_info *info)
{
    bool rotated = followed->tracked->at_path ? is_rotated(followed) : true;
    if (!shipper->options->follow) {
        enum file_end if_rotated = rotated && is_quiet(followed, info) ? END_FOR_GOOD : END_MAY_BE_WRITTEN;
        close_at_end(shipper, followed, rotated ? if_rotated : END_OF_RUN);
        return true;
    }
    if (rotated && !followed->rotated) {
        followed->rotation_seen_ms = monotonic_ms();
        followed->rotation_wall_ms = wall_ms();
    }
    followed->rotated = rotated;
    if (!rotated || !is_quiet(followed, info))
        return false;
    close_at_end(shipper, followed, END_FOR_GOOD);
    return true;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Extends the fingerprint a few times while the file grows. The fingerprint is saved before the bytes that it covers
 * are pushed. */
static void extend_fingerprint(struct followed_path *followed, uint64_t size)
{
    struct fingerprint *fingerprint = &followed->tracked->fingerprint;
    if (fingerprint->bytes >= FINGERPRINT_BYTES_MAX || size < 2 * (uint64_t)fingerprint->bytes
        || size == fingerprint->bytes)
        return;
    *fingerprint = fingerprint_of(followed->input.fd, size);
    followed->history.unsaved = true;
    save_history(&followed->history);
}

/* Reads one block of the open file, or opens the next file. Returns true when the next step has work at once. */
static bool step(struct shipper *shipper, struct followed_path *followed)
{
    struct file_info info;
    if (followed->finished || (followed->tracked == NULL && !open_next_file(shipper, followed)))
        return false;
    if (!inspect_open_file(followed->input.fd, &info)) {
        print_message("%s: %s", followed->history.name, strerror(errno));
        shipper->read_failed = followed->finished = true;
        return false;
    }
    if (is_truncated(followed, &info)) {
        close_truncated(shipper, followed);
        return true;
    }
    if (info.size == followed->input.read_offset && followed->idle)
        return handle_end(shipper, followed, &info);
    extend_fingerprint(followed, info.size);
    enum read_result result = read_block(shipper, &followed->input);
    store_offsets(followed);
    followed->idle = result != READ_SOME;
    if (result == READ_SOME)
        followed->last_read_ms = monotonic_ms();
    if (result == READ_FAILED)
        followed->finished = true;
    return !followed->finished;
}

/* ---- all paths ------------------------------------------------------------------------------------------------- */

struct followed_path *open_followed(struct shipper *shipper, char **files, size_t count)
{
    struct followed_path *paths = require_memory(calloc(count, sizeof *paths));
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        good = open_history(&paths[i].history, files[i], shipper->options->state_dir, shipper->sink);
        paths[i].history.next_path = &paths[(i + 1) % count].history;
        for (size_t j = 0; j < i && good; j++)
            if (strcmp(paths[i].history.escaped_path, paths[j].history.escaped_path) == 0) {
                print_message("%s and %s are the same file", files[j], files[i]);
                good = false;
            }
    }
    for (size_t i = 0; i < count && good; i++)
        good = scan_folder(&paths[i].history);
    if (good)
        return paths;
    close_followed(paths, count);
    return NULL;
}

void follow(struct shipper *shipper, struct followed_path *paths, size_t count)
{
    int poll_ms = POLL_MS_MIN;
    bool all_finished = false;
    while (!stop_requested() && !all_finished) {
        bool busy = false;
        all_finished = true;
        for (size_t i = 0; i < count && !stop_requested(); i++) {
            busy = step(shipper, &paths[i]) || busy;
            finish_tracked_files(&paths[i].history, RUN_CONTINUES);
            all_finished = all_finished && paths[i].finished;
            if (!shipper->options->follow && !paths[i].finished)
                break; /* the files are read one after the other, in the order given */
        }
        update_progress(shipper);
        poll_ms = busy ? POLL_MS_MIN : poll_ms * 2;
        if (poll_ms > POLL_MS_MAX)
            poll_ms = POLL_MS_MAX;
        if (!busy && !all_finished)
            wait_readable(-1, poll_ms);
    }
    if (stop_requested())
        print_message("stopped by %s", last_signal_name());
}

void close_followed(struct followed_path *paths, size_t count)
{
    for (size_t i = 0; paths != NULL && i < count; i++) {
        if (paths[i].tracked != NULL)
            close_tracked_file(&paths[i]);
        finish_tracked_files(&paths[i].history, RUN_ENDS);
        close_history(&paths[i].history);
    }
    free(paths);
}
