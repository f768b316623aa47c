/* Rows collected for the build side of a join; see join_rows.h. Builders take 16 bytes a value, so a piece is copied out of them at
 * the width of its types, and its strings change hands with their arena. */
#include "core/algo/join_rows.h"

#include "core/base/sys.h"

size_t lb_join_width(enum lb_type type)
{
    static const uint8_t widths[] = {0, 1, 8, 8, 16, 16}; /* ORDER types */
    return widths[type];
}

static size_t bitmap_bytes(size_t n_rows)
{
    return (n_rows + 63) / 64 * 8;
}

lb_status lb_join_collector_init(struct lb_join_collector *collector, uint32_t n_columns,
                                 struct lb_error *err)
{
    *collector = (struct lb_join_collector){.n_columns = n_columns};
    collector->columns = lb_alloc(n_columns * sizeof *collector->columns);
    if (collector->columns == NULL && n_columns > 0)
        return lb_error_memory(err, "columns", n_columns * sizeof *collector->columns);
    for (uint32_t i = 0; i < n_columns; i++)
        lb_builder_init(&collector->columns[i]);
    return LB_OK;
}

void lb_join_collector_fini(struct lb_join_collector *collector)
{
    for (uint32_t i = 0; collector->columns != NULL && i < collector->n_columns; i++)
        lb_builder_fini(&collector->columns[i]);
    lb_free(collector->columns, collector->n_columns * sizeof *collector->columns);
    *collector = (struct lb_join_collector){0};
}

/* Numbers without nils, the common case, are copied in one loop. */
static lb_status add_column(struct lb_builder *builder, const struct lb_column *column,
                            const struct lb_batch *batch, struct lb_error *err)
{
    bool is_number = column->type == LB_INT64 || column->type == LB_FLOAT64;
    bool fits = builder->type == column->type || builder->n_rows == builder->n_nulls;
    if (is_number && fits && column->valid == NULL) {
        void *room = NULL;
        LB_TRY(lb_builder_room(builder, column->type, batch->n_selected, &room, err));
        int64_t *out = room; /* a double is moved as the integer of its bits */
        for (uint32_t i = 0; i < batch->n_selected; i++)
            out[i] = column->ints[lb_batch_row(batch, i)];
        lb_builder_commit(builder, batch->n_selected);
        return LB_OK;
    }
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(lb_builder_column(builder, column, lb_batch_row(batch, i), err));
    return LB_OK;
}

lb_status lb_join_collector_add(struct lb_join_collector *collector, const struct lb_batch *batch,
                                struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    for (uint32_t i = 0; i < collector->n_columns; i++)
        LB_TRY(add_column(&collector->columns[i],
                          i < batch->n_columns ? &batch->columns[i] : &absent, batch, err));
    collector->n_rows += batch->n_selected;
    return LB_OK;
}

size_t lb_join_collector_bytes(const struct lb_join_collector *collector)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < collector->n_columns; i++)
        bytes +=
            (size_t)collector->columns[i].n_rows * 16 + collector->columns[i].strings.held_bytes;
    return bytes;
}

/* Moves a builder's column into a piece. */
static lb_status take_column(struct lb_builder *builder, struct lb_join_column *out, size_t *bytes,
                             struct lb_error *err)
{
    size_t data_bytes = builder->n_rows * lb_join_width(builder->type);
    *out = (struct lb_join_column){.type = builder->type, .strings = builder->strings};
    if (data_bytes > 0) {
        out->data = lb_alloc(data_bytes);
        out->valid = builder->n_nulls > 0 ? lb_alloc(bitmap_bytes(builder->n_rows)) : NULL;
        if (out->data == NULL || (builder->n_nulls > 0 && out->valid == NULL)) {
            lb_free(out->data, data_bytes);
            lb_free(out->valid, bitmap_bytes(builder->n_rows));
            *out = (struct lb_join_column){.type = LB_NULL};
            lb_arena_init(&out->strings, 0);
            return lb_error_memory(err, "the build side of a join", data_bytes);
        }
        memcpy(out->data, builder->data, data_bytes);
        if (out->valid != NULL)
            memcpy(out->valid, builder->valid, bitmap_bytes(builder->n_rows));
    }
    *bytes += data_bytes + out->strings.held_bytes +
              (out->valid != NULL ? bitmap_bytes(builder->n_rows) : 0);
    lb_arena_init(&builder->strings, out->strings.chunk_bytes); /* the piece has the chunks now */
    lb_builder_reset(builder);
    return LB_OK;
}

