/* Bad records: see bad_records.h. */
#include "core/ops/bad_records.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/column/codec.h"
#include "core/ops/rejects.h"
#include "core/ops/skips.h"

enum { REASON_BYTES = 512 };

struct lb_bad_sink {
    bool skips;
    struct lb_rejects *rejects; /* of { to = path }, else NULL */
};

/* ---- lists ---- */

void lb_bad_list_init(struct lb_bad_list *list)
{
    *list = (struct lb_bad_list){0};
    lb_arena_init(&list->texts, 4096);
}

void lb_bad_list_fini(struct lb_bad_list *list)
{
    if (list->items != NULL)
        lb_free(list->items, list->capacity * sizeof *list->items);
    lb_arena_fini(&list->texts);
}

void lb_bad_list_reset(struct lb_bad_list *list)
{
    if (list->n > 0)
        lb_arena_reset(&list->texts);
    list->n = 0;
}

lb_status lb_bad_list_add(struct lb_bad_list *list, uint32_t start, uint32_t end, const char *kind,
                          struct lb_error *err, const char *format, ...)
{
    char text[REASON_BYTES];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(text, sizeof text, format, arguments) >= (int)sizeof text)
        text[lb_utf8_whole(text, sizeof text - 1)] = '\0';
    va_end(arguments);
    if (list->n == list->capacity) {
        uint32_t wanted = list->capacity > 0 ? 2 * list->capacity : 16;
        struct lb_bad_record *items =
            lb_realloc(list->items, list->capacity * sizeof *items, wanted * sizeof *items);
        if (items == NULL)
            return lb_error_memory(err, "bad records", wanted * sizeof *items);
        list->items = items;
        list->capacity = wanted;
    }
    char *reason = lb_arena_alloc(&list->texts, strlen(text) + 1);
    if (reason == NULL)
        return lb_error_memory(err, "bad records", strlen(text) + 1);
    memcpy(reason, text, strlen(text) + 1);
    list->items[list->n++] =
        (struct lb_bad_record){.start = start, .end = end, .kind = kind, .reason = reason};
    return LB_OK;
}

/* ---- policies ---- */

static bool is_word(const struct lb_value *value, const char *word)
{
    return value->tag == 's' && value->size == strlen(word) &&
           memcmp(value->data, word, value->size) == 0;
}

lb_status lb_bad_sink_new(struct lb_op *op, struct lb_bad_sink **out, struct lb_error *err)
{
    struct lb_value policy = {.tag = 's'}, path = {.tag = 'n'};
    policy.data = "fail";
    policy.size = 4;
    (void)lb_value_field(&op->params, "on_bad", &policy);
    bool writes = policy.tag == 'm' && lb_value_field(&policy, "to", &path) && path.tag == 's';
    if (!writes && !is_word(&policy, "fail") && !is_word(&policy, "skip"))
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: parameter 'on_bad' is wrong",
                            op->class->name);
    struct lb_bad_sink *sink = *out = lb_alloc_zero(sizeof *sink);
    if (sink == NULL)
        return lb_error_memory(err, op->label, sizeof *sink);
    sink->skips = writes || is_word(&policy, "skip");
    return writes ? lb_rejects_of(op->run, path.data, path.size, &sink->rejects, err) : LB_OK;
}

void lb_bad_sink_delete(struct lb_bad_sink *sink)
{
    if (sink != NULL)
        lb_free(sink, sizeof *sink);
}

bool lb_bad_sink_fails(const struct lb_bad_sink *sink)
{
    return !sink->skips;
}

lb_status lb_bad_message(const struct lb_op_local *local, const char *data,
                         const struct lb_bad_record *record, struct lb_error *err)
{
    const struct lb_file_piece *piece = local->state;
    struct lb_buf text = {0};
    lb_status status =
        lb_file_piece_describe(piece, data + record->start, data + record->end, &text, err);
    if (status == LB_OK)
        status =
            lb_error_set(err, LB_ERR_DATA, "%s\n  %.*s", record->reason, (int)text.size, text.data);
    lb_buf_fini(&text);
    return status;
}

lb_status lb_bad_restart(const struct lb_op_local *local, const char *data,
                         const struct lb_bad_record *record, struct lb_error *err)
{
    const struct lb_file_piece *piece = local->state;
    if (!piece->is_chunk)
        return lb_error_set(err, LB_RESTART, "%s\n  record at byte %llu of %s", record->reason,
                            (unsigned long long)lb_file_piece_offset(piece, data + record->start),
                            piece->file->path);
    lb_status status = lb_bad_message(local, data, record, err);
    return status == LB_ERR_DATA ? LB_RESTART : status;
}

/* ---- writing ---- */

static int compare_records(const void *a, const void *b)
{
    const struct lb_bad_record *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Keeps the records of a batch, which are in order. */
static lb_status keep(struct lb_bad_sink *sink, const struct lb_op_local *local, const char *data,
                      struct lb_bad_list *list, struct lb_error *err)
{
    struct lb_buf bytes = {0}, raw = {0};
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < list->n && status == LB_OK; i++) {
        const struct lb_bad_record *record = &list->items[i];
        const char *start = data + record->start;
        raw.size = 0;
        status = lb_codec_put_string(&raw, start, record->end - record->start, err);
        struct lb_reject reject = {
            .origin = lb_file_piece_origin(local->state, start),
            .kind = record->kind,
            .message = record->reason,
            .value = raw.data,
            .value_size = raw.size,
        };
        if (status == LB_OK)
            status = lb_reject_put(&reject, &bytes, err);
    }
    if (status == LB_OK)
        status = lb_rejects_add(sink->rejects, local->worker, &bytes, err);
    lb_buf_fini(&bytes);
    lb_buf_fini(&raw);
    return status;
}

lb_status lb_bad_report(struct lb_bad_sink *sink, const struct lb_op_local *local, const char *data,
                        struct lb_bad_list *list, struct lb_error *err)
{
    if (list->n == 0)
        return LB_OK;
    qsort(list->items, list->n, sizeof *list->items, compare_records);
    if (!sink->skips)
        return lb_bad_message(local, data, &list->items[0], err);
    if (sink->rejects != NULL)
        LB_TRY(keep(sink, local, data, list, err));
    for (uint32_t i = 0; i < list->n; i++) {
        const struct lb_bad_record *record = &list->items[i];
        struct lb_skip skip = {
            .verb = local->op->label,
            .kind = record->kind,
            .message = record->reason,
            .origin = lb_file_piece_origin(local->state, data + record->start),
        };
        skip.place = skip.origin.file != NULL ? skip.origin.file : "";
        LB_TRY(lb_skips_note(local->worker, &skip, err));
    }
    return LB_OK;
}

lb_status lb_bad_put_type(struct lb_buf *out, uint32_t column, const char *type,
                          struct lb_error *err)
{
    size_t pair;
    LB_TRY(lb_codec_begin(out, 'l', &pair, err));
    LB_TRY(lb_codec_put_int(out, column, err));
    LB_TRY(lb_codec_put_string(out, type, strlen(type), err));
    lb_codec_end(out, pair, 2);
    return LB_OK;
}
