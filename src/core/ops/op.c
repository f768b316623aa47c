/* The operator registry, parameters of plan nodes, and push. */
#include "core/ops/op.h"

#include <string.h>

#include "core/algo/aggregate.h"
#include "core/base/sys.h"
#include "core/ops/ops.h"

enum { MAX_CLASSES = 96 };

/* Of joins of rows; their names are long. */
#define JOIN_CLASSES                                                                         \
    &lb_op_join_build, &lb_op_scan_join_hash, &lb_op_scan_join_insert, &lb_op_hash_join,     \
        &lb_op_scan_join_rest, &lb_op_join_probe, &lb_op_scan_join_match, &lb_op_join_order, \
        &lb_op_scan_join_ordered

static const struct lb_op_class *classes[MAX_CLASSES] = {
    &lb_op_scan_csv,     &lb_op_scan_json,      &lb_op_scan_text,
    &lb_op_scan_files,   &lb_op_scan_native,    &lb_op_scan_range,
    &lb_op_scan_list,    &lb_op_scan_store,     &lb_op_scan_sorted,
    &lb_op_scan_groups,  &lb_op_scan_set,       &lb_op_scan_join,
    &lb_op_scan_cogroup, &lb_op_scan_aggregate, &lb_op_words,
    &lb_op_fields,       &lb_op_field,          &lb_op_grep,
    &lb_op_lower,        &lb_op_project,        &lb_op_pack,
    &lb_op_tag,          &lb_op_split_key,      &lb_op_sample,
    &lb_op_cartesian,    &lb_op_pipe,           &lb_op_sort,
    &lb_op_aggregate,    &lb_op_store_class,    &lb_op_count,
    &lb_op_compute,      &lb_op_file_columns,   &lb_op_where,
    &lb_op_top,          &lb_op_write,          &lb_op_bundle,
    &lb_op_pack_row,     &lb_op_unpack,         &lb_op_explode,
    &lb_op_group,        &lb_op_scan_group,     &lb_op_time_window,
    &lb_op_session,      &lb_op_window,         &lb_op_scan_window,
    &lb_op_fit,          JOIN_CLASSES,
};
static const struct lb_aggregate_class *aggregates[MAX_CLASSES] = {
    &lb_aggregate_none, &lb_aggregate_count, &lb_aggregate_sum,
    &lb_aggregate_min,  &lb_aggregate_max,   &lb_aggregate_first,
};

void lb_op_register(const struct lb_op_class *class)
{
    for (size_t i = 0; i < MAX_CLASSES; i++) {
        if (classes[i] == class)
            return;
        if (classes[i] == NULL) {
            classes[i] = class;
            return;
        }
    }
}

const struct lb_op_class *lb_op_find(const char *name)
{
    for (size_t i = 0; i < MAX_CLASSES && classes[i] != NULL; i++)
        if (strcmp(classes[i]->name, name) == 0)
            return classes[i];
    return NULL;
}

void lb_aggregate_register(const struct lb_aggregate_class *class)
{
    for (size_t i = 0; i < MAX_CLASSES; i++) {
        if (aggregates[i] == class)
            return;
        if (aggregates[i] == NULL) {
            aggregates[i] = class;
            return;
        }
    }
}

const struct lb_aggregate_class *lb_aggregate_find(const char *name)
{
    for (size_t i = 0; i < MAX_CLASSES && aggregates[i] != NULL; i++)
        if (strcmp(aggregates[i]->name, name) == 0)
            return aggregates[i];
    return NULL;
}

lb_status lb_op_named(const struct lb_op *op, lb_status status, struct lb_error *err)
{
    static const char start[] = "out of memory: ";
    if (__builtin_expect(status == LB_ERR_RESOURCE, 0) && err != NULL &&
        strncmp(err->message, start, sizeof start - 1) == 0)
        lb_error_prefix(err, "%s: ", op->label);
    return status;
}

lb_status lb_push(struct lb_op_local *to, const struct lb_batch *batch, struct lb_error *err)
{
    if (batch->n_selected == 0)
        return LB_OK;
    if (lb_worker_must_stop(to->worker))
        return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
#ifdef LB_DEBUG
    LB_TRY(lb_batch_verify(batch, err));
#endif
    to->rows_in += batch->n_selected;
    struct lb_meter_place before = lb_meter_enter(&to->times, LB_TIME_C);
    lb_status status = to->op->class->push(to, batch, err);
    lb_meter_leave(before);
    return lb_op_named(to->op, status, err);
}

