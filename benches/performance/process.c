/* Implements the measurements of the own process: see process.h. */

#include "process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void fail(const char *what)
{
    fprintf(stderr, "host: %s\n", what);
    exit(1);
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        fail("out of memory");
    return memory;
}

int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

void sleep_until(int64_t deadline_ns)
{
    struct timespec deadline = { .tv_sec = (time_t)(deadline_ns / SECOND_NS),
                                 .tv_nsec = (long)(deadline_ns % SECOND_NS) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) != 0) {
        /* interrupted by a signal: the deadline is absolute, so it sleeps again */
    }
}

int64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec
           + usage.ru_stime.tv_usec;
}

/* Returns the number behind a key in a file of /proc; -1 without such a file, because a thread may have ended. */
static int64_t proc_number(const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    char line[256];
    int64_t number = -1;
    while (number < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            number = strtoll(line + strlen(key), NULL, 10);
    fclose(file);
    return number;
}

int64_t rss_kb(void)
{
    return proc_number("/proc/self/status", "VmRSS:");
}

int64_t peak_rss_kb(void)
{
    return proc_number("/proc/self/status", "VmHWM:");
}

void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL || fputs("5", file) == EOF || fclose(file) != 0)
        fail("/proc/self/clear_refs cannot be written");
}

struct switches other_threads_switches(void)
{
    struct switches sum = { 0, 0 };
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        fail("/proc/self/task");
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char path[sizeof task->d_name + 32];
        if (task->d_name[0] == '.' || strtol(task->d_name, NULL, 10) == (long)getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        int64_t voluntary = proc_number(path, "voluntary_ctxt_switches:");
        if (voluntary < 0)
            continue;
        sum.threads++;
        sum.voluntary += voluntary;
    }
    closedir(tasks);
    return sum;
}

void print_array(const char *name, const int64_t *values, size_t count)
{
    printf("\"%s\": [", name);
    for (size_t i = 0; i < count; i++)
        printf("%s%" PRId64, i == 0 ? "" : ", ", values[i]);
    printf("], ");
}
