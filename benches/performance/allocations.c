/*
 * allocations.c - counts how often the pushing thread allocates memory, once everything is warm.
 *
 *     allocations ENDPOINT LINES EVENTS KEY=VALUE...
 *
 * Pushes EVENTS events as a warm-up and as many again, to an endpoint that discards them. This program replaces every
 * allocation function of the C library, for the whole process and the shared library in it, by one that counts and
 * calls glibc's own. Only the allocations of the pushing thread between its first and its last push are counted; the
 * library's own threads may allocate. Prints one line of JSON.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "process.h"
#include "sink.h"

/* Each thread has its own counters, so no other thread disturbs the count or is counted. */
static __thread bool counting;
static __thread uint64_t allocations, frees;

/* The functions that glibc exports for this purpose, and the prototypes of functions that C99 does not have. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
void *memalign(size_t, size_t);
void *aligned_alloc(size_t, size_t);
void *reallocarray(void *, size_t, size_t);

void *malloc(size_t size)
{
    allocations += counting;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations += counting;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    allocations += counting;
    return __libc_realloc(memory, size);
}

void *reallocarray(void *memory, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, count * size);
}

void *memalign(size_t alignment, size_t size)
{
    allocations += counting;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    *memory = memalign(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

void free(void *memory)
{
    frees += counting;
    __libc_free(memory);
}

/* Checks that allocations are counted at all, because a broken counter would look like a success. Allocates in every
 * way that Rust and C code allocate. */
static void check_counting(void)
{
    void *volatile memory = NULL;
    void *aligned = NULL;
    counting = true;
    memory = malloc(10);
    memory = realloc(memory, 20);
    free(memory);
    memory = calloc(10, 10);
    free(memory);
    if (posix_memalign(&aligned, 64, 64) != 0)
        fail("posix_memalign");
    free(aligned);
    counting = false;
    if (allocations != 4 || frees != 3)
        fail("allocations are not counted");
    allocations = frees = 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "allocations: want ENDPOINT LINES EVENTS KEY=VALUE...\n");
        return 2;
    }
    check_counting();
    uint64_t events = strtoull(argv[3], NULL, 10);
    struct lines lines = read_lines(argv[2]);
    struct cursor cursor = cursor_over(&lines);
    cwl_sink *sink = open_sink(argv[1], argc - 4, argv + 4);
    cwl_target *target = open_target(sink, NULL, NULL);
    push_lines(target, &cursor, lines.bytes, events);
    flush(sink);

    counting = true;
    push_lines(target, &cursor, lines.bytes, events);
    counting = false;
    flush(sink);

    printf("{\"events\": %" PRIu64 ", \"allocations\": %" PRIu64 ", \"frees\": %" PRIu64 ", ", events, allocations,
           frees);
    print_counts(sink);
    cwl_target_free(target);
    end_sink(sink);
    free_lines(&lines);
    return 0;
}
