/* What the files of the sorter share; nobody else includes this.
 *
 *   sort_entries.c  orders entries in memory
 *   sort_run.c      runs: sorted rows in memory or on disk, and where a range of one begins and ends
 *   sort_sample.c   bottom-k samples and the splitters made from them
 *   sort_merge.c    cursors: the loser tree over the runs of a range
 *   sort_pieces.c   cuts large partitions into pieces
 *   sort_writer.c   writers: collect rows, sort, spill; sort_room.c is their memory
 *   sorter.c        the sorter itself: configuration, list of runs, prepare */
#ifndef LB_ALGO_SORT_PRIVATE_H
#define LB_ALGO_SORT_PRIVATE_H

#include <pthread.h>

#include "core/algo/sorter.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/io/spill.h"

enum {
    LB_SORT_SLACK = 8,        /* readable bytes behind the last row of any row memory: see key_word
                                */
    LB_SORT_COMMON = 64,      /* how much of a first key an index remembers */
    LB_SORT_SAMPLE_KEY = 256, /* longest splitter; a longer key is cut */
#ifdef LB_TINY
    LB_SORT_SAMPLES = 16,
    LB_SORT_RANGE_ROWS = 8,  /* fewer rows are no range of their own */
    LB_SORT_CHECK_ROWS = 16, /* rows between two looks at `stop` */
#else
    LB_SORT_SAMPLES = 1024,
    LB_SORT_RANGE_ROWS = 4096,
    LB_SORT_CHECK_ROWS = 4096,
#endif
};

/* Bytes a row takes in memory and in frames: its head and bytes, rounded up to 8. */
static inline size_t lb_sort_row_bytes(const struct lb_sort_row *row)
{
    return (sizeof *row + (size_t)row->key_size + row->payload_size + 7) & ~(size_t)7;
}

static inline bool lb_sort_stopped(const struct lb_sorter_config *config)
{
    return config->stop != NULL && atomic_load_explicit(config->stop, memory_order_relaxed) != 0;
}

/* ---- sort_entries.c ---- */

/* A row's place in the order: 8 bytes of its key as a number (complemented when descending), so
 * that most comparisons need not touch the row. */
struct lb_sort_entry {
    uint64_t prefix;
    struct lb_sort_row *row;
};

struct lb_sort_order {
    bool descending;
    bool in_sequence;        /* entries arrive by ascending sequence number */
    uint32_t same_key_size;  /* size of all keys, or UINT32_MAX when they differ */
    const _Atomic int *stop; /* may be NULL */
};

/* Key bytes depth..depth+7 as a big-endian number, zeros behind the key's end; depth <= key_size.
 * May read, but never uses, up to LB_SORT_SLACK bytes behind the row. */
static inline uint64_t lb_sort_key_word(const struct lb_sort_row *row, size_t depth)
{
    size_t rest = row->key_size - depth;
    uint64_t word;
    if (rest == 0)
        return 0;
    memcpy(&word, row->bytes + depth, sizeof word);
    word = __builtin_bswap64(word);
    if (rest < 8)
        word &= ~(uint64_t)0 << (8 * (8 - rest));
    return word;
}

