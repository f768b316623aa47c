/* Salted reductions: partial states of groups on their way from one aggregating sink to another.
 *
 * IDEA   Of sink A (parameter `pieces`) the rows of one group can be cut into pieces; the source over it (parameter
 *        `partials`) merges each piece by itself, in parallel, and gives what comes out as records of two strings:
 *        the group's sort key and the payload of a row. Sink B (parameter `merges`) is the same operator; it
 *        takes them as rows, and the source over it merges what is left. So there are as many merges of one key at a time as it has
 *        pieces, and order, partitions and results are those of one sink alone: pieces come one after the other.
 * FORMAT The rows of A have a byte FF behind the group's part of the key, as algo/sort_pieces.h wants it. */
#ifndef LB_OPS_PARTIALS_H
#define LB_OPS_PARTIALS_H

#include "core/algo/sorter.h"
#include "core/column/builder.h"
#include "core/ops/metrics.h"

/* A row of a group: payload_size bytes are to be filled in at *payload. heat: of a sink with `pieces`, else NULL; a
 * group of which it knows that it has many records is one whose states the sample will show. */
lb_status lb_partials_add(struct lb_sort_writer *writer, uint32_t n_partitions, uint64_t sequence,
                          const struct lb_buf *key, size_t payload_size,
                          const struct lb_heat_local *heat, char **payload, const struct lb_op *op,
                          struct lb_error *err) LB_MUST_USE;
/* Takes the records of a source with `partials`; *sequence is that of the first, and counted on. */
lb_status lb_partials_take(struct lb_sort_writer *writer, uint32_t n_partitions, uint64_t *sequence,
                           const struct lb_batch *batch, const struct lb_op *op,
                           struct lb_error *err) LB_MUST_USE;
/* Appends such a record. */
lb_status lb_partials_put(struct lb_batch_builder *builder, const struct lb_buf *key,
                          const struct lb_buf *payload, struct lb_error *err) LB_MUST_USE;

#endif
