/* Bad records: see bad_records.h. */
#include "core/ops/bad_records.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/io/format.h"
#include "core/io/output.h"
#include "core/io/spill.h"
#include "core/io/text.h"

enum { REASON_BYTES = 512 };

/* Records of one batch, as a frame of the spill file. */
struct chunk {
    uint64_t morsel;
    struct lb_frame frame;
};

struct lb_bad_sink {
    bool skips;
    /* of { to = path }, else NULL */
    char *path;
    pthread_mutex_t lock; /* guards what follows */
    struct lb_spill *spill;
    struct lb_buf chunks;
};

/* What stands before each record in a frame. */
struct head {
    uint64_t offset, line; /* line 0: to be counted */
    uint32_t file, kind_size, reason_size, raw_size;
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
    vsnprintf(text, sizeof text, format, arguments);
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
    pthread_mutex_init(&sink->lock, NULL);
    sink->skips = writes || is_word(&policy, "skip");
    if (!writes)
        return LB_OK;
    struct lb_buf name = {0};
    lb_status status = lb_buf_append(&name, path.data, path.size, err);
    if (status == LB_OK)
        status = lb_buf_append_byte(&name, '\0', err);
    if (status == LB_OK) {
        sink->path = lb_strdup(name.data);
        if (sink->path == NULL)
            status = lb_error_memory(err, op->label, name.size);
    }
    lb_buf_fini(&name);
    if (status == LB_OK)
        status = lb_spill_new(op->run->options.tmp_dir, &sink->spill, err);
    return status;
}

void lb_bad_sink_delete(struct lb_bad_sink *sink)
{
    if (sink == NULL)
        return;
    lb_strfree(sink->path);
    if (sink->spill != NULL)
        lb_spill_delete(sink->spill);
    lb_buf_fini(&sink->chunks);
    pthread_mutex_destroy(&sink->lock);
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

/* Keeps the records of a batch. */
static lb_status keep(struct lb_bad_sink *sink, const struct lb_op_local *local, const char *data,
                      struct lb_bad_list *list, struct lb_error *err)
{
    const struct lb_file_piece *piece = local->state;
    struct lb_buf bytes = {0};
    lb_status status = LB_OK;
    qsort(list->items, list->n, sizeof *list->items, compare_records);
    for (uint32_t i = 0; i < list->n && status == LB_OK; i++) {
        const struct lb_bad_record *record = &list->items[i];
        const char *start = data + record->start;
        struct head head = {
            .offset = lb_file_piece_offset(piece, start),
            .line = piece->is_chunk ? lb_file_piece_line(piece, start) : 0,
            .file = (uint32_t)piece->file_number,
            .kind_size = (uint32_t)strlen(record->kind),
            .reason_size = (uint32_t)strlen(record->reason),
            .raw_size = record->end - record->start,
        };
        status = lb_buf_append(&bytes, &head, sizeof head, err);
        if (status == LB_OK)
            status = lb_buf_append(&bytes, record->kind, head.kind_size, err);
        if (status == LB_OK)
            status = lb_buf_append(&bytes, record->reason, head.reason_size, err);
        if (status == LB_OK)
            status = lb_buf_append(&bytes, start, head.raw_size, err);
    }
    if (status == LB_OK) {
        struct chunk chunk = {.morsel = local->worker->morsel};
        pthread_mutex_lock(&sink->lock);
        status = lb_spill_append(sink->spill, bytes.data, bytes.size, &chunk.frame, err);
        if (status == LB_OK)
            status = lb_buf_append(&sink->chunks, &chunk, sizeof chunk, err);
        pthread_mutex_unlock(&sink->lock);
    }
    lb_buf_fini(&bytes);
    return status;
}

static int compare_chunks(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    if (x->morsel != y->morsel)
        return x->morsel < y->morsel ? -1 : 1;
    return (x->frame.offset > y->frame.offset) - (x->frame.offset < y->frame.offset);
}

/* Counts the lines of files whose records come in order. */
struct line_counter {
    const struct lb_file_list *files;
    struct lb_stream *stream; /* of file number `file`, read up to `offset` */
    uint32_t file;
    uint64_t offset, line;
};

static lb_status count_lines(struct line_counter *counter, uint32_t file, uint64_t offset,
                             struct lb_error *err)
{
    char buffer[16384];
    if (counter->stream == NULL || counter->file != file || counter->offset > offset) {
        lb_stream_close(counter->stream);
        counter->stream = NULL;
        LB_TRY(lb_stream_open(&counter->files->files[file], &counter->stream, err));
        counter->file = file;
        counter->offset = 0;
        counter->line = 1;
    }
    while (counter->offset < offset) {
        uint64_t left = offset - counter->offset;
        size_t got = 0;
        LB_TRY(lb_stream_read(counter->stream, buffer,
                              left < sizeof buffer ? (size_t)left : sizeof buffer, &got, err));
        if (got == 0)
            return lb_error_set(err, LB_ERR_DATA, "%s has changed while it was read",
                                counter->files->files[file].path);
        counter->line += lb_text_count_newlines(buffer, got);
        counter->offset += got;
    }
    return LB_OK;
}

static lb_status put_text(struct lb_buf *out, const char *key, const char *text, size_t size,
                          struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, key, strlen(key), err));
    return lb_codec_put_string(out, text, size, err);
}

