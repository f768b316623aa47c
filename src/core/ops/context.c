/* Worker host state and memory shares. */
#include "core/ops/context.h"

#include <pthread.h>

#include "core/base/sys.h"
#include "core/column/batch.h"
#include "core/io/output.h"

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

static pthread_mutex_t skip_lock =
    PTHREAD_MUTEX_INITIALIZER; /* of what runs keep of skipped records */

bool lb_run_skip(struct lb_worker *worker, uint64_t n)
{
    struct lb_run *run = worker->run;
    pthread_mutex_lock(&skip_lock);
    atomic_fetch_add(&run->n_skipped, n);
    bool wanted = run->first_skipped.status == LB_OK || worker->morsel < run->skipped_morsel;
    pthread_mutex_unlock(&skip_lock);
    return wanted;
}

void lb_run_keep_skipped(struct lb_worker *worker, const struct lb_error *first)
{
    struct lb_run *run = worker->run;
    pthread_mutex_lock(&skip_lock);
    if (run->first_skipped.status == LB_OK || worker->morsel < run->skipped_morsel) {
        run->skipped_morsel = worker->morsel;
        run->first_skipped = *first;
    }
    pthread_mutex_unlock(&skip_lock);
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

struct lb_output_at_end {
    char *path;
    struct lb_output *output;
    struct lb_output_at_end *next;
};

lb_status lb_run_output(struct lb_run *run, const char *path, struct lb_output **output,
                        struct lb_error *err)
{
    struct lb_output_at_end **last = &run->at_end;
    for (; *last != NULL; last = &(*last)->next) {
        if (strcmp((*last)->path, path) == 0) {
            *output = (*last)->output;
            return LB_OK;
        }
    }
    struct lb_output_at_end *made = lb_alloc_zero(sizeof *made);
    if (made == NULL)
        return lb_error_memory(err, "an output", sizeof *made);
    *last = made;
    made->path = lb_strdup(path);
    if (made->path == NULL)
        return lb_error_memory(err, "an output", strlen(path));
    LB_TRY(lb_output_new(path, LB_MODE_OVERWRITE, "", &made->output, err));
    *output = made->output;
    return LB_OK;
}

lb_status lb_run_settle(struct lb_run *run, bool is_good, struct lb_error *err)
{
    lb_status status = LB_OK;
    while (run->at_end != NULL) {
        struct lb_output_at_end *item = run->at_end;
        run->at_end = item->next;
        if (is_good && status == LB_OK)
            status = lb_output_commit(item->output, err);
        if (item->output != NULL)
            lb_output_delete(item->output);
        lb_strfree(item->path);
        lb_free(item, sizeof *item);
    }
    return status;
}
