/* Numbers of groups that stand for others (see group_alias.h). */
#include "core/ops/group_alias.h"

#include "core/base/sys.h"
#include "core/column/key.h"

static const uint32_t UNKNOWN = UINT32_MAX;

lb_status lb_group_alias_init(struct lb_group_alias *alias, const uint32_t *columns,
                              uint32_t n_columns, struct lb_error *err)
{
    alias->columns = columns;
    alias->n_columns = n_columns;
    alias->views = lb_alloc(LB_BATCH_ROWS * sizeof *alias->views);
    alias->fresh = lb_alloc(LB_BATCH_ROWS * sizeof *alias->fresh);
    alias->found = lb_alloc(LB_BATCH_ROWS * sizeof *alias->found);
    if (alias->views == NULL || alias->fresh == NULL || alias->found == NULL)
        return lb_error_memory(err, "groups", LB_BATCH_ROWS * sizeof *alias->views);
    return lb_group_table_init(&alias->table, err);
}

void lb_group_alias_fini(struct lb_group_alias *alias)
{
    if (alias->columns == NULL)
        return;
    lb_free(alias->views, LB_BATCH_ROWS * sizeof *alias->views);
    lb_free(alias->fresh, LB_BATCH_ROWS * sizeof *alias->fresh);
    lb_free(alias->found, LB_BATCH_ROWS * sizeof *alias->found);
    lb_free(alias->numbers, alias->capacity * sizeof *alias->numbers);
    lb_group_table_fini(&alias->table);
    lb_buf_fini(&alias->keys);
    memset(alias, 0, sizeof *alias);
}

void lb_group_alias_reset(struct lb_group_alias *alias, size_t keep_bytes)
{
    lb_group_table_reset(&alias->table, keep_bytes);
    if (alias->capacity * sizeof *alias->numbers > keep_bytes) {
        lb_free(alias->numbers, alias->capacity * sizeof *alias->numbers);
        alias->numbers = NULL;
        alias->capacity = 0;
    }
    alias->n = 0;
    alias->has_aliases = false;
}

size_t lb_group_alias_next_bytes(const struct lb_group_alias *alias)
{
    size_t numbers = alias->capacity;
    if (alias->n + LB_BATCH_ROWS > numbers)
        numbers += 2 * (alias->n + LB_BATCH_ROWS);
    return lb_group_table_next_bytes(&alias->table) + numbers * sizeof *alias->numbers;
}

static lb_status grow(struct lb_group_alias *alias, size_t n_groups, struct lb_error *err)
{
    if (n_groups > alias->capacity) {
        size_t capacity = 2 * n_groups;
        uint32_t *grown =
            lb_realloc(alias->numbers, alias->capacity * sizeof *grown, capacity * sizeof *grown);
        if (grown == NULL)
            return lb_error_memory(err, "groups", capacity * sizeof *grown);
        alias->numbers = grown;
        alias->capacity = capacity;
    }
    for (; alias->n < n_groups; alias->n++)
        alias->numbers[alias->n] = UNKNOWN;
    return LB_OK;
}

/* The sort keys of the numbers that come for the first time, one each, as a column; how many. */
static lb_status make_keys(struct lb_group_alias *alias, const struct lb_batch *batch,
                           const uint32_t *groups, uint32_t *n_fresh, struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    uint32_t n = 0;
    alias->keys.size = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        if (alias->numbers[groups[i]] != UNKNOWN)
            continue;
        size_t start = alias->keys.size;
        for (uint32_t c = 0; c < alias->n_columns; c++) {
            uint32_t column = alias->columns[c];
            LB_TRY(lb_key_put_column(&alias->keys,
                                     column < batch->n_columns ? &batch->columns[column] : &absent,
                                     lb_batch_row(batch, i), true, err));
        }
        alias->numbers[groups[i]] = groups[i];
        alias->fresh[n] = groups[i];
        /* Where the key is: the buffer may still move. */
        alias->views[n++] = (struct lb_view){.size = (uint32_t)(alias->keys.size - start),
                                             .data = (const char *)(uintptr_t)start};
    }
    for (uint32_t i = 0; i < n; i++) {
        struct lb_view *view = &alias->views[i];
        lb_view_set(view, alias->keys.data + (uintptr_t)view->data, view->size);
    }
    *n_fresh = n;
    return LB_OK;
}

lb_status lb_group_alias_map(struct lb_group_alias *alias, const struct lb_batch *batch,
                             uint32_t *groups, size_t n_groups, struct lb_error *err)
{
    if (n_groups > alias->n) {
        uint32_t n = 0;
        LB_TRY(grow(alias, n_groups, err));
        LB_TRY(make_keys(alias, batch, groups, &n, err));
        struct lb_column column = {.type = LB_STRING, .views = alias->views};
        struct lb_batch keys = {.n_rows = n, .n_columns = 1, .n_selected = n, .columns = &column};
        LB_TRY(lb_group_table_find(&alias->table, &keys, false, alias->found, err));
        for (uint32_t i = 0; i < n; i++) {
            struct lb_group_entry *entry = alias->found[i];
            if (entry->state_kind == 0) {
                entry->state_kind = 1;
                entry->state = alias->fresh[i];
            } else {
                alias->numbers[alias->fresh[i]] = (uint32_t)entry->state;
                alias->has_aliases = true;
            }
        }
    }
    for (uint32_t i = 0; alias->has_aliases && i < batch->n_selected; i++)
        groups[i] = alias->numbers[groups[i]];
    return LB_OK;
}
