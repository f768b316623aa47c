/* Checking every invariant of batch.h; debug builds do it at each boundary. */
#include "core/column/batch.h"
#include "core/column/codec.h"

static lb_status broken(struct lb_error *err, uint32_t column, uint32_t row, const char *what)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "broken batch: column %u, row %u: %s", column, row,
                        what);
}

static lb_status verify_view(const struct lb_view *view, uint32_t column, uint32_t row,
                             struct lb_error *err)
{
    const char *bytes = lb_view_data(view);

    if (view->size <= LB_VIEW_INLINE) {
        for (uint32_t i = view->size; i < LB_VIEW_INLINE; i++)
            if (bytes[i] != 0)
                return broken(err, column, row, "bytes behind an inline string are not zero");
    } else if (bytes == NULL || memcmp(bytes, view->prefix, 4) != 0) {
        return broken(err, column, row, "the prefix is not that of the string");
    }
    return LB_OK;
}

static lb_status verify_any(const struct lb_view *view, uint32_t column, uint32_t row,
                            struct lb_error *err)
{
    const char *bytes = lb_view_data(view);

    LB_TRY(verify_view(view, column, row, err));
    if (lb_codec_verify(bytes, view->size, err) != LB_OK) {
        if (err != NULL)
            err->status = LB_ERR_INTERNAL;
        lb_error_prefix(err, "broken batch: column %u, row %u: ", column, row);
        return LB_ERR_INTERNAL;
    }
    if (bytes[0] == 'n')
        return broken(err, column, row, "an encoded nil instead of a row that is not valid");
    return LB_OK;
}

/* Values are checked in selected rows only: a filter may leave the others as it likes. */
static lb_status verify_column(const struct lb_batch *batch, uint32_t number, struct lb_error *err)
{
    const struct lb_column *column = &batch->columns[number];

    if ((unsigned)column->type > LB_ANY)
        return broken(err, number, 0, "no such type");
    if (column->type == LB_NULL || batch->n_rows == 0)
        return LB_OK;
    if (column->data == NULL)
        return broken(err, number, 0, "no data");
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);

        if (!lb_column_is_valid(column, row))
            continue;
        if (column->type == LB_BOOL && column->bools[row] > 1)
            return broken(err, number, row, "a boolean is neither 0 nor 1");
        if (column->type == LB_STRING)
            LB_TRY(verify_view(&column->views[row], number, row, err));
        if (column->type == LB_ANY)
            LB_TRY(verify_any(&column->views[row], number, row, err));
    }
    return LB_OK;
}

static lb_status verify_rows(const struct lb_batch *batch, struct lb_error *err)
{
    if (batch->n_rows > LB_BATCH_ROWS)
        return lb_error_set(err, LB_ERR_INTERNAL, "broken batch: %u rows", batch->n_rows);
    if (batch->n_columns < 1 || batch->n_columns > LB_MAX_COLUMNS || batch->columns == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "broken batch: %u columns", batch->n_columns);
    if (batch->select == NULL && batch->n_selected != batch->n_rows)
        return lb_error_set(err, LB_ERR_INTERNAL,
                            "broken batch: %u of %u rows selected without a selection",
                            batch->n_selected, batch->n_rows);
    if (batch->n_selected > batch->n_rows)
        return lb_error_set(err, LB_ERR_INTERNAL, "broken batch: %u of %u rows selected",
                            batch->n_selected, batch->n_rows);
    for (uint32_t i = 0; batch->select != NULL && i < batch->n_selected; i++) {
        if (batch->select[i] >= batch->n_rows ||
            (i > 0 && batch->select[i] <= batch->select[i - 1]))
            return lb_error_set(err, LB_ERR_INTERNAL,
                                "broken batch: entry %u of the selection is out of range or order",
                                i);
    }
    return LB_OK;
}

lb_status lb_batch_verify(const struct lb_batch *batch, struct lb_error *err)
{
    LB_TRY(verify_rows(batch, err));
    if (batch->parent != NULL) {
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            uint32_t row = lb_batch_row(batch, i);

            if ((batch->parent_rows != NULL ? batch->parent_rows[row] : row) >=
                batch->parent->n_rows)
                return lb_error_set(
                    err, LB_ERR_INTERNAL,
                    "broken batch: row %u comes from a row its parent does not have", row);
        }
    }
    for (uint32_t i = 0; i < batch->n_columns; i++)
        LB_TRY(verify_column(batch, i, err));
    return LB_OK;
}
