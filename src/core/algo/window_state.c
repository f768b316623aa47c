/* All aggregates of group_state.h that have no better way over a frame, by two stacks of their states.
 *
 * IDEA   The frame is cut at `middle`. Behind it lies one state that rows are added to. Before it lies, for each row, the
 *        saved state of the rows from it up to the middle. The frame's state is both merged; a row is taken out by
 *        looking at the next saved state. When those are used up, they are made anew for all rows of the frame, and the
 *        middle moves to its end: so each row is added twice and saved once, O(1), and nothing is ever subtracted.
 *        What is merged first stands for earlier rows. Only the user's own aggregates care for the order; unless they
 *        are commutative their state is made anew for each frame that loses rows. */
#include "core/algo/window_private.h"
#include "core/base/sys.h"

struct stacks {
    struct lb_group_state back; /* of the places middle..to */
    struct lb_group_state all;
    uint64_t base; /* saved states are those of the places base..middle, the last one first */
    uint64_t middle;
    uint64_t to;
    struct lb_buf saved;
    size_t *at; /* where the i-th saved state begins */
    size_t n;
    size_t capacity;
    struct lb_buf partial; /* of back */
    bool
        is_host; /* the user's own: what was merged or gave a result need not go on, only copies are asked */
    bool is_ordered; /* and rows must be added in order */
};

static void stacks_close(struct lb_window_fn *fn)
{
    struct stacks *stacks = fn->state;
    if (stacks->back.class != NULL)
        lb_group_state_fini(&stacks->back);
    if (stacks->all.class != NULL)
        lb_group_state_fini(&stacks->all);
    lb_buf_fini(&stacks->saved);
    lb_buf_fini(&stacks->partial);
    lb_free(stacks->at, stacks->capacity * sizeof *stacks->at);
    lb_free(stacks, sizeof *stacks);
}

static lb_status stacks_open(struct lb_window_fn *fn, struct lb_worker *worker,
                             struct lb_error *err)
{
    struct stacks *stacks = fn->state = lb_alloc_zero(sizeof *stacks);
    if (stacks == NULL)
        return lb_error_memory(err, fn->label, sizeof *stacks);
    LB_TRY(lb_group_state_init(&stacks->back, &fn->params, worker, err));
    LB_TRY(lb_group_state_init(&stacks->all, &fn->params, worker, err));
    stacks->is_host = strcmp(stacks->all.class->name, "lua") == 0;
    struct lb_value field;
    stacks->is_ordered = stacks->is_host &&
                         !(lb_value_field(&fn->params, "commutative", &field) && field.tag == 't');
    return LB_OK;
}

static size_t stacks_bytes(const struct lb_window_fn *fn)
{
    const struct stacks *stacks = fn->state;
    return stacks->saved.capacity + stacks->capacity * sizeof *stacks->at;
}

static lb_status update(struct lb_group_state *state, const struct lb_window_rows *rows,
                        const struct lb_window_part *part, uint64_t place, struct lb_error *err)
{
    static const uint32_t slot = 0;
    uint32_t row = lb_window_row(part, place);
    struct lb_batch one = rows->batch;
    one.n_selected = 1;
    one.select = &row;
    struct lb_group_rows of = {.batch = &one, .slots = &slot, .position = place};
    return lb_group_state_update(state, 1, &of, err);
}

/* Makes the saved states of lo..to. */
static lb_status turn(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                      const struct lb_window_part *part, uint64_t lo, struct lb_error *err)
{
    struct stacks *stacks = fn->state;
    size_t n = (size_t)(stacks->to - lo);
    if (n > stacks->capacity) {
        size_t capacity = 2 * n;
        size_t *at = lb_realloc(stacks->at, stacks->capacity * sizeof *at, capacity * sizeof *at);
        if (at == NULL)
            return lb_error_memory(err, fn->label, capacity * sizeof *at);
        stacks->at = at;
        stacks->capacity = capacity;
    }
    stacks->saved.size = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !stacks->is_host)
            LB_TRY(lb_group_state_clear(&stacks->all, err));
        LB_TRY(update(&stacks->all, rows, part, stacks->to - 1 - i, err));
        if (i > 0 && !stacks->is_host) {
            const char *cursor = stacks->saved.data + stacks->at[i - 1];
            const char *end = stacks->saved.data + stacks->saved.size;
            LB_TRY(lb_group_state_merge(&stacks->all, &cursor, end, err));
        }
        stacks->at[i] = stacks->saved.size;
        LB_TRY(lb_group_state_save(&stacks->all, 0, &stacks->saved, err));
    }
    stacks->n = n;
    stacks->base = lo;
    stacks->middle = stacks->to;
    return lb_group_state_clear(&stacks->back, err);
}

/* The result for a frame whose beginning is saved, or of a copy. */
static lb_status put_both(struct lb_window_fn *fn, uint64_t lo, struct lb_error *err)
{
    struct stacks *stacks = fn->state;
    const char *cursor;
    LB_TRY(lb_group_state_clear(&stacks->all, err));
    if (lo < stacks->middle) {
        cursor = stacks->saved.data + stacks->at[stacks->middle - 1 - lo];
        LB_TRY(lb_group_state_merge(&stacks->all, &cursor, stacks->saved.data + stacks->saved.size,
                                    err));
    }
    if (stacks->to > stacks->middle) {
        stacks->partial.size = 0;
        LB_TRY(lb_group_state_save(&stacks->back, 0, &stacks->partial, err));
        cursor = stacks->partial.data;
        LB_TRY(lb_group_state_merge(&stacks->all, &cursor, cursor + stacks->partial.size, err));
    }
    return lb_group_state_result(&stacks->all, &fn->out, err);
}

static lb_status stacks_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                                const struct lb_window_part *part, struct lb_error *err)
{
    struct stacks *stacks = fn->state;
    if (part->begins) {
        stacks->base = stacks->middle = stacks->to = 0;
        LB_TRY(lb_group_state_clear(&stacks->back, err));
    }
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t lo = rows->lo[row], hi = rows->hi[row];
        if (row > part->out && lo == rows->lo[row - 1] && hi == rows->hi[row - 1]) {
            LB_TRY(lb_window_repeat(&fn->out, err));
            continue;
        }
        if (lo >= stacks->to || (stacks->is_ordered && lo > stacks->middle)) {
            /* nothing of the last frame stays */
            stacks->base = stacks->middle = stacks->to = lo;
            LB_TRY(lb_group_state_clear(&stacks->back, err));
        }
        for (; stacks->to < hi; stacks->to++)
            LB_TRY(update(&stacks->back, rows, part, stacks->to, err));
        if (lo > stacks->middle)
            LB_TRY(turn(fn, rows, part, lo, err));
        if (lo < stacks->middle || stacks->is_host)
            LB_TRY(put_both(fn, lo, err));
        else
            LB_TRY(lb_group_state_result(&stacks->back, &fn->out, err));
    }
    return LB_OK;
}

const struct lb_window_class lb_window_any_aggregate = {.name = "",
                                                        .need = LB_NEED_FRAME,
                                                        .open = stacks_open,
                                                        .close = stacks_close,
                                                        .compute = stacks_compute,
                                                        .held_bytes = stacks_bytes};
