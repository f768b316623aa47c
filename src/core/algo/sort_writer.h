/* What sort_writer.c and sort_room.c share; nobody else includes this. */
#ifndef LB_ALGO_SORT_WRITER_H
#define LB_ALGO_SORT_WRITER_H

#include "core/algo/sort_private.h"

enum {
    LB_SORT_MIN_CHUNK_BYTES = 4 * 1024,
    LB_SORT_PIECE_BYTES = 16 * 1024 /* the first piece of a chunk for one partition */
};

/* The free part of a stream's newest piece. */
struct lb_sort_stream {
    char *at;
    char *end;
    size_t next_bytes; /* of a piece, when there are several streams */
};

struct lb_sort_writer {
    /* configuration */
    struct lb_sorter *sorter;
    uint64_t flip; /* all ones when descending */
    bool has_partitions;
    bool has_sample;
    size_t max_chunk_bytes;
    size_t entry_bytes; /* of entry, scratch and partition number */
    uint64_t row_bytes; /* of all rows so far */
    /* state of the rows held */
    size_t n;       /* entries */
    bool preferred; /* the last one is to be sampled first */
    bool pending;   /* the last entry has no prefix yet */
    size_t depth;   /* of the prefixes: 1 while all keys begin with first_byte, else 0 */
    unsigned char first_byte;
    uint32_t same_key_size; /* UINT32_MAX: they differ */
    bool in_sequence;
    uint64_t last_sequence;
    struct lb_sort_stream *streams; /* one, or one per partition */
    uint32_t n_streams;             /* in use */
    uint32_t n_made;                /* allocated */
    char *free_at;                  /* what no stream has of the newest chunk */
    char *free_end;
    size_t next_chunk_bytes;
    /* resources */
    struct lb_sort_chunk *chunks; /* with rows, newest first */
    struct lb_sort_chunk *spare;  /* without, of at least the usual size when they were made */
    struct lb_sort_entry *entries;
    struct lb_sort_entry *scratch; /* made by the first sort */
    uint16_t *partitions;          /* of each entry; NULL when there is one partition */
    size_t capacity;               /* of entries and partitions */
    size_t scratch_capacity;
    size_t *slices;            /* number of rows of each partition; when sorted, their starts */
    size_t reserved;           /* bytes reserved in the budget */
    struct lb_sort_file *file; /* made by the first spill */
    struct lb_sort_run *runs;
    struct lb_sort_sample sample;
};

static inline size_t lb_sort_clamp(size_t value, size_t low, size_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* ---- sort_room.c ---- */

/* Reserves so many bytes, whatever the budget says; gives them back. */
void lb_sort_room_force(struct lb_sort_writer *writer, size_t bytes);
void lb_sort_room_release(struct lb_sort_writer *writer, size_t bytes);
/* Room for more entries; a stream's next piece, with room for a row of so many bytes. *full: there is none, so the rows
 * held should be spilled; a writer without rows is never full. */
lb_status lb_sort_room_entries(struct lb_sort_writer *writer, bool *full,
                               struct lb_error *err) LB_MUST_USE;
lb_status lb_sort_room_piece(struct lb_sort_writer *writer, struct lb_sort_stream *stream,
                             size_t row_bytes, bool *full, struct lb_error *err) LB_MUST_USE;
/* Frees the chunks without rows: memory that a large row needs more. */
void lb_sort_room_drop_spare(struct lb_sort_writer *writer);
/* Moves an array to a new capacity; 0 frees it. */
lb_status lb_sort_room_resize(void **array, size_t item_bytes, size_t from, size_t to,
                              struct lb_error *err) LB_MUST_USE;

#endif
