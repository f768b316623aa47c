/* Typed expressions over batches: what SQL strings of the Lua API become.
 *
 * CALLS   lb_expr_new, then for each thread lb_expr_state_new, then eval or filter for each batch. The expression
 *         itself never changes and is shared by threads; a state belongs to one thread.
 * FORMAT  a program is a codec map (column/codec.h)
 *           text   what the user wrote, for messages
 *           steps  list; a step is a list { class, from, to, argument... }: its class's name, which bytes of text
 *                  it stands for (1-based, both included; 0, 0: not known), and
 *                    "column":  a 1-based column number; a column beyond a batch's last is NULL
 *                    "literal": nil, boolean, number or string
 *                    others:    numbers of earlier steps
 *         The last step is the result. The steps are a tree: each but the last is the argument of exactly one other.
 * TYPES   are those of the values at hand. The type of a column may change from batch to batch, so each class
 *         takes the kernel that fits the columns of this batch, and without one goes value by value (`any` columns
 *         always do). Both give the same: whether an expression fails never depends on how a column happens to be stored.
 * MEANING SQL's three-valued logic; nil is NULL. An argument of and, or, case, coalesce is evaluated only for rows
 *         where those before it do not decide. Integers and floats compare exactly, NaN equals itself and is above
 *         every number, as in sorting. Comparing values of different types, integer overflow and a failed cast are errors.
 *         A zero divisor gives NULL. */
#ifndef LB_EXPR_EXPR_H
#define LB_EXPR_EXPR_H

#include "core/column/batch.h"
#include "core/column/codec.h"

struct lb_expr;
struct lb_expr_state;

/* Checks a program and makes it ready. Borrows the program's bytes until lb_expr_delete. A malformed program is
 * LB_ERR_INTERNAL. */
lb_status lb_expr_new(const struct lb_value *program, struct lb_expr **expr,
                      struct lb_error *err) LB_MUST_USE;
void lb_expr_delete(struct lb_expr *expr); /* NULL is allowed */

/* One thread's memory for evaluating; shares the expression, which must outlive it. */
lb_status lb_expr_state_new(const struct lb_expr *expr, struct lb_expr_state **state,
                            struct lb_error *err) LB_MUST_USE;
void lb_expr_state_delete(struct lb_expr_state *state); /* NULL is allowed */
/* From now on evaluation looks at *stop before what may take long; non-zero: it ends with LB_ERR_CANCELLED. Borrows. */
void lb_expr_state_watch(struct lb_expr_state *state, const _Atomic int *stop);

/* The expression's value for every selected row of the batch (in the other rows anything, but well formed).
 * *result borrows from state and batch until the next call on state or the end of the batch. What a value makes
 * fail is LB_ERR_USER: the message quotes the text, the part at fault, the values and the record. */
lb_status lb_expr_eval(struct lb_expr_state *state, const struct lb_batch *batch,
                       struct lb_column *result, struct lb_error *err) LB_MUST_USE;

/* Whether the last evaluation failed (LB_ERR_RESOURCE) because the values of several rows are too large to be held at once: fewer
 * rows may go well. */
bool lb_expr_state_too_much(const struct lb_expr_state *state);

/* Whether a regular expression and its flags are well formed; LB_ERR_USER says what is wrong, *at which byte of the pattern is
 * at fault (1-based, 0: none). */
lb_status lb_expr_check_regexp(const char *pattern, size_t size, const char *flags,
                               size_t flags_size, size_t *at, struct lb_error *err) LB_MUST_USE;

/* The selected rows for which the expression is true, in order. select has room for batch->n_selected rows. A value
 * that is neither boolean nor NULL is an error. */
lb_status lb_expr_filter(struct lb_expr_state *state, const struct lb_batch *batch,
                         uint32_t *select, uint32_t *n_selected, struct lb_error *err) LB_MUST_USE;

/* An ISO 8601 time as seconds since 1970 and the fraction of a second; false: it is none. */
bool lb_time_seconds(const char *data, size_t size, int64_t *seconds, double *fraction);

#endif
