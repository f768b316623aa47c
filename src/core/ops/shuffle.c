/* Sorters of sinks: see shuffle.h. */
#include "core/ops/shuffle.h"

#include "core/ops/context.h"

enum { MOST_PARTITIONS = 65535 };

lb_status lb_shuffle_partitions(const struct lb_op *op, uint32_t *n_partitions,
                                struct lb_error *err)
{
    int64_t n = 1;
    LB_TRY(lb_param_int(op, "partitions", 1, &n, err));
    if (n < 1 || n > MOST_PARTITIONS)
        return lb_error_set(err, LB_ERR_USAGE, "%s: %lld partitions (1 to %d are possible)",
                            op->label, (long long)n, MOST_PARTITIONS);
    *n_partitions = (uint32_t)n;
    return LB_OK;
}

lb_status lb_shuffle_new(const struct lb_op *op, const struct lb_sorter_config *shape,
                         struct lb_sorter **sorter, struct lb_error *err)
{
    struct lb_sorter_config config = *shape;
    struct lb_run *run = op->run;
    config.n_workers = run->options.n_threads;
    if (config.merge_bytes == 0)
        config.merge_bytes = lb_run_worker_bytes(run) / 2 * run->options.n_threads;
    config.spill = run->spill;
    config.budget = run->budget;
    config.stop = &run->stop;
    return lb_sorter_new(&config, sorter, err);
}

void lb_shuffle_delete(const struct lb_op *op, struct lb_sorter *sorter)
{
    if (sorter != NULL)
        atomic_fetch_add(&op->run->spilled_bytes, lb_sorter_spilled_bytes(sorter));
    lb_sorter_delete(sorter);
}
