/* What the attempts of one run share: see attempts.h. The list is sorted by morsel: these come nearly in order. */
#include "core/ops/attempts.h"

#include "core/base/sys.h"
#include "core/ops/rejects.h"

void lb_attempts_init(struct lb_attempts *attempts)
{
    *attempts = (struct lb_attempts){.number = 1, .output.fd = -1};
    pthread_mutex_init(&attempts->lock, NULL);
}

void lb_called_fini(struct lb_called *called)
{
    lb_buf_fini(&called->failed);
    lb_buf_fini(&called->counted);
}

void lb_attempts_fini(struct lb_attempts *attempts)
{
    for (size_t i = 0; i < attempts->n_called; i++)
        lb_called_fini(&attempts->called[i]);
    lb_free(attempts->called, attempts->capacity * sizeof *attempts->called);
    lb_delivery_fini(&attempts->output);
    lb_attempts_keep_rejects(attempts, NULL);
    pthread_mutex_destroy(&attempts->lock);
}

void lb_attempts_keep_rejects(struct lb_attempts *attempts, struct lb_rejects *rejects)
{
    lb_rejects_delete(attempts->rejects);
    attempts->rejects = rejects;
}

/* Where the morsel is in the list, or belongs. */
static size_t place_of(const struct lb_attempts *attempts, uint64_t morsel)
{
    size_t low = 0, high = attempts->n_called;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (attempts->called[middle].morsel < morsel)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static lb_status insert(struct lb_attempts *attempts, size_t at, const struct lb_called *called,
                        struct lb_error *err)
{
    if (attempts->n_called == attempts->capacity) {
        size_t capacity = attempts->capacity > 0 ? attempts->capacity * 2 : 16;
        struct lb_called *grown = lb_realloc(attempts->called, attempts->capacity * sizeof *grown,
                                             capacity * sizeof *grown);
        if (grown == NULL)
            return lb_error_memory(err, "the calls of foreach", capacity * sizeof *grown);
        attempts->called = grown;
        attempts->capacity = capacity;
    }
    memmove(attempts->called + at + 1, attempts->called + at,
            (attempts->n_called - at) * sizeof *called);
    attempts->called[at] = *called;
    attempts->n_called++;
    return LB_OK;
}

lb_status lb_attempts_note(struct lb_attempts *attempts, struct lb_called *called,
                           struct lb_error *err)
{
    lb_status status = LB_OK;
    pthread_mutex_lock(&attempts->lock);
    size_t at = place_of(attempts, called->morsel);
    if (at < attempts->n_called && attempts->called[at].morsel == called->morsel) {
        lb_called_fini(&attempts->called[at]);
        attempts->called[at] = *called;
    } else {
        status = insert(attempts, at, called, err);
    }
    pthread_mutex_unlock(&attempts->lock);
    if (status != LB_OK)
        lb_called_fini(called);
    called->failed = called->counted = (struct lb_buf){0};
    return status;
}

struct lb_called lb_attempts_take(struct lb_attempts *attempts, uint64_t morsel)
{
    struct lb_called taken = {.morsel = morsel};
    pthread_mutex_lock(&attempts->lock);
    size_t at = place_of(attempts, morsel);
    if (at < attempts->n_called && attempts->called[at].morsel == morsel) {
        taken = attempts->called[at];
        attempts->called[at] = (struct lb_called){.morsel = morsel};
    }
    pthread_mutex_unlock(&attempts->lock);
    return taken;
}
