/* Which splits of CSV files begin inside quotes.
 *
 * IDEA    Whether a split begins inside quotes is the parity of all quotes before it. The worker of a split counts the quotes in
 *         it and posts their parity, then waits for those of the splits before.
 * STATES  frontier = number of the first split whose parity is not posted; splits up to it know whether they begin inside
 *         quotes. Splits of all files are numbered in the order of their claims.
 * THREADS `lock` guards all. A split is claimed only after those before it, and whoever claimed one posts before it waits:
 *         nobody waits for good. */
#ifndef LB_OPS_CSV_QUOTES_H
#define LB_OPS_CSV_QUOTES_H

#include <pthread.h>

#include "core/ops/op.h"

struct lb_csv_split;

struct lb_csv_quotes {
    pthread_mutex_t lock;
    pthread_cond_t posted;
    struct lb_csv_split *splits;
    size_t n_splits, capacity;
    size_t frontier;
};

void lb_csv_quotes_init(struct lb_csv_quotes *quotes);
void lb_csv_quotes_fini(struct lb_csv_quotes *quotes);
/* A further split; the numbers go 0, 1, 2 ... is_first: of its file. */
lb_status lb_csv_quotes_add(struct lb_csv_quotes *quotes, bool is_first,
                            struct lb_error *err) LB_MUST_USE;
/* The parity of the quotes in a split. */
void lb_csv_quotes_post(struct lb_csv_quotes *quotes, size_t number, unsigned parity);
/* Waits until it is known whether the split begins inside quotes. Gives up with LB_ERR_CANCELLED when the run stops, with
 * LB_ENOUGH when the stage's sink has enough: a split before may have been left out then. */
lb_status lb_csv_quotes_wait(struct lb_csv_quotes *quotes, size_t number,
                             const struct lb_op_local *local, bool *is_inside,
                             struct lb_error *err) LB_MUST_USE;

#endif
