/*
 * The trail of a followed path: the files that have borne its name, oldest first, and how far each was read.
 *
 * A rotation gives a file another name and a truncation gives it another content, so what is kept is the *record* of
 * a file: its identity, the mark of its content, and its source, which is where the library keeps the offset below
 * which everything is final. A source is only ever used for one content: offsets never go back.
 *
 *   - A record is on the disk before the first line of its file is pushed.
 *   - A record is done only when everything that was pushed of its file is final.
 *   - A file that is not known is read from its beginning, unless it was there before the path was followed at all.
 *
 * With a state folder the records are kept in one small file for each path (registry.h), beside the library's own.
 */
#ifndef CWL_SHIP_TRAIL_H
#define CWL_SHIP_TRAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "cwl_sink.h"
#include "identity.h"

/* Longest part of a source's name behind the path. */
#define TOKEN_SIZE 96

struct record {
    struct record *next;    /* the next newer one */
    char token[TOKEN_SIZE]; /* what its source's name has behind the path; never used for another file */
    struct identity identity;
    struct mark mark;
    bool done;           /* read to its end, and all of that final */
    bool replaced;       /* truncated: its inode holds another content now, and only a copy can be read on */
    uint64_t skip_begin; /* from here up to skip_end nothing is to be sent: lines that are empty or refused */
    uint64_t skip_end;

    /* From here on, of this run only. */
    cwl_source *source; /* NULL without a state folder, and when it is done */
    char *place;        /* its name in the folder at the last look; NULL: it has none */
    bool is_path;       /* that name is the followed one */
    bool read;          /* it was read from in this run */
    bool left;          /* it is not to be read any more in this run */
    bool ended;         /* and not in any other either: it is done once all of it is final */
    bool begun;         /* the two offsets below hold */
    uint64_t covered;   /* end of the last event's range */
    uint64_t settled;   /* behind the last line that was pushed, empty or refused */
};

struct trail {
    const char *name; /* as it was given */
    char *folder;     /* without symbolic links */
    const char *base; /* the name in that folder */
    char *label;      /* folder and name, in plain ASCII */
    char *registry;   /* the file that keeps the records; NULL without a state folder */
    cwl_sink *sink;
    const struct trail *peer; /* the next of all trails, in a ring: their paths are none of this one's files */
    bool fresh;               /* nothing has been known of the path yet */
    bool unsaved;             /* the records differ from the file */
    bool save_failed;         /* and that was said */
    uint64_t next_serial;
    struct record *oldest;
};

/* Begins the trail of a path, from what is kept in the state folder if there is one. Returns false when that cannot
 * be trusted or the path cannot be followed, and says why. */
bool open_trail(struct trail *trail, const char *file, const char *state_dir, cwl_sink *sink);

/* Opens the source of a record and finds where its reading goes on. Returns false when its state cannot be trusted,
 * and says why. */
bool begin_record(struct trail *trail, struct record *record);

/* Takes up a file that is not known; NULL as above. */
struct record *add_record(struct trail *trail, const struct identity *identity);

/* Whether all that was pushed of the record has its outcome. */
bool all_final(const struct record *record);

void free_record(struct record *record);

/* Looks for the files of the path (scan.c): finds the places of those known, and takes up new ones. Returns false when
 * the state of a file cannot be trusted, and says why. */
bool scan_trail(struct trail *trail);

/* What is to be read next; NULL: nothing is. */
struct record *next_record(const struct trail *trail);

/* What comes after the record: when it appeared, in ms since the Unix epoch; 0 when that is not known. */
int64_t successor_birth_ms(const struct record *record);

/* Ends the records of which everything is final by now; at the end of a run also keeps what need not be looked at
 * again of the others. */
void settle_trail(struct trail *trail, bool at_the_end);

/* Keeps the records, if they changed. */
void save_trail(struct trail *trail);

void close_trail(struct trail *trail);

/* Memory that a trail cannot go on without: says so and leaves when there is none. */
void *need_memory(void *memory);

#endif
