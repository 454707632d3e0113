/*
 * The history of a followed path: all files that have had this path, oldest first, and how far each was read.
 *
 * A rotation gives a file another name, and a truncation gives it another content. So each file is tracked by its
 * identity and by the fingerprint of its content, not by its name. Each tracked file has a source of its own, where the
 * library keeps the offset below which every event is final. A source is used for one content only, because its offset
 * never goes back.
 *
 *   - A tracked file is saved on disk before the first line of it is pushed.
 *   - A tracked file is done only when everything that was pushed from it is final.
 *   - An unknown file is read from its beginning, unless it existed before the path was followed for the first time.
 *
 * With a state folder, the history of each path is saved in one small file (registry.h) beside the library's own files.
 */
#ifndef CWL_SHIP_HISTORY_H
#define CWL_SHIP_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "cwl_sink.h"
#include "identity.h"

/* Size of the longest suffix of a source's name, with the NUL. */
#define SOURCE_SUFFIX_SIZE 96

struct tracked_file {
    struct tracked_file *next; /* the next newer file */
    /* The source's name is the path and this suffix, which is never used for another file. */
    char source_suffix[SOURCE_SUFFIX_SIZE];
    struct identity identity;
    struct fingerprint fingerprint;
    bool done;           /* the file was read to its end, and all of it is final */
    bool replaced;       /* truncated: the inode has another content now, so only a copy of the file can be read on */
    uint64_t skip_begin; /* between these two offsets are only empty and refused lines, so nothing is left to send */
    uint64_t skip_end;

    /* The members below are not saved: they are of this run only. */
    cwl_source *source;      /* NULL without a state folder, and when the file is done */
    char *current_name;      /* the file's name in the folder at the last scan; NULL if the file was not found */
    bool at_path;            /* the current name is the followed one */
    bool was_read;           /* this run has opened the file for reading */
    bool ended_this_run;     /* this run does not read the file any more */
    bool ended_for_good;     /* no later run reads the file either: it is done as soon as all of it is final */
    bool offsets_known;      /* the two offsets below are valid */
    uint64_t pushed_offset;  /* end of the last event's range */
    uint64_t handled_offset; /* end of the last line that was pushed, empty or refused */
};

struct history {
    const char *name;      /* the path as it was given */
    char *folder;          /* the path's folder, without symbolic links */
    const char *file_name; /* the path's name in that folder */
    char *escaped_path;    /* folder and name in plain ASCII */
    char *registry_path;   /* the file that keeps this history; NULL without a state folder */
    cwl_sink *sink;
    const struct history *next_path; /* ring of all histories: a file that has its own history is not in this one */
    bool is_new;                     /* nothing is known of the path yet */
    bool unsaved;                    /* the history differs from the saved one */
    bool save_failed;                /* the last save failed, and the failure was reported */
    uint64_t next_serial;
    struct tracked_file *oldest;
};

/* The phase of the run in which the files are finished. */
enum run_phase { RUN_CONTINUES, RUN_ENDS };

/* Begins the history of a path, with what the state folder has of it. Returns false when the saved history cannot be
 * trusted or the path cannot be followed, and prints the reason. */
bool open_history(struct history *history, const char *file, const char *state_dir, cwl_sink *sink);

/* Opens the source of a tracked file and finds the offset where reading continues. Returns false when the source's
 * state cannot be trusted, and prints the reason. */
bool restore_offsets(struct history *history, struct tracked_file *tracked);

/* Adds an unknown file to the history. Returns NULL when the source's state cannot be trusted, and prints the reason.
 */
struct tracked_file *track_file(struct history *history, const struct identity *identity);

/* Adds the tracked file as the newest one. */
void append_tracked_file(struct history *history, struct tracked_file *tracked);

/* Returns true when everything that was pushed from the file has its outcome. */
bool all_final(const struct tracked_file *tracked);

void free_tracked_file(struct tracked_file *tracked);

/* Scans the folder for the files of the path (scan.c): finds the current names of the known files, and adds the unknown
 * ones. Returns false when the state of a file cannot be trusted, and prints the reason. */
bool scan_folder(struct history *history);

/* Returns the file that is to be read next, or NULL. */
struct tracked_file *next_to_read(const struct history *history);

/* Returns the birth time of the next newer file, in ms since the Unix epoch; 0 when it is not known. */
int64_t successor_birth_ms(const struct tracked_file *tracked);

/* Marks as done the files that have ended for good and are final by now. When the run ends, also keeps which lines of
 * the other files need not be read again. Saves the history if that changed it. */
void finish_tracked_files(struct history *history, enum run_phase phase);

/* Saves the history if it has changed. */
void save_history(struct history *history);

void close_history(struct history *history);

/* Returns `memory`, or prints a message and exits when it is NULL: a history cannot continue without memory. */
void *require_memory(void *memory);

#endif
