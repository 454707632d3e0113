/* Implements the lines that are pushed: see lines.h. */

#include "lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        fail(path);
    *length = (size_t)ftell(file);
    rewind(file);
    char *text = allocate(*length + 1, 1);
    if (fread(text, 1, *length, file) != *length)
        fail(path);
    fclose(file);
    return text;
}

struct lines read_lines(const char *path)
{
    size_t length;
    struct lines lines = { .text = read_file(path, &length) };
    const char *newline = strchr(lines.text, '\n');
    if (newline == NULL)
        fail("the lines file has no line");
    lines.bytes = (size_t)(newline - lines.text);
    lines.stride = lines.bytes + 1;
    lines.count = length / lines.stride;
    for (size_t i = 0; i < lines.count; i++)
        if (memchr(lines.text + i * lines.stride, '\n', lines.stride) != lines.text + i * lines.stride + lines.bytes)
            fail("the lines differ in length");
    return lines;
}

void free_lines(struct lines *lines)
{
    free(lines->text);
    lines->text = NULL;
}