/* The order of two rows of one partition whose keys agree in the first `depth` bytes. */
static inline int lb_sort_compare(const struct lb_sort_row *a, const struct lb_sort_row *b,
                                  size_t depth, bool descending)
{
    int order = lb_key_compare(a->bytes + depth, a->key_size - depth, b->bytes + depth,
                               b->key_size - depth);
    if (order != 0)
        return descending ? -order : order;
    return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

/* Sorts entries of one partition by (key, sequence). Their prefixes are those at `depth`, where all
 * keys agree in the bytes before; they are the same afterwards. scratch has room for n. */
lb_status lb_sort_entries(struct lb_sort_entry *entries, struct lb_sort_entry *scratch, size_t n,
                          size_t depth, const struct lb_sort_order *order,
                          struct lb_error *err) LB_MUST_USE;

/* ---- sort_run.c ---- */

/* Row memory: a header, then rows back to back. */
struct lb_sort_chunk {
    struct lb_sort_chunk *next;
    size_t bytes; /* of the whole allocation */
    _Alignas(16) char rows[];
};

void lb_sort_chunks_free(struct lb_sort_chunk *chunks);

/* A spill file that lives as long as one run in it. */
struct lb_sort_file {
    struct lb_spill *spill;
    _Atomic uint32_t n_refs;
};

lb_status lb_sort_file_new(const struct lb_sorter_config *config, struct lb_sort_file **file,
                           struct lb_error *err) LB_MUST_USE;
void lb_sort_file_unref(struct lb_sort_file *file); /* NULL allowed */

/* A frame of a spilled run and its first row. */
struct lb_sort_frame {
    struct lb_frame at;
    uint32_t rows_bytes; /* of its rows unpacked; 0: it is one row as it is in memory */
    uint32_t first_partition;
    uint32_t last_partition;
    uint64_t sequence;
    uint32_t key_size; /* of the bytes that ranges compare; `key` holds the first of them */
    char key[LB_SORT_COMMON];
};

/* Sorted rows. */
struct lb_sort_run {
    struct lb_sort_run *next;
    uint64_t n_rows;
    uint32_t common_size; /* all keys begin with these bytes; at most LB_SORT_COMMON are known */
    char common[LB_SORT_COMMON];
    /* in memory: */
    struct lb_sort_entry *entries;
    size_t capacity; /* of entries */
    size_t *slices;  /* partition p is entries[slices[p]] .. entries[slices[p + 1]] */
    uint32_t n_partitions;
    size_t prefix_depth; /* of the entries' prefixes */
    struct lb_sort_chunk *chunks;
    struct lb_budget *budget;
    size_t reserved; /* given back when the run goes */
    /* on disk: */
    struct lb_sort_file *file; /* NULL: in memory */
    struct lb_sort_frame *frames;
    uint32_t n_frames;
    uint32_t frames_capacity;
};

struct lb_sort_run *lb_sort_run_new(void);        /* NULL when out of memory */
void lb_sort_run_delete(struct lb_sort_run *run); /* NULL allowed */
/* Cuts the run's common bytes to those that the row's key begins with too; the first row sets them.
 * */
void lb_sort_run_common(struct lb_sort_run *run, const struct lb_sort_row *row, bool first);

/* Where a range begins or ends: at the first row not before the bound. A range lies within one partition. */
struct lb_sort_bound {
    uint32_t partition;
    bool by_key; /* else the partition alone counts */
    uint32_t key_size;
    uint64_t sequence; /* counts only with split_keys */
    char *key;
};

/* True when the row comes before the bound. */
bool lb_sort_before(const struct lb_sorter_config *config, const struct lb_sort_row *row,
                    const struct lb_sort_bound *bound);
/* The entries, or the frames that may hold rows, of [low, high); NULL is open. *first_sure: from
 * which frame on no row needs a look at `low`; *last_sure: before which frame none needs a look at
 * `high`. */
void lb_sort_run_entries(const struct lb_sorter_config *config, const struct lb_sort_run *run,
                         const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                         size_t *first, size_t *last);
void lb_sort_run_frames(const struct lb_sorter_config *config, const struct lb_sort_run *run,
                        const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                        uint32_t *first, uint32_t *last, uint32_t *first_sure, uint32_t *last_sure);

/* Makes a spilled run of rows that come in order.
 * CALLS init, (add)*, finish; fini also after failures. */
struct lb_sort_run_writer {
    struct lb_sorter *sorter;
    struct lb_sort_run *run;
    char *frame;
    size_t frame_bytes;            /* of the rows of a usual frame, unpacked */
    size_t used;                   /* of them */
    char *at;                      /* where the next packed row goes */
    struct lb_sort_row last;       /* the row before: what is the same is not written again */
    char last_key[LB_SORT_COMMON]; /* how its key begins */
    uint32_t last_known;           /* bytes of it there */
    struct lb_sort_frame head;     /* of the frame being filled */
};

lb_status lb_sort_run_writer_init(struct lb_sort_run_writer *writer, struct lb_sorter *sorter,
                                  struct lb_sort_file *file, struct lb_error *err) LB_MUST_USE;
lb_status lb_sort_run_writer_add(struct lb_sort_run_writer *writer, const struct lb_sort_row *row,
                                 struct lb_error *err) LB_MUST_USE;
/* Ends the run and returns it; NULL when it has no rows. */
lb_status lb_sort_run_writer_finish(struct lb_sort_run_writer *writer, struct lb_sort_run **run,
                                    struct lb_error *err) LB_MUST_USE;
void lb_sort_run_writer_fini(struct lb_sort_run_writer *writer);

/* The rows of a frame, from how they are packed to how they are in memory: rows_bytes at `rows`. */
void lb_sort_frame_unpack(const char *packed, char *rows, size_t rows_bytes);

/* ---- sort_sample.c ---- */

struct lb_sort_sampled {
    uint64_t hash;
    uint64_t sequence;
    uint32_t partition;
    uint32_t group_size; /* not cut */
    uint32_t key_size;   /* cut to LB_SORT_SAMPLE_KEY */
    char *key;
};

/* The rows with the smallest hashes so far. */
struct lb_sort_sample {
    struct lb_sort_sampled *items; /* 2 * LB_SORT_SAMPLES, allocated with the first */
    size_t n;
    uint64_t limit; /* no larger hash can belong to the sample any more */
};

void lb_sort_sample_init(struct lb_sort_sample *sample);
void lb_sort_sample_fini(struct lb_sort_sample *sample);
/* Call only for rows with a hash up to sample->limit. Copies the first key_size bytes of the key. */
lb_status lb_sort_sample_add(struct lb_sort_sample *sample, uint64_t hash,
                             const struct lb_sort_row *row, size_t key_size,
                             struct lb_error *err) LB_MUST_USE;
/* Leaves the sample itself, in the order of rows. */
void lb_sort_sample_order(struct lb_sort_sample *sample, const struct lb_sorter_config *config);
/* Moves what `from` has into `sample`. */
lb_status lb_sort_sample_merge(struct lb_sort_sample *sample, struct lb_sort_sample *from,
                               struct lb_error *err) LB_MUST_USE;
/* At most n_ranges - 1 ascending bounds. */
lb_status lb_sort_sample_split(struct lb_sort_sample *sample, const struct lb_sorter_config *config,
                               uint32_t n_ranges, struct lb_sort_bound **bounds, uint32_t *n_bounds,
                               struct lb_error *err) LB_MUST_USE;

/* ---- sort_writer.c and sorter.c ---- */

/* Takes a writer's runs and sample into the sorter. Thread-safe. */
lb_status lb_sorter_take(struct lb_sorter *sorter, struct lb_sort_run *runs,
                         struct lb_sort_sample *sample, struct lb_error *err) LB_MUST_USE;

struct lb_sorter {
    struct lb_sorter_config config; /* with its own copy of the place's name */
    size_t frame_bytes;             /* raw size of a usual frame */
    uint32_t fan_in;                /* spilled runs that one cursor may read */
    uint32_t prepare_fan_in;        /* the same for prepare, which has all of merge_bytes */
    _Atomic uint64_t spilled_bytes;
    _Atomic uint64_t row_bytes;       /* of all rows */
    _Atomic uint64_t *partition_rows; /* of each partition */
    pthread_mutex_t lock;             /* guards the fields below until prepare */
    struct lb_sort_run *runs;
    uint32_t n_spilled; /* runs on disk */
    uint64_t n_rows;
    struct lb_sort_sample sample;
    /* set by prepare: */
    struct lb_sort_bound *bounds; /* between the ranges when n_partitions == 1 */
    uint32_t n_bounds;
};

/* The bytes of a key that ranges look at: equal ones are not parted, unless split_keys allows it.
 * */
static inline uint32_t lb_sort_range_size(const struct lb_sorter_config *config,
                                          const struct lb_sort_row *row)
{
    return config->split_keys ? row->key_size : row->group_size;
}

/* ---- sort_merge.c ---- */

/* A cursor over some runs only (a list through `next`); low and high may be NULL. */
lb_status lb_sort_cursor_open(struct lb_sorter *sorter, const struct lb_sort_run *runs,
                              const struct lb_sort_bound *low, const struct lb_sort_bound *high,
                              struct lb_sort_cursor **cursor, struct lb_error *err) LB_MUST_USE;

#endif
