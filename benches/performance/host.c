/*
 * host.c - the host of the performance bench. Each subcommand makes one measurement in its own process:
 *
 *     host push    ENDPOINT LINES ROUNDS            a push beside the plain escape loop, round by round
 *     host threads ENDPOINT LINES ROUNDS            one thread beside two, on one target and on two
 *     host paced   ENDPOINT LINES RATE SECONDS      the time of single pushes while the workers are busy
 *     host deliver ENDPOINT LINES EVENTS TARGETS    CPU time for each event, from the push to the answer
 *     host many    ENDPOINT LINES TARGETS RATE SECONDS    many targets that have an event now and then
 *     host idle    ENDPOINT LINES SECONDS           the wake-ups of the library's threads when nothing happens
 *     host memory  ENDPOINT LINES EVENTS            resident memory while the endpoint stalls
 *
 * The options of the sink follow, each as KEY=VALUE. LINES is a file of lines that all have the same length. A
 * subcommand prints one line of JSON: the measurement, without set-up and clean-up, and the event counts of the
 * library. A push or flush that fails ends the program with exit code 1.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measurements.h"
#include "process.h"

static const struct subcommand {
    const char *name;
    int numbers;
    int (*measure)(const struct request *);
} subcommands[] = {
    { "push", 1, measure_push },       { "threads", 1, measure_threads }, { "paced", 2, measure_paced },
    { "deliver", 2, measure_deliver }, { "many", 3, measure_many },       { "idle", 1, measure_idle },
    { "memory", 1, measure_memory },
};

static int64_t positive(const char *text)
{
    char *end;
    int64_t number = strtoll(text, &end, 10);
    if (*end != '\0' || number <= 0)
        fail(text);
    return number;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        const struct subcommand *chosen = &subcommands[i];
        int options_at = 4 + chosen->numbers;
        if (argc < options_at || strcmp(argv[1], chosen->name) != 0)
            continue;
        struct request request = {
            .endpoint = argv[2],
            .lines_path = argv[3],
            .option_count = argc - options_at,
            .options = argv + options_at,
        };
        for (int number = 0; number < chosen->numbers; number++)
            request.numbers[number] = positive(argv[4 + number]);
        return chosen->measure(&request);
    }
    fprintf(stderr, "host: want SUBCOMMAND ENDPOINT LINES NUMBER... KEY=VALUE...; see the top of host.c\n");
    return 2;
}