/* Appends one record as a line. */
static lb_status put_line(const struct head *head, const char *file, uint64_t line,
                          const char *texts, struct lb_buf *value, struct lb_buf *out,
                          struct lb_error *err)
{
    size_t mark;
    value->size = 0;
    LB_TRY(lb_codec_begin(value, 'm', &mark, err)); /* keys in byte order */
    LB_TRY(lb_codec_put_string(value, "byte", 4, err));
    LB_TRY(lb_codec_put_int(value, (int64_t)head->offset, err));
    LB_TRY(put_text(value, "file", file, strlen(file), err));
    LB_TRY(put_text(value, "kind", texts, head->kind_size, err));
    texts += head->kind_size;
    LB_TRY(lb_codec_put_string(value, "line", 4, err));
    LB_TRY(lb_codec_put_int(value, (int64_t)line, err));
    LB_TRY(put_text(value, "message", texts, head->reason_size, err));
    texts += head->reason_size;
    LB_TRY(put_text(value, "raw", texts, head->raw_size, err));
    lb_codec_end(value, mark, 6);
    LB_TRY(lb_format_encoded(LB_FORMAT_JSON, value->data, value->size, out, err));
    return lb_buf_append_byte(out, '\n', err);
}

struct writer {
    struct line_counter counter;
    struct lb_buf frame, scratch, value, lines;
    struct lb_output *output;
};

static lb_status write_chunk(struct writer *w, struct lb_spill *spill, const struct chunk *chunk,
                             struct lb_error *err)
{
    w->frame.size = w->lines.size = 0;
    LB_TRY(lb_buf_reserve(&w->frame, chunk->frame.raw_size, err));
    LB_TRY(lb_spill_read(spill, &chunk->frame, w->frame.data, &w->scratch, err));
    for (size_t at = 0; at < chunk->frame.raw_size;) {
        struct head head;
        memcpy(&head, w->frame.data + at, sizeof head);
        at += sizeof head;
        uint64_t line = head.line;
        if (line == 0) {
            LB_TRY(count_lines(&w->counter, head.file, head.offset, err));
            line = w->counter.line;
        }
        LB_TRY(put_line(&head, w->counter.files->files[head.file].path, line, w->frame.data + at,
                        &w->value, &w->lines, err));
        at += (size_t)head.kind_size + head.reason_size + head.raw_size;
    }
    return lb_output_write(w->output, w->lines.data, w->lines.size, err);
}

lb_status lb_bad_sink_finish(struct lb_bad_sink *sink, struct lb_op *op, struct lb_error *err)
{
    const struct lb_file_scan *scan = op->shared;
    if (sink->path == NULL)
        return LB_OK;
    struct writer w = {.counter.files = &scan->files};
    struct chunk *chunks = (struct chunk *)(void *)sink->chunks.data;
    size_t n = sink->chunks.size / sizeof *chunks;
    if (n > 0)
        qsort(chunks, n, sizeof *chunks, compare_chunks);
    lb_status status = lb_run_output(op->run, sink->path, &w.output, err);
    for (size_t i = 0; i < n && status == LB_OK; i++)
        status = write_chunk(&w, sink->spill, &chunks[i], err);
    lb_stream_close(w.counter.stream);
    lb_buf_fini(&w.frame);
    lb_buf_fini(&w.scratch);
    lb_buf_fini(&w.value);
    lb_buf_fini(&w.lines);
    return status;
}

lb_status lb_bad_report(struct lb_bad_sink *sink, const struct lb_op_local *local, const char *data,
                        struct lb_bad_list *list, struct lb_error *err)
{
    if (list->n == 0)
        return LB_OK;
    const struct lb_bad_record *first = &list->items[0];
    for (uint32_t i = 1; i < list->n; i++)
        if (list->items[i].start < first->start)
            first = &list->items[i];
    if (!sink->skips)
        return lb_bad_message(local, data, first, err);
    if (sink->path != NULL) {
        LB_TRY(keep(sink, local, data, list, err));
        first = &list->items[0]; /* keep has sorted them */
    }
    if (lb_run_skip(local->worker, list->n)) {
        struct lb_error *message = lb_alloc_zero(sizeof *message);
        if (message == NULL)
            return lb_error_memory(err, "an error message", sizeof *message);
        if (lb_bad_message(local, data, first, message) == LB_ERR_DATA)
            lb_run_keep_skipped(local->worker, message);
        lb_free(message, sizeof *message);
    }
    return LB_OK;
}
