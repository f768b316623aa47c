/* The parity of quotes before a split: see csv_quotes.h. */
#include "core/ops/csv_quotes.h"

#include <time.h>

#include "core/base/sys.h"

enum { UNKNOWN = 2, WAIT_NS = 50000000, SECOND_NS = 1000000000 };

struct lb_csv_split {
    uint8_t quotes; /* parity of those in it, or UNKNOWN */
    uint8_t start;  /* 1: it begins inside quotes; good up to the frontier */
    bool is_first;  /* of its file */
};

void lb_csv_quotes_init(struct lb_csv_quotes *quotes)
{
    pthread_mutex_init(&quotes->lock, NULL);
    pthread_cond_init(&quotes->posted, NULL);
}

void lb_csv_quotes_fini(struct lb_csv_quotes *quotes)
{
    lb_free(quotes->splits, quotes->capacity * sizeof *quotes->splits);
    pthread_cond_destroy(&quotes->posted);
    pthread_mutex_destroy(&quotes->lock);
}

static lb_status make_room(struct lb_csv_quotes *quotes, struct lb_error *err)
{
    size_t old = quotes->capacity, wanted = old > 0 ? 2 * old : 64;
    if (quotes->n_splits < old)
        return LB_OK;
    struct lb_csv_split *splits =
        lb_realloc(quotes->splits, old * sizeof *splits, wanted * sizeof *splits);
    if (splits == NULL)
        return lb_error_memory(err, "splits of a file", wanted * sizeof *splits);
    quotes->splits = splits;
    quotes->capacity = wanted;
    return LB_OK;
}

lb_status lb_csv_quotes_add(struct lb_csv_quotes *quotes, bool is_first, struct lb_error *err)
{
    pthread_mutex_lock(&quotes->lock);
    lb_status status = make_room(quotes, err);
    if (status == LB_OK) {
        size_t number = quotes->n_splits++;
        struct lb_csv_split *split = &quotes->splits[number];
        *split = (struct lb_csv_split){.quotes = UNKNOWN, .is_first = is_first};
        /* The frontier may have passed those before it. */
        if (number > 0 && quotes->frontier == number && !is_first)
            split->start = split[-1].start ^ split[-1].quotes;
    }
    pthread_mutex_unlock(&quotes->lock);
    return status;
}

void lb_csv_quotes_post(struct lb_csv_quotes *quotes, size_t number, unsigned parity)
{
    pthread_mutex_lock(&quotes->lock);
    quotes->splits[number].quotes = (uint8_t)parity;
    while (quotes->frontier < quotes->n_splits &&
           quotes->splits[quotes->frontier].quotes != UNKNOWN) {
        const struct lb_csv_split *split = &quotes->splits[quotes->frontier++];
        if (quotes->frontier < quotes->n_splits)
            quotes->splits[quotes->frontier].start =
                quotes->splits[quotes->frontier].is_first ? 0 : split->start ^ split->quotes;
    }
    pthread_cond_broadcast(&quotes->posted);
    pthread_mutex_unlock(&quotes->lock);
}

lb_status lb_csv_quotes_wait(struct lb_csv_quotes *quotes, size_t number,
                             const struct lb_op_local *local, bool *is_inside, struct lb_error *err)
{
    const struct lb_op_local *sink = local;
    while (sink->next != NULL)
        sink = sink->next;
    lb_status status = LB_OK;
    pthread_mutex_lock(&quotes->lock);
    while (quotes->frontier < number && status == LB_OK) {
        if (lb_worker_must_stop(local->worker))
            status = lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
        else if (atomic_load(&sink->op->enough))
            status = LB_ENOUGH;
        if (status != LB_OK)
            break;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_NS; /* to look at `stop` */
        if (until.tv_nsec >= SECOND_NS) {
            until.tv_nsec -= SECOND_NS;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&quotes->posted, &quotes->lock, &until);
    }
    *is_inside = quotes->splits[number].start != 0;
    pthread_mutex_unlock(&quotes->lock);
    return status;
}
