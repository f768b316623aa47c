/* Pieces of a prepared sorter's partitions, so that several workers can read one large partition at once.
 *
 * CALLS  lb_sort_pieces_new (after lb_sorter_prepare; config.has_pieces and split_keys were set); then
 *        cursors, in any order, in parallel; lb_sort_pieces_delete before the sorter goes.
 * IDEA   The pieces of a partition, one after the other, are the partition: reading them in order gives what reading
 *        the range gave. Where they are cut depends on the rows alone (their number and the sample of
 *        sorter.h), never on threads or memory. A partition is large when it has more than four times a 64th
 *        of all rows; then it is cut into pieces of about a 64th, at the borders of groups.
 * INSIDE With `inside` a group may be cut, too. It consists of a head, rows that the byte behind the group's
 *        part of the key tells to come first, and a tail, those where this byte is 255; every piece that
 *        stands within the group needs all of the head, which lb_sort_pieces_head reads. A group with few
 *        tail rows and a large head is cut the other way round: a piece is one row of the tail, which
 *        lb_sort_pieces_head gives, with a part of the head (`turned`). So for both a piece is to combine
 *        each row of its head with each of its own, and nothing is read by two that both would give. */
#ifndef LB_ALGO_SORT_PIECES_H
#define LB_ALGO_SORT_PIECES_H

#include "core/algo/sorter.h"
#include "core/base/arena.h"

enum { LB_SORT_AS_FOUND = UINT32_MAX };

struct lb_sort_pieces_config {
    bool between;  /* cut large partitions at the borders of groups */
    bool inside;   /* groups may be cut */
    bool turned;   /* so may their heads */
    bool headless; /* groups have a tail only; their keys need not be prefix-free then */
    /* Into how many pieces the group is to be cut: 0 or 1: it is not; LB_SORT_AS_FOUND: by its size. NULL: all by their
     * size. */
    lb_status (*ask)(void *context, const char *group, uint32_t group_size, uint32_t *n_pieces,
                     struct lb_error *err);
    void *context;
};

struct lb_sort_bound;

/* A group that was cut. */
struct lb_sort_split {
    const char *group; /* the group's part of the key */
    uint32_t group_size;
    uint32_t n_pieces;
    _Atomic uint64_t n_rows; /* the reader adds those of pieces with `counts` */
};

struct lb_sort_piece {
    uint32_t partition;
    bool is_last; /* of its partition */
    bool
        begins; /* within a group: the rows of the group's head are to be had from lb_sort_pieces_head */
    bool ends;     /* within a group, which goes on in the next piece */
    bool turned;   /* see INSIDE; begins and ends are set too */
    bool is_alone; /* turned: there is no tail row */
    bool counts;   /* its rows of the split group are of no other piece */
    uint32_t
        split; /* of the group that it begins or ends within. One that ends within a group has rows of no other */
    const struct lb_sort_bound *low, *high;
    const struct lb_sort_bound *head_low, *head_high;
};

struct lb_sort_pieces {
    struct lb_sorter *sorter;
    struct lb_sort_piece *items;
    uint32_t n, capacity;
    struct lb_sort_split *splits;
    uint32_t n_splits, splits_capacity;
    struct lb_arena arena; /* what bounds and keys lie in */
};

lb_status lb_sort_pieces_new(struct lb_sorter *sorter, const struct lb_sort_pieces_config *config,
                             struct lb_sort_pieces **pieces, struct lb_error *err) LB_MUST_USE;
void lb_sort_pieces_delete(struct lb_sort_pieces *pieces); /* NULL allowed */

/* The rows of a piece. */
lb_status lb_sort_pieces_cursor(const struct lb_sort_pieces *pieces, uint32_t i,
                                struct lb_sort_cursor **cursor, struct lb_error *err) LB_MUST_USE;
/* The rows that a piece with `begins` is to be read with. */
lb_status lb_sort_pieces_head(const struct lb_sort_pieces *pieces, uint32_t i,
                              struct lb_sort_cursor **cursor, struct lb_error *err) LB_MUST_USE;

#endif
