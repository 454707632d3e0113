/* lines.h - the lines that are pushed: a file of lines that all have the same length. */

#ifndef LINES_H
#define LINES_H

#include <stddef.h>

struct lines {
    char *text;
    size_t count;
    size_t bytes;  /* of each line, without its newline */
    size_t stride; /* from the beginning of a line to the next one */
};

/* Reads all lines. Exits when the file cannot be read, or when its lines differ in length. */
struct lines read_lines(const char *path);

void free_lines(struct lines *lines);

/* Returns the lines one after another, and begins again after the last. */
struct cursor {
    const char *at, *first, *end;
    size_t stride;
};

static inline struct cursor cursor_over(const struct lines *lines)
{
    const char *end = lines->text + lines->count * lines->stride;
    struct cursor cursor = { lines->text, lines->text, end, lines->stride };
    return cursor;
}

static inline const char *next_line(struct cursor *cursor)
{
    const char *line = cursor->at;
    cursor->at += cursor->stride;
    if (cursor->at == cursor->end)
        cursor->at = cursor->first;
    return line;
}

#endif
