/* The hash table of a worker for keys of short strings and integers, of one column or several: numbers the groups of a batch.
 *
 * CALLS  init; (find* reset | list reset)*; fini. After find and list: words. Reset the records too.
 * IDEA   A key is a few words, made a column at a time; the table has 8 bytes a slot (hash and group), and the words of a group lie at
 *        the head of its record (group_records.h). A batch is packed, hashed and its slots called into the cache; then the records
 *        of the groups that they name; only then keys are compared. So a random group costs two cache lines or three, asked for in time.
 * WORDS  of an integer: one, its sign bit turned; of a string of up to 7 bytes: these, first byte highest, and the size in the
 *        lowest byte; of one of up to 12 bytes: two, the bytes and the size likewise. So words order as the values do.
 * LAYOUT Which words a key has is fixed while there are groups. It only ever widens, by a reset in between.
 * THREADS none: one table belongs to one worker. */
#ifndef LB_ALGO_PACKED_TABLE_H
#define LB_ALGO_PACKED_TABLE_H

#include "core/algo/group_records.h"

enum { LB_PACKED_COLUMNS = 16, LB_PACKED_WORDS = 24 };

enum lb_packed_kind { LB_PACKED_INT, LB_PACKED_SHORT, LB_PACKED_TEXT };

/* What became of a batch. */
enum lb_packed_result {
    LB_PACKED_FOUND,
    LB_PACKED_WIDER, /* nothing was done: reset, then find again */
    LB_PACKED_OTHER /* nothing was done: these keys cannot be packed (nils, other types, long strings) */
};

struct lb_packed_slot {
    uint32_t hash;
    uint32_t group; /* plus one; 0: free */
};

struct lb_packed_table {
    /* layout */
    uint8_t kinds[LB_PACKED_COLUMNS]; /* enum lb_packed_kind */
    uint32_t n_columns;               /* 0: no batch came yet */
    uint32_t width;                   /* words of a key */
    /* groups */
    struct lb_packed_slot *slots;
    size_t n_slots;                   /* a power of two */
    size_t n_groups;                  /* those in this table */
    bool is_list;                     /* and none of them in slots */
    struct lb_group_records *records; /* borrowed; those of numbers given by others have no words */
    /* of a batch */
    uint64_t *packed;   /* LB_BATCH_ROWS * width */
    uint32_t *hashes;   /* LB_BATCH_ROWS */
    uint32_t *expected; /* likewise */
};

lb_status lb_packed_table_init(struct lb_packed_table *table, struct lb_group_records *records,
                               struct lb_error *err) LB_MUST_USE;
void lb_packed_table_fini(struct lb_packed_table *table);
/* Forgets all groups; keeps at most keep_bytes of memory. */
void lb_packed_table_reset(struct lb_packed_table *table, size_t keep_bytes);
/* Bytes it would hold after growing for one more batch, without the records. */
size_t lb_packed_table_next_bytes(const struct lb_packed_table *table);

/* The groups of the selected rows by n key columns; new ones take numbers from *n_numbers on (those given so far, by
 * whomever), and their records are in use. */
lb_status lb_packed_table_find(struct lb_packed_table *table, const struct lb_batch *batch,
                               const uint32_t *columns, uint32_t n, size_t *n_numbers,
                               uint32_t *groups, enum lb_packed_result *result,
                               struct lb_error *err) LB_MUST_USE;

/* Of an empty table: makes each row a group, without a look for equal keys; reset comes next. */
lb_status lb_packed_table_list(struct lb_packed_table *table, const struct lb_batch *batch,
                               const uint32_t *columns, uint32_t n, size_t *n_numbers,
                               uint32_t *groups, enum lb_packed_result *result,
                               struct lb_error *err) LB_MUST_USE;

/* The words of a group that find or list has given. */
static inline const uint64_t *lb_packed_words(const struct lb_packed_table *table, size_t group)
{
    return (const uint64_t *)(const void *)lb_group_record(table->records, group);
}

/* The words of a kind. */
static inline uint32_t lb_packed_width(enum lb_packed_kind kind)
{
    return kind == LB_PACKED_TEXT ? 2 : 1;
}

/* A string's bytes, at most 12; returns its size. */
static inline uint32_t lb_packed_string(enum lb_packed_kind kind, const uint64_t *words,
                                        char bytes[16])
{
    uint64_t head = kind == LB_PACKED_SHORT ? words[0] & ~(uint64_t)255 : words[0];
    head = __builtin_bswap64(head);
    memcpy(bytes, &head, 8);
    if (kind == LB_PACKED_SHORT)
        return (uint32_t)words[0] & 255;
    uint64_t tail = __builtin_bswap64(words[1] & ~(uint64_t)255);
    memcpy(bytes + 8, &tail, 8);
    return (uint32_t)words[1] & 255;
}

static inline int64_t lb_packed_int(uint64_t word)
{
    return (int64_t)(word ^ 0x8000000000000000ULL);
}

#endif