lb_status lb_join_collector_take(struct lb_join_collector *collector, uint64_t morsel,
                                 uint32_t part, struct lb_join_rows **out, struct lb_error *err)
{
    size_t list_bytes = collector->n_columns * sizeof(struct lb_join_column);
    struct lb_join_rows *rows = lb_alloc_zero(sizeof *rows);
    struct lb_join_column *columns = lb_alloc_zero(list_bytes);
    if (rows == NULL || (columns == NULL && list_bytes > 0)) {
        lb_free(rows, sizeof *rows);
        lb_free(columns, list_bytes);
        return lb_error_memory(err, "the build side of a join", list_bytes);
    }
    *rows = (struct lb_join_rows){.morsel = morsel,
                                  .part = part,
                                  .n_rows = collector->n_rows,
                                  .columns = columns,
                                  .bytes = sizeof *rows + list_bytes};
    for (uint32_t i = 0; i < collector->n_columns; i++) {
        lb_status status = take_column(&collector->columns[i], &columns[i], &rows->bytes, err);
        rows->n_columns = i + 1;
        if (status != LB_OK) {
            rows->n_columns = collector->n_columns;
            lb_join_rows_delete(rows);
            return status;
        }
    }
    rows->n_columns = collector->n_columns;
    collector->n_rows = 0;
    *out = rows;
    return LB_OK;
}

void lb_join_column_fini(struct lb_join_column *column, size_t n_rows)
{
    lb_free(column->data, n_rows * lb_join_width(column->type));
    lb_free(column->valid, bitmap_bytes(n_rows));
    if (column->strings.held_bytes > 0)
        lb_arena_fini(&column->strings);
    lb_free(column->bytes, column->n_bytes);
    column->bytes = NULL;
    column->data = NULL;
    column->valid = NULL;
}

void lb_join_rows_delete(struct lb_join_rows *rows)
{
    if (rows == NULL)
        return;
    for (uint32_t i = 0; i < rows->n_columns; i++)
        lb_join_column_fini(&rows->columns[i], rows->n_rows);
    lb_free(rows->columns, rows->n_columns * sizeof *rows->columns);
    lb_free(rows, sizeof *rows);
}

void lb_join_rows_batch(const struct lb_join_rows *rows, uint32_t first, struct lb_column *columns,
                        uint64_t *bits, struct lb_batch *batch)
{
    uint32_t n = rows->n_rows - first < LB_BATCH_ROWS ? rows->n_rows - first : LB_BATCH_ROWS;
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        const struct lb_join_column *column = &rows->columns[i];
        uint64_t *valid = bits + (size_t)i * LB_JOIN_BITMAP_WORDS;
        columns[i] = (struct lb_column){.type = column->type};
        if (column->type == LB_NULL)
            continue;
        columns[i].data = (const char *)column->data + first * lb_join_width(column->type);
        if (column->valid == NULL)
            continue;
        memset(valid, 0, LB_JOIN_BITMAP_WORDS * sizeof *valid);
        for (uint32_t r = 0; r < n; r++)
            valid[r >> 6] |= (uint64_t)lb_join_is_valid(column, first + r) << (r & 63);
        columns[i].valid = valid;
    }
    *batch = (struct lb_batch){
        .n_rows = n, .n_selected = n, .n_columns = rows->n_columns, .columns = columns};
}
