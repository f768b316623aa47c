/* Worker host state and memory shares. */
#include "core/ops/context.h"

#include "core/column/batch.h"

#ifdef LB_TINY
enum { LEAST_BYTES = 16 << 10, MOST_BYTES = 32 << 10 };
#else
enum { LEAST_BYTES = 1 << 20 };
static const size_t MOST_BYTES = (size_t)1 << 40;
#endif

lb_status lb_worker_host(struct lb_worker *worker, void **host_state, struct lb_error *err)
{
    struct lb_host *host = &worker->run->options.host;
    if (__builtin_expect(worker->host_state == NULL, 0)) {
        if (host->worker_start == NULL)
            return lb_error_set(err, LB_ERR_INTERNAL, "this run has no host for user functions");
        void *started = NULL;
        LB_TRY(host->worker_start(worker, &started, err));
        /* Released to the thread that may interrupt this worker. */
        __atomic_store_n(&worker->host_state, started, __ATOMIC_RELEASE);
    }
    *host_state = worker->host_state;
    return LB_OK;
}

size_t lb_run_worker_bytes(const struct lb_run *run)
{
    size_t limit = run->options.memory_bytes;
    size_t used = atomic_load(&run->budget->used_bytes);
    size_t left = used < limit ? limit - used : 0;
    /* The rest is for read and write buffers, merges and the Lua heaps. */
    size_t share = left / 10 * 6 / run->options.n_threads;
    if (share < LEAST_BYTES)
        share = LEAST_BYTES;
    return share > MOST_BYTES ? (size_t)MOST_BYTES : share;
}
