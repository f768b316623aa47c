/* Batch builders: column builders side by side, kept at equal height. */
#include "core/base/sys.h"
#include "core/column/builder.h"

static const struct lb_column nil_column = {.type = LB_NULL};

void lb_batch_builder_init(struct lb_batch_builder *builder)
{
    memset(builder, 0, sizeof *builder);
}

void lb_batch_builder_fini(struct lb_batch_builder *builder)
{
    for (uint32_t i = 0; i < builder->n_builders; i++)
        lb_builder_fini(&builder->builders[i]);
    lb_free(builder->builders, LB_MAX_COLUMNS * sizeof *builder->builders);
    lb_free(builder->columns, LB_MAX_COLUMNS * sizeof *builder->columns);
    lb_free(builder->parent_rows, builder->parent_capacity * sizeof *builder->parent_rows);
    lb_batch_builder_init(builder);
}

void lb_batch_builder_reset(struct lb_batch_builder *builder)
{
    /* All that were made, not only this batch's: an aborted row may have left values in any. */
    for (uint32_t i = 0; i < builder->n_builders; i++)
        lb_builder_reset(&builder->builders[i]);
    builder->n_rows = 0;
    builder->n_columns = 0;
    builder->has_parents = false;
}

static lb_status fill_up(struct lb_builder *column, uint32_t n_rows, struct lb_error *err)
{
    while (column->n_rows < n_rows)
        LB_TRY(lb_builder_null(column, err));
    return LB_OK;
}

lb_status lb_batch_builder_column(struct lb_batch_builder *builder, uint32_t i,
                                  struct lb_builder **column, struct lb_error *err)
{
    if (__builtin_expect(i >= builder->n_columns, 0)) {
        if (i >= LB_MAX_COLUMNS)
            return lb_error_set(err, LB_ERR_USAGE, "a record has more than %d columns",
                                LB_MAX_COLUMNS);
        if (builder->builders == NULL) {
            builder->builders = lb_alloc(LB_MAX_COLUMNS * sizeof *builder->builders);
            if (builder->builders == NULL)
                return lb_error_memory(err, "columns", LB_MAX_COLUMNS * sizeof *builder->builders);
        }
        if (builder->columns == NULL) {
            builder->columns = lb_alloc(LB_MAX_COLUMNS * sizeof *builder->columns);
            if (builder->columns == NULL)
                return lb_error_memory(err, "columns", LB_MAX_COLUMNS * sizeof *builder->columns);
        }
        while (builder->n_builders <= i)
            lb_builder_init(&builder->builders[builder->n_builders++]);
        for (; builder->n_columns <= i; builder->n_columns++)
            LB_TRY(fill_up(&builder->builders[builder->n_columns], builder->n_rows, err));
    }
    *column = &builder->builders[i];
    return LB_OK;
}

static lb_status grow_parent_rows(struct lb_batch_builder *builder, uint32_t n_rows,
                                  struct lb_error *err)
{
    uint32_t capacity = builder->parent_capacity == 0 ? 16 : builder->parent_capacity;
    size_t old_bytes = builder->parent_capacity * sizeof *builder->parent_rows;
    size_t new_bytes;
    uint32_t *rows;

    while (capacity < n_rows)
        capacity *= 2;
    new_bytes = capacity * sizeof *builder->parent_rows;
    rows = lb_realloc(builder->parent_rows, old_bytes, new_bytes);
    if (rows == NULL)
        return lb_error_memory(err, "row numbers", new_bytes);
    builder->parent_rows = rows;
    builder->parent_capacity = capacity;
    return LB_OK;
}

/* Makes room for the parents of n_rows rows; the first time, those of the rows so far are their own
 * numbers. */
static lb_status keep_parents(struct lb_batch_builder *builder, uint32_t n_rows,
                              struct lb_error *err)
{
    if (builder->parent_capacity < n_rows)
        LB_TRY(grow_parent_rows(builder, n_rows, err));
    for (uint32_t i = 0; !builder->has_parents && i < builder->n_rows; i++)
        builder->parent_rows[i] = i;
    builder->has_parents = true;
    return LB_OK;
}

static lb_status end_columns(struct lb_batch_builder *builder, uint32_t n_rows,
                             struct lb_error *err)
{
    struct lb_builder *first;

    if (builder->n_columns == 0)
        LB_TRY(lb_batch_builder_column(builder, 0, &first, err));
    for (uint32_t i = 0; i < builder->n_columns; i++)
        if (builder->builders[i].n_rows < n_rows)
            LB_TRY(fill_up(&builder->builders[i], n_rows, err));
    return LB_OK;
}

lb_status lb_batch_builder_end_row(struct lb_batch_builder *builder, uint32_t parent_row,
                                   struct lb_error *err)
{
    LB_TRY(end_columns(builder, builder->n_rows + 1, err));
    if (builder->has_parents || parent_row != builder->n_rows) {
        LB_TRY(keep_parents(builder, builder->n_rows + 1, err));
        builder->parent_rows[builder->n_rows] = parent_row;
    }
    builder->n_rows++;
    return LB_OK;
}

const struct lb_batch *lb_batch_builder_finish(struct lb_batch_builder *builder,
                                               const struct lb_batch *parent)
{
    for (uint32_t i = 0; i < builder->n_columns; i++)
        builder->columns[i] = lb_builder_finish(&builder->builders[i]);
    builder->batch = (struct lb_batch){
        .n_rows = builder->n_rows,
        .n_columns = builder->n_columns > 0 ? builder->n_columns : 1,
        .n_selected = builder->n_rows,
        .columns = builder->n_columns > 0 ? builder->columns : &nil_column,
        .parent = parent,
        .parent_rows = parent != NULL && builder->has_parents ? builder->parent_rows : NULL,
    };
    return &builder->batch;
}