void lb_op_add_times(struct lb_op *op, const struct lb_times *times)
{
    for (int i = 0; i < LB_N_TIMES; i++)
        atomic_fetch_add_explicit(&op->time_ns[i], times->ns[i], memory_order_relaxed);
    atomic_fetch_add_explicit(&op->spill_written_bytes, times->written_bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&op->spill_read_bytes, times->read_bytes, memory_order_relaxed);
}

lb_status lb_op_fail_at(const struct lb_op *op, const struct lb_batch *batch, uint32_t row,
                        const char *what, struct lb_error *err)
{
    struct lb_buf where = {0};
    if (lb_batch_locate(batch, row, &where, err) != LB_OK)
        where.size = 0;
    lb_error_set(err, LB_ERR_USER, "%s: %s%s%.*s", op->label, what, where.size > 0 ? "\n  " : "",
                 (int)(where.size < 2000 ? where.size : 2000), where.size > 0 ? where.data : "");
    lb_buf_fini(&where);
    return LB_ERR_USER;
}

void lb_op_close(struct lb_op *op)
{
    if (!op->is_open)
        return;
    op->is_open = false;
    if (op->class->close == NULL)
        return;
    struct lb_times times = {0};
    struct lb_meter_place before = lb_meter_enter(&times, LB_TIME_C);
    op->class->close(op);
    lb_meter_leave(before);
    lb_op_add_times(op, &times);
}

lb_status lb_param_wrong(const struct lb_op *op, const char *key, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "plan: operator %s: parameter '%s' is wrong",
                        op->class->name, key);
}

lb_status lb_param_int(const struct lb_op *op, const char *key, int64_t fallback, int64_t *value,
                       struct lb_error *err)
{
    struct lb_value field;
    *value = fallback;
    if (!lb_value_field(&op->params, key, &field))
        return LB_OK;
    if (field.tag == 'd' && field.d >= -9e18 && field.d <= 9e18 &&
        field.d == (double)(int64_t)field.d)
        *value = (int64_t)field.d;
    else if (field.tag == 'i')
        *value = field.i;
    else
        return lb_param_wrong(op, key, err);
    return LB_OK;
}

lb_status lb_param_bool(const struct lb_op *op, const char *key, bool fallback, bool *value,
                        struct lb_error *err)
{
    struct lb_value field;
    *value = fallback;
    if (!lb_value_field(&op->params, key, &field))
        return LB_OK;
    if (field.tag != 't' && field.tag != 'f')
        return lb_param_wrong(op, key, err);
    *value = field.tag == 't';
    return LB_OK;
}

lb_status lb_param_choice(const struct lb_op *op, const char *key, const char *const *names,
                          int *choice, struct lb_error *err)
{
    struct lb_value field;
    *choice = 0;
    if (!lb_value_field(&op->params, key, &field))
        return LB_OK;
    for (int i = 0; field.tag == 's' && names[i] != NULL; i++) {
        if (strlen(names[i]) == field.size && memcmp(names[i], field.data, field.size) == 0) {
            *choice = i;
            return LB_OK;
        }
    }
    return lb_param_wrong(op, key, err);
}

lb_status lb_param_list(const struct lb_op *op, const char *key, char tag, bool must,
                        struct lb_value *list, struct lb_error *err)
{
    struct lb_value item;
    *list = (struct lb_value){.tag = 'l'};
    if (!lb_value_field(&op->params, key, list))
        return must ? lb_param_wrong(op, key, err) : LB_OK;
    if (list->tag != 'l')
        return lb_param_wrong(op, key, err);
    const char *cursor = list->data;
    for (uint32_t i = 0; i < list->count; i++) {
        lb_codec_next(&cursor, &item);
        if (tag == 'b' ? item.tag != 't' && item.tag != 'f' : item.tag != tag)
            return lb_param_wrong(op, key, err);
    }
    return LB_OK;
}

lb_status lb_param_string(const struct lb_op *op, const char *key, char **value,
                          struct lb_error *err)
{
    struct lb_value field;
    *value = NULL;
    if (!lb_value_field(&op->params, key, &field))
        return LB_OK;
    if (field.tag != 's' || memchr(field.data, 0, field.size) != NULL)
        return lb_param_wrong(op, key, err);
    *value = lb_alloc(field.size + 1);
    if (*value == NULL)
        return lb_error_memory(err, key, field.size + 1);
    memcpy(*value, field.data, field.size);
    (*value)[field.size] = '\0';
    return LB_OK;
}
