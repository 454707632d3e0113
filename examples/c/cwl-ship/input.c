/* An input and its lines: see input.h. */

#include "input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "shipping.h"
#include "signals.h"
#include "terminal.h"

/* Bytes asked of one read(). */
#define READ_BYTES ((size_t)256 * 1024)

/* What is kept of one line. CloudWatch Logs takes at most 1,048,550 bytes, so a line of more than this is refused
 * whatever follows; the rest of it is counted and not kept, and memory stays bounded. */
#define LINE_KEPT_BYTES ((size_t)8 * 1024 * 1024)

static void end_line(struct shipper *ship, struct input *input, const char *line, size_t length, uint64_t end)
{
    if (input->line_cut > 0)
        ship_cut_line(ship, input, length, end);
    else
        ship_line(ship, input, line, length, end);
}

/* Ships every complete line of what was read and keeps the rest for the next block. */
static void take_lines(struct shipper *ship, struct input *input)
{
    size_t begin = 0;
    char *newline;
    while ((newline = memchr(input->data + input->scanned, '\n', input->length - input->scanned)) != NULL) {
        size_t end = (size_t)(newline - input->data);
        /* Counted from behind: what lies behind a newline was read in one piece and is kept in one. */
        uint64_t end_offset = input->position - (input->length - (end + 1));
        end_line(ship, input, input->data + begin, end - begin, end_offset);
        begin = input->scanned = end + 1;
    }
    input->length -= begin;
    memmove(input->data, input->data + begin, input->length);
    if (input->length > LINE_KEPT_BYTES) {
        input->line_cut += input->length - LINE_KEPT_BYTES;
        input->length = LINE_KEPT_BYTES;
    }
    input->scanned = input->length;
}

/* Makes room for one more block. Returns false without memory. */
static bool make_room(struct input *input)
{
    size_t wanted = input->length + READ_BYTES;
    if (wanted <= input->capacity)
        return true;
    size_t capacity = input->capacity * 2 > wanted ? input->capacity * 2 : wanted;
    char *data = realloc(input->data, capacity);
    if (data == NULL)
        return false;
    input->data = data;
    input->capacity = capacity;
    return true;
}

static enum read_result read_failed(struct shipper *ship, const struct input *input, int error)
{
    ship->read_failed = true;
    say("%s: cannot read on after line %" PRIu64 ": %s", input->name, input->line, strerror(error));
    return READ_FAILED;
}

enum read_result read_block(struct shipper *ship, struct input *input)
{
    if (!make_room(input))
        return read_failed(ship, input, ENOMEM);
    ssize_t got = read(input->fd, input->data + input->length, READ_BYTES);
    if (got == 0)
        return READ_END;
    if (got < 0)
        return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK ? READ_NOTHING_YET
                                                                         : read_failed(ship, input, errno);
    input->length += (size_t)got;
    input->position += (uint64_t)got;
    take_lines(ship, input);
    return READ_SOME;
}

void ship_rest(struct shipper *ship, struct input *input)
{
    if (input->length > 0)
        end_line(ship, input, input->data, input->length, input->position);
    input->length = input->scanned = 0;
}

void free_input(struct input *input)
{
    free(input->data);
    input->data = NULL;
    input->capacity = input->length = input->scanned = 0;
}

/* Reads to the end of the input. Returns false when it was left before. */
static bool read_lines(struct shipper *ship, struct input *input)
{
    enum read_result result = READ_SOME;
    while (!stopping() && result != READ_END && result != READ_FAILED) {
        if (wait_for(input->fd, progress_wanted() ? PROGRESS_MS : -1) && !stopping())
            result = read_block(ship, input);
        else
            show_progress(ship); /* time-out, or a signal */
    }
    return result == READ_END;
}

void ship_input(struct shipper *ship, const char *file)
{
    struct input input = { .name = is_stdin(file) ? "stdin" : file };
    struct stat status;
    input.fd = is_stdin(file) ? STDIN_FILENO : open_file(file);
    if (input.fd < 0) {
        ship->read_failed = true;
        say("cannot read %s: %s", file, strerror(errno));
        return;
    }
    bool regular = fstat(input.fd, &status) == 0 && S_ISREG(status.st_mode);
    bool at_end = read_lines(ship, &input);
    /* Where a signal ended the reading of a file, the whole line is still there for the next time; what came out of a
     * pipe would be lost. */
    if (at_end || !regular)
        ship_rest(ship, &input);
    if (!at_end && stopping())
        say("%s: stopped after line %" PRIu64 " by %s", input.name, input.line, last_signal_name());
    free_input(&input);
    if (!is_stdin(file))
        close(input.fd);
}
