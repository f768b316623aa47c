/* What the operators of a hash join share: the build side as the sink join_build leaves it.
 *
 * IDEA   One side of a join, the build side, is collected by join_build. When it fits the memory, its table is shared read-only and the
 *        other side, the probe side, streams past it (hash_join); build rows that are to be given by themselves follow
 *        (scan.join_rest). When it does not fit, the sink says so (lb_op.overflowed), writes the rows to disk by key, and the plan takes
 *        another way: the probe side is sorted to them (join_probe, join_shuffle.h), each probe row meets its build rows
 *        (scan.join_match), and what comes out is sorted back to the place of the probe row (join_order, scan.join_ordered).
 * ORDER  Both ways give the same records in the same order, in the same morsels: those of the probe side in its order, for each in order of the
 *        build rows; then the build rows given by themselves in their order, LB_JOIN_REST_ROWS to a morsel. */
#ifndef LB_OPS_JOIN_BUILD_H
#define LB_OPS_JOIN_BUILD_H

#include <pthread.h>

#include "core/algo/join_table.h"
#include "core/io/spill.h"
#include "core/ops/metrics.h"
#include "core/ops/op.h"

#ifdef LB_TINY
enum { LB_JOIN_REST_ROWS = 20 };
#else
enum { LB_JOIN_REST_ROWS = 1 << 16 };
#endif

/* What becomes of a probe row. ORDER join kinds */
enum lb_join_kind {
    LB_JOIN_INNER, /* a record for each match */
    LB_JOIN_OUTER, /* and one without a build row where there is none */
    LB_JOIN_SEMI,  /* the row itself, when it has a match */
    LB_JOIN_ANTI,  /* the row itself, when it has none */
    LB_JOIN_NONE   /* nothing: it only marks build rows */
};

/* What becomes of the build rows by themselves. ORDER join rests */
enum lb_join_rest { LB_JOIN_REST_NONE, LB_JOIN_REST_UNMATCHED, LB_JOIN_REST_MATCHED };

/* The build rows of a large key, on disk: what many probe rows refer to. */
struct lb_join_group {
    struct lb_spill *spill; /* one of the build's */
    struct lb_frame *frames;
    uint32_t n_frames;
};

struct lb_join_build {
    /* configuration */
    uint32_t n_columns;
    uint32_t keys[LB_MAX_COLUMNS];
    uint32_t n_keys;
    enum lb_join_rest rest;
    size_t most_bytes; /* of memory for rows and index */
    bool spills;       /* never tries to fit */
    uint32_t
        n_partitions; /* the way by disk: of the sorter; whether it is cut; memory of a worker's rows */
    bool has_pieces;
    size_t worker_bytes;
    /* collecting */
    _Atomic bool overflowed;
    _Atomic size_t held_bytes; /* reserved for pieces */
    pthread_mutex_t lock;      /* guards pieces, sorter, morsel_rows, spills, groups */
    struct lb_join_rows **pieces;
    size_t n_pieces;
    /* the result */
    struct lb_join_table *table; /* NULL: it did not fit */
    _Atomic uint8_t *matched;    /* per row that is the first of its key; NULL without a rest */
    uint64_t n_rows;
    /* the way by disk */
    struct lb_sorter *sorter; /* of both sides; NULL: the table fits */
    struct lb_heat heat;
    uint64_t *morsel_rows; /* of the build side: how many, then the number of the first */
    size_t n_morsels;
    _Atomic uint64_t n_probe_morsels;
    uint32_t n_probe_columns; /* in the sorter's rows */
    struct lb_spill **spills_list;
    size_t n_spills;
    struct lb_join_group *groups;
    size_t n_groups;
};

/* The shared state of input i, which must be a join_build. */
lb_status lb_join_build_of(const struct lb_op *op, uint32_t i, struct lb_join_build **build,
                           struct lb_error *err) LB_MUST_USE;
/* Morsels that the build rows by themselves make. */
uint64_t lb_join_rest_morsels(const struct lb_join_build *build);

/* A column of a joined record: 1-based columns of both sides, 0: none. Records with a probe row take `probe`, or nil; those
 * without one `build`. */
struct lb_join_output {
    uint32_t probe, build;
};
struct lb_join_outputs {
    struct lb_join_output items[LB_MAX_COLUMNS];
    uint32_t n;
};
/* The parameter outputs: a list of {probe?, build?}. */
lb_status lb_join_param_outputs(const struct lb_op *op, struct lb_join_outputs *outputs,
                                struct lb_error *err) LB_MUST_USE;
lb_status lb_join_param_kind(const struct lb_op *op, enum lb_join_kind *kind,
                             struct lb_error *err) LB_MUST_USE;

#endif
