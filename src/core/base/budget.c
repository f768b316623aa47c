/* The memory budget: one counter, changed by compare-and-swap so that it never passes the limit by
 * two threads reserving at once. No order with other memory is needed, hence relaxed. */
#include "core/base/budget.h"

#include <assert.h>

#include "core/base/memory.h"

void lb_budget_init(struct lb_budget *budget, size_t limit_bytes)
{
    atomic_init(&budget->limit_bytes, limit_bytes);
    atomic_init(&budget->used_bytes, 0);
    atomic_init(&budget->peak_bytes, 0);
    budget->heeds_memory = false;
}

static void raise_peak(struct lb_budget *budget, size_t used)
{
    size_t peak = atomic_load_explicit(&budget->peak_bytes, memory_order_relaxed);

    while (used > peak &&
           !atomic_compare_exchange_weak_explicit(&budget->peak_bytes, &peak, used,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static bool reserve(struct lb_budget *budget, size_t bytes, size_t limit)
{
    size_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);

    if (bytes == 0)
        return true;
    if (budget->heeds_memory && lb_memory_is_short(bytes))
        return false;
    do {
        if (used > limit || bytes > limit - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->used_bytes, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    raise_peak(budget, used + bytes);
    return true;
}

bool lb_budget_reserve(struct lb_budget *budget, size_t bytes)
{
    return reserve(budget, bytes, atomic_load_explicit(&budget->limit_bytes, memory_order_relaxed));
}

bool lb_budget_reserve_spare(struct lb_budget *budget, size_t bytes)
{
    size_t limit = atomic_load_explicit(&budget->limit_bytes, memory_order_relaxed);

    return reserve(budget, bytes, limit - limit / 4);
}

void lb_budget_force(struct lb_budget *budget, size_t bytes)
{
    size_t used = atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);

    raise_peak(budget, used + bytes);
}

void lb_budget_release(struct lb_budget *budget, size_t bytes)
{
    size_t used = atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);

    assert(used >= bytes);
    (void)used;
}
