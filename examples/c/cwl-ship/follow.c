/* Reading files that grow, are rotated and truncated: see follow.h. */

#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signals.h"
#include "terminal.h"
#include "trail.h"

/* How long nothing must have been added to a file that was rotated before it counts as ended: a writer may hold on to
 * its descriptor for a while. */
#define QUIET_MS 2000

/* How often files without new data are looked at: soon after there was some, seldom later. */
#define LOOK_MS_MIN 20
#define LOOK_MS_MAX 200

/* One path and the file of its trail that is being read now. */
struct followed {
    struct trail trail;
    struct record *record; /* NULL: none is being read */
    struct input input;
    bool idle;             /* at the end at the last look: it may be truncated before there is more */
    int64_t written_ns;    /* when it was written last, as of the last look at its mark */
    bool moved;            /* the path means another file by now, since: */
    int64_t moved_ms;      /* the look that found it so, on the monotonic clock */
    int64_t moved_wall_ms; /* when it happened, as far as that is known */
    int64_t read_ms;       /* when there was data last */
    bool waits;            /* that there is no file yet was said */
    bool over;             /* nothing more is read in this run */
};

/* ---- from one file to the next --------------------------------------------------------------------------------- */

/* Opens the file of a record. False: it is not there any more under that name. */
static bool open_record(struct shipper *ship, struct followed *one, struct record *record)
{
    struct look look;
    int folder = open(one->trail.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = folder < 0 ? -1 : openat(folder, record->place, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (folder >= 0)
        close(folder);
    if (fd < 0)
        return false;
    if (!look_at_open(fd, &look) || !same_file(&look.identity, &record->identity)
        || lseek(fd, (off_t)record->settled, SEEK_SET) < 0) {
        close(fd);
        return false;
    }
    ship->files += !record->read;
    record->read = true;
    one->record = record;
    one->input = (struct input){
        .name = one->trail.name,
        .fd = fd,
        .begun = record->settled,
        .position = record->settled,
        .settled = record->settled,
        .covered = record->covered,
        .source = record->source,
    };
    one->idle = true; /* what is there now was not looked at yet */
    one->written_ns = 0;
    one->moved = !record->is_path;
    one->moved_ms = one->read_ms = monotonic_ms();
    one->moved_wall_ms = successor_birth_ms(record);
    one->waits = false;
    return true;
}

static void note_progress(struct followed *one)
{
    one->record->covered = one->input.covered;
    one->record->settled = one->input.settled;
}

static void close_record(struct followed *one)
{
    note_progress(one);
    close(one->input.fd);
    free_input(&one->input);
    one->record = NULL;
}

/* What keeps the path from being read, as an errno; 0: nothing. */
static int path_error(const struct followed *one)
{
    struct look look;
    int folder = open(one->trail.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = folder >= 0 && look_at(folder, one->trail.base, true, &look) ? 0 : errno;
    if (folder >= 0)
        close(folder);
    return error;
}

/* Goes on to the next file of the trail. Returns whether there is one. */
static bool next_file(struct shipper *ship, struct followed *one)
{
    if (one->waits && path_error(one) != 0)
        return false;
    if (!scan_trail(&one->trail)) {
        ship->read_failed = one->over = true;
        return false;
    }
    struct record *record = next_record(&one->trail);
    if (record != NULL && open_record(ship, one, record))
        return true;
    if (record == NULL && !ship->options->follow)
        one->over = true;
    int error = record == NULL && !one->over && !one->waits ? path_error(one) : 0;
    if (error != 0) {
        one->waits = true;
        say("%s: waiting for the file: %s", one->trail.name, strerror(error));
    }
    return false;
}

/* ---- at the end of a file -------------------------------------------------------------------------------------- */

/* Whether the path means another file than the one that is read. It may also mean none for now: then it does not. */
static bool path_moved(const struct followed *one)
{
    struct stat path, own;
    int folder = open(one->trail.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool both = folder >= 0 && fstatat(folder, one->trail.base, &path, 0) == 0 && fstat(one->input.fd, &own) == 0;
    if (folder >= 0)
        close(folder);
    return both && S_ISREG(path.st_mode) && (path.st_dev != own.st_dev || path.st_ino != own.st_ino);
}

/* Whether nothing was added for a while. What the filesystem's times say holds across a restart; where they cannot be
 * right, because a clock was set, the own observation counts. */
static bool is_quiet(const struct followed *one, const struct look *look)
{
    int64_t wall = look->changed_ms > one->moved_wall_ms ? look->changed_ms : one->moved_wall_ms;
    int64_t seen = one->read_ms > one->moved_ms ? one->read_ms : one->moved_ms;
    return wall_ms() - wall >= QUIET_MS || monotonic_ms() - seen >= QUIET_MS;
}

/* The file holds another content than what was read: shorter, or written again with another beginning. */
static bool is_truncated(struct followed *one, const struct look *look)
{
    if (look->size < one->input.position)
        return true;
    if (!one->idle || look->written_ns == one->written_ns)
        return false;
    one->written_ns = look->written_ns;
    return !mark_fits(one->input.fd, &one->record->mark);
}

static void leave_truncated(struct shipper *ship, struct followed *one)
{
    say("%s: truncated after %" PRIu64 " bytes were read; it is read from its beginning", one->trail.name,
        one->input.position);
    ship->truncations++;
    one->record->replaced = one->trail.unsaved = true;
    close_record(one);
}

/* The file is read to its end, in this run (`ended` false) or for ever. Of one that may still be written to under
 * another name, the next run finds the end. */
static void leave_at_end(struct shipper *ship, struct followed *one, bool moved, bool ended)
{
    if (ended || !moved)
        ship_rest(ship, &one->input);
    one->record->left = true;
    one->record->ended = ended && !one->input.held;
    ship->rotations += ended;
    close_record(one);
}

/* Without new data. Returns whether there is more to do at once. */
static bool at_end(struct shipper *ship, struct followed *one, const struct look *look)
{
    bool moved = one->record->is_path ? path_moved(one) : true;
    if (!ship->options->follow) {
        leave_at_end(ship, one, moved, moved && is_quiet(one, look));
        return true;
    }
    if (moved && !one->moved) {
        one->moved_ms = monotonic_ms();
        one->moved_wall_ms = wall_ms();
    }
    one->moved = moved;
    if (!moved || !is_quiet(one, look))
        return false;
    leave_at_end(ship, one, true, true);
    return true;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Has the mark of the file grow with it, a few times, and keeps it before anything that it vouches for is pushed. */
static void renew_mark(struct followed *one, uint64_t size)
{
    struct mark *mark = &one->record->mark;
    if (mark->bytes >= MARK_BYTES_MAX || size < 2 * (uint64_t)mark->bytes || size == mark->bytes)
        return;
    *mark = mark_of(one->input.fd, size);
    one->trail.unsaved = true;
    save_trail(&one->trail);
}

/* Reads a block of the path's present file, or goes on to the next file. Returns whether there is more to do at
 * once. */
static bool step(struct shipper *ship, struct followed *one)
{
    struct look look;
    if (one->over || (one->record == NULL && !next_file(ship, one)))
        return false;
    if (!look_at_open(one->input.fd, &look)) {
        say("%s: %s", one->trail.name, strerror(errno));
        ship->read_failed = one->over = true;
        return false;
    }
    if (is_truncated(one, &look)) {
        leave_truncated(ship, one);
        return true;
    }
    if (look.size == one->input.position && one->idle)
        return at_end(ship, one, &look);
    renew_mark(one, look.size);
    enum read_result result = read_block(ship, &one->input);
    note_progress(one);
    one->idle = result != READ_SOME;
    if (result == READ_SOME)
        one->read_ms = monotonic_ms();
    if (result == READ_FAILED)
        one->over = true;
    return !one->over;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

struct followed *open_followed(struct shipper *ship, char **files, size_t count)
{
    struct followed *all = need_memory(calloc(count, sizeof *all));
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        good = open_trail(&all[i].trail, files[i], ship->options->state_dir, ship->sink);
        all[i].trail.peer = &all[(i + 1) % count].trail;
        for (size_t j = 0; j < i && good; j++)
            if (strcmp(all[i].trail.label, all[j].trail.label) == 0) {
                say("%s and %s are the same file", files[j], files[i]);
                good = false;
            }
    }
    for (size_t i = 0; i < count && good; i++)
        good = scan_trail(&all[i].trail);
    if (good)
        return all;
    close_followed(all, count);
    return NULL;
}

void follow(struct shipper *ship, struct followed *all, size_t count)
{
    int look_ms = LOOK_MS_MIN;
    bool over = false;
    while (!stopping() && !over) {
        bool busy = false;
        over = true;
        for (size_t i = 0; i < count && !stopping(); i++) {
            busy = step(ship, &all[i]) || busy;
            settle_trail(&all[i].trail, false);
            over = over && all[i].over;
            if (!ship->options->follow && !all[i].over)
                break; /* one after the other, in the order given */
        }
        show_progress(ship);
        look_ms = busy ? LOOK_MS_MIN : look_ms * 2;
        if (look_ms > LOOK_MS_MAX)
            look_ms = LOOK_MS_MAX;
        if (!busy && !over)
            wait_for(-1, look_ms);
    }
    if (stopping())
        say("stopped by %s", last_signal_name());
}

void close_followed(struct followed *all, size_t count)
{
    for (size_t i = 0; all != NULL && i < count; i++) {
        if (all[i].record != NULL)
            close_record(&all[i]);
        settle_trail(&all[i].trail, true);
        close_trail(&all[i].trail);
    }
    free(all);
}
