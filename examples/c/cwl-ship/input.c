/* Implements the reading of an input and its lines: see input.h. */

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

/* The size of one read(). */
#define READ_BYTES ((size_t)256 * 1024)

/* The most bytes that are kept of one line. CloudWatch Logs takes at most 1,048,550 bytes, so a longer line is refused
 * in any case. The rest of it is counted and not kept, which bounds the memory. */
#define LINE_KEPT_BYTES_MAX ((size_t)8 * 1024 * 1024)

/* Ships a complete line, or refuses one that was too long to be kept. */
static void end_line(struct shipper *shipper, struct input *input, const char *line, size_t length, uint64_t end)
{
    if (input->discarded_bytes > 0)
        refuse_long_line(shipper, input, length, end);
    else
        ship_line(shipper, input, line, length, end);
}

/* Ships every complete line and keeps the rest for the next block. */
static void ship_complete_lines(struct shipper *shipper, struct input *input)
{
    size_t begin = 0;
    char *newline;
    while ((newline = memchr(input->data + input->scanned_bytes, '\n', input->length - input->scanned_bytes)) != NULL) {
        size_t end = (size_t)(newline - input->data);
        /* Counted from the end: some bytes of a long line may be discarded, but none behind a newline. */
        uint64_t end_offset = input->read_offset - (input->length - (end + 1));
        end_line(shipper, input, input->data + begin, end - begin, end_offset);
        begin = input->scanned_bytes = end + 1;
    }
    input->length -= begin;
    memmove(input->data, input->data + begin, input->length);
    if (input->length > LINE_KEPT_BYTES_MAX) {
        input->discarded_bytes += input->length - LINE_KEPT_BYTES_MAX;
        input->length = LINE_KEPT_BYTES_MAX;
    }
    input->scanned_bytes = input->length;
}

/* Grows the buffer for one more block. Returns false when there is no memory. */
static bool grow_buffer(struct input *input)
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

static enum read_result report_read_error(struct shipper *shipper, const struct input *input, int error)
{
    shipper->read_failed = true;
    print_message("%s: reading failed after line %" PRIu64 ": %s", input->name, input->line_number, strerror(error));
    return READ_FAILED;
}

enum read_result read_block(struct shipper *shipper, struct input *input)
{
    if (!grow_buffer(input))
        return report_read_error(shipper, input, ENOMEM);
    ssize_t got = read(input->fd, input->data + input->length, READ_BYTES);
    if (got == 0)
        return READ_END;
    if (got < 0)
        return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK ? READ_NOTHING_YET
                                                                         : report_read_error(shipper, input, errno);
    input->length += (size_t)got;
    input->read_offset += (uint64_t)got;
    ship_complete_lines(shipper, input);
    return READ_SOME;
}

void ship_last_line(struct shipper *shipper, struct input *input)
{
    if (input->length > 0)
        end_line(shipper, input, input->data, input->length, input->read_offset);
    input->length = input->scanned_bytes = 0;
}

void free_input(struct input *input)
{
    free(input->data);
    input->data = NULL;
    input->capacity = input->length = input->scanned_bytes = 0;
}

/* Reads to the end of the input. Returns false when a signal or an error ended the reading before. */
static bool read_lines(struct shipper *shipper, struct input *input)
{
    enum read_result result = READ_SOME;
    while (!stop_requested() && result != READ_END && result != READ_FAILED) {
        if (wait_readable(input->fd, progress_enabled() ? PROGRESS_INTERVAL_MS : -1) && !stop_requested())
            result = read_block(shipper, input);
        else
            update_progress(shipper); /* the wait has timed out, or a signal came */
    }
    return result == READ_END;
}

void ship_input(struct shipper *shipper, const char *file)
{
    struct input input = { .name = is_stdin(file) ? "stdin" : file };
    struct stat status;
    input.fd = is_stdin(file) ? STDIN_FILENO : open_file(file);
    if (input.fd < 0) {
        shipper->read_failed = true;
        print_message("cannot read %s: %s", file, strerror(errno));
        return;
    }
    bool regular = fstat(input.fd, &status) == 0 && S_ISREG(status.st_mode);
    bool at_end = read_lines(shipper, &input);
    /* When a signal ended the reading of a file, the next run can read the incomplete line again. From a pipe the line
     * cannot be read again, so it is sent now. */
    if (at_end || !regular)
        ship_last_line(shipper, &input);
    if (!at_end && stop_requested())
        print_message("%s: stopped after line %" PRIu64 " by %s", input.name, input.line_number, last_signal_name());
    free_input(&input);
    if (!is_stdin(file))
        close(input.fd);
}
