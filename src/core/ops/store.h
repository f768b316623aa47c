/* A store keeps records in order: the result of collect, cache and of everything that reads its input
 * twice. Records are encoded rows in chunks, listed by morsel; over budget, chunks go to a spill file.
 *
 * CALLS   lb_store_new; per worker: writer_new, (begin, (add)*, end)* per morsel, writer_delete [parallel];
 *         seal [one thread]; then read chunks, in parallel. ref/unref share it (thread-safe).
 * FORMAT  chunk = rows; row = u32 number of columns, then that many codec values. */
#ifndef LB_OPS_STORE_H
#define LB_OPS_STORE_H

#include "core/base/budget.h"
#include "core/base/buf.h"
#include "core/column/batch.h"
#include "core/io/spill.h"

struct lb_store;
struct lb_store_writer;

lb_status lb_store_new(struct lb_budget *budget, const struct lb_spill_place *place,
                       struct lb_store **store, struct lb_error *err) LB_MUST_USE;
struct lb_store *lb_store_ref(struct lb_store *store);
void lb_store_unref(struct lb_store *store); /* NULL allowed */

lb_status lb_store_writer_new(struct lb_store *store, struct lb_store_writer **writer,
                              struct lb_error *err) LB_MUST_USE;
lb_status lb_store_begin(struct lb_store_writer *writer, uint64_t morsel,
                         struct lb_error *err) LB_MUST_USE;
lb_status lb_store_add(struct lb_store_writer *writer, const struct lb_batch *batch,
                       struct lb_error *err) LB_MUST_USE;
lb_status lb_store_end(struct lb_store_writer *writer, struct lb_error *err) LB_MUST_USE;
void lb_store_writer_delete(struct lb_store_writer *writer);
/* Rows of the morsels 0..m that have all ended: what no later morsel can push away. Thread-safe. */
uint64_t lb_store_settled_rows(struct lb_store *store);

/* limit: rows beyond the first `limit` in order do not count any more (UINT64_MAX: all). */
lb_status lb_store_seal(struct lb_store *store, uint64_t limit, struct lb_error *err) LB_MUST_USE;
/* After seal: the morsel that completes the first `limit` rows; UINT64_MAX: there are not so many. */
uint64_t lb_store_last_morsel(const struct lb_store *store, uint64_t limit);
uint64_t lb_store_n_rows(const struct lb_store *store);
uint64_t lb_store_spilled_bytes(const struct lb_store *store);
/* Whether a chunk could not be read back: then its records must be computed again. */
bool lb_store_is_damaged(const struct lb_store *store);
uint32_t lb_store_n_chunks(const struct lb_store *store);
/* Rows of chunk i that count, and the number of the first of them in the whole store. */
void lb_store_chunk(const struct lb_store *store, uint32_t i, uint32_t *n_rows,
                    uint64_t *first_row);
/* The bytes of chunk i: in memory, or read into scratch. */
lb_status lb_store_read(struct lb_store *store, uint32_t i, struct lb_buf *scratch,
                        const char **data, size_t *size, struct lb_error *err) LB_MUST_USE;

struct lb_op;
/* A sink whose result is a store begins its shared state with this. */
struct lb_store_result {
    struct lb_store *store;
};
/* Of a store or top operator: its sealed store; borrowed until the operator is closed. */
struct lb_store *lb_store_of_sink(const struct lb_op *sink);

#endif
