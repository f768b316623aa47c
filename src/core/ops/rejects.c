/* Records that a run leaves out: see rejects.h. */
#include "core/ops/rejects.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/io/format.h"
#include "core/io/output.h"
#include "core/io/spill.h"
#include "core/ops/line_counter.h"
#include "core/ops/skips.h"

struct chunk {
    uint32_t stage;
    uint64_t morsel;
    struct lb_frame frame;
};

struct lb_rejects {
    char *path;
    pthread_mutex_t lock;     /* guards what follows */
    struct lb_spill *spill;   /* made with the first chunk */
    struct lb_buf chunks;     /* of struct chunk */
    struct lb_buf firsts;     /* names of files whose lines stand first, each with its NUL */
    struct lb_output *output; /* at the end */
    struct lb_rejects *next;
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* of the runs' lists */

/* What stands before each record in a frame; its texts follow, then its value. */
struct head {
    uint64_t offset, line;
    uint32_t file_size, kind_size, message_size, verb_size; /* file_size, verb_size 0: none */
    uint32_t value_size;
    uint32_t is_key;
};

/* ---- collecting ---- */

static lb_status make(const char *path, size_t size, struct lb_rejects **made, struct lb_error *err)
{
    struct lb_rejects *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "bad records", sizeof *self);
    self->path = lb_alloc(size + 1); /* just as long as lb_strfree takes it to be */
    if (self->path == NULL) {
        lb_free(self, sizeof *self);
        return lb_error_memory(err, "bad records", size);
    }
    memcpy(self->path, path, size);
    self->path[size] = '\0';
    pthread_mutex_init(&self->lock, NULL);
    *made = self;
    return LB_OK;
}

lb_status lb_rejects_of(struct lb_run *run, const char *path, size_t path_size,
                        struct lb_rejects **rejects, struct lb_error *err)
{
    lb_status status = LB_OK;
    if (path_size == 0 || memchr(path, '\0', path_size) != NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: a file for bad records has a wrong name");
    pthread_mutex_lock(&list_lock);
    struct lb_rejects **last = &run->rejects;
    while (*last != NULL &&
           (strlen((*last)->path) != path_size || memcmp((*last)->path, path, path_size) != 0))
        last = &(*last)->next;
    if (*last == NULL)
        status = make(path, path_size, last, err);
    *rejects = *last;
    pthread_mutex_unlock(&list_lock);
    return status;
}

lb_status lb_rejects_begin_with(struct lb_run *run, const char *path, const char *file,
                                struct lb_error *err)
{
    struct lb_rejects *rejects;
    LB_TRY(lb_rejects_of(run, path, strlen(path), &rejects, err));
    return lb_buf_append(&rejects->firsts, file, strlen(file) + 1, err);
}

lb_status lb_reject_put(const struct lb_reject *reject, struct lb_buf *buffer, struct lb_error *err)
{
    const char *file = reject->origin.file;
    struct head head = {
        .offset = reject->origin.offset,
        .line = reject->origin.line,
        .file_size = file != NULL ? (uint32_t)strlen(file) : 0,
        .kind_size = (uint32_t)strlen(reject->kind),
        .message_size = (uint32_t)strlen(reject->message),
        .verb_size = reject->verb != NULL ? (uint32_t)strlen(reject->verb) : 0,
        .value_size = (uint32_t)reject->value_size,
        .is_key = reject->is_key,
    };
    LB_TRY(lb_buf_append(buffer, &head, sizeof head, err));
    LB_TRY(lb_buf_append(buffer, file, head.file_size, err));
    LB_TRY(lb_buf_append(buffer, reject->kind, head.kind_size, err));
    LB_TRY(lb_buf_append(buffer, reject->message, head.message_size, err));
    LB_TRY(lb_buf_append(buffer, reject->verb, head.verb_size, err));
    return lb_buf_append(buffer, reject->value, head.value_size, err);
}

lb_status lb_rejects_add(struct lb_rejects *rejects, struct lb_worker *worker,
                         struct lb_buf *buffer, struct lb_error *err)
{
    const struct lb_run *run = worker->run;
    struct lb_frame frame;
    lb_status status = LB_OK;
    if (buffer->size == 0)
        return LB_OK;
    pthread_mutex_lock(&rejects->lock);
    if (rejects->spill == NULL)
        status = lb_spill_new(&run->spill, &rejects->spill, err);
    if (status == LB_OK)
        status = lb_spill_append(rejects->spill, buffer->data, buffer->size, &frame, err);
    pthread_mutex_unlock(&rejects->lock);
    buffer->size = 0;
    return status == LB_OK ? lb_skips_keep(worker, rejects, &frame, err) : status;
}

lb_status lb_rejects_commit(struct lb_rejects *rejects, const struct lb_worker *worker,
                            const struct lb_frame *frame, struct lb_error *err)
{
    struct chunk chunk = {.stage = worker->run->stage, .morsel = worker->morsel, .frame = *frame};
    pthread_mutex_lock(&rejects->lock);
    lb_status status = lb_buf_append(&rejects->chunks, &chunk, sizeof chunk, err);
    pthread_mutex_unlock(&rejects->lock);
    return status;
}

void lb_rejects_end_stage(struct lb_run *run, uint64_t last_morsel)
{
    for (struct lb_rejects *r = run->rejects; r != NULL; r = r->next) {
        struct chunk *chunks = (struct chunk *)(void *)r->chunks.data;
        size_t n = r->chunks.size / sizeof *chunks, n_kept = 0;
        for (size_t i = 0; i < n; i++)
            if (chunks[i].stage != run->stage || chunks[i].morsel <= last_morsel)
                chunks[n_kept++] = chunks[i];
        r->chunks.size = n_kept * sizeof *chunks;
    }
}

/* ---- writing ---- */

struct writer {
    struct lb_line_counter counter;
    struct lb_buf frame, scratch, value, lines;
    struct lb_output *output;
};

static lb_status put_text(struct lb_buf *out, const char *key, const char *text, size_t size,
                          struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, key, strlen(key), err));
    return lb_codec_put_string(out, text, size, err);
}

static lb_status put_number(struct lb_buf *out, const char *key, uint64_t number,
                            struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, key, strlen(key), err));
    return lb_codec_put_int(out, (int64_t)number, err);
}

/* Appends one record as a line; its texts stand at `texts`. */
static lb_status put_line(struct writer *w, const struct head *head, const char *texts,
                          struct lb_error *err)
{
    const char *file = texts, *kind = file + head->file_size, *message = kind + head->kind_size;
    const char *verb = message + head->message_size, *value = verb + head->verb_size;
    struct lb_buf *out = &w->value;
    bool has_place = head->file_size > 0;
    uint64_t line = head->line;
    size_t mark;
    if (has_place && line == 0) {
        LB_TRY(lb_line_counter_file(&w->counter, file, head->file_size, err));
        LB_TRY(lb_line_count(&w->counter, head->offset, &line, err));
    }
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &mark, err)); /* keys in byte order */
    if (has_place) {
        LB_TRY(put_number(out, "byte", head->offset, err));
        LB_TRY(put_text(out, "file", file, head->file_size, err));
    }
    if (head->is_key) {
        LB_TRY(lb_codec_put_string(out, "key", 3, err));
        LB_TRY(lb_buf_append(out, value, head->value_size, err));
    }
    LB_TRY(put_text(out, "kind", kind, head->kind_size, err));
    if (has_place)
        LB_TRY(put_number(out, "line", line, err));
    LB_TRY(put_text(out, "message", message, head->message_size, err));
    if (!head->is_key) {
        LB_TRY(lb_codec_put_string(out, "raw", 3, err));
        LB_TRY(lb_buf_append(out, value, head->value_size, err));
    }
    if (head->verb_size > 0)
        LB_TRY(put_text(out, "verb", verb, head->verb_size, err));
    lb_codec_end(out, mark, 3 + (has_place ? 3 : 0) + (head->verb_size > 0));
    LB_TRY(lb_format_encoded(LB_FORMAT_JSON, out->data, out->size, &w->lines, err));
    return lb_buf_append_byte(&w->lines, '\n', err);
}

static lb_status write_chunk(struct writer *w, struct lb_spill *spill, const struct chunk *chunk,
                             struct lb_error *err)
{
    w->lines.size = 0;
    LB_TRY(lb_spill_read_buf(spill, &chunk->frame, &w->frame, &w->scratch, err));
    for (size_t at = 0; at < w->frame.size;) {
        struct head head;
        memcpy(&head, w->frame.data + at, sizeof head);
        at += sizeof head;
        LB_TRY(put_line(w, &head, w->frame.data + at, err));
        at += (size_t)head.file_size + head.kind_size + head.message_size + head.verb_size +
              head.value_size;
    }
    return lb_output_write(w->output, w->lines.data, w->lines.size, err);
}

static int compare_chunks(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    if (x->stage != y->stage)
        return x->stage < y->stage ? -1 : 1;
    if (x->morsel != y->morsel)
        return x->morsel < y->morsel ? -1 : 1;
    return (x->frame.offset > y->frame.offset) - (x->frame.offset < y->frame.offset);
}

/* What checkpoints left out. */
static lb_status copy_file(struct lb_output *output, const char *path, struct lb_error *err)
{
    char data[16384];
    ssize_t n = 1;
    int fd = lb_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return lb_error_system(err, errno, "cannot open %s", path);
    lb_status status = LB_OK;
    while (status == LB_OK && n > 0) {
        n = lb_sys.read(fd, data, sizeof data);
        if (n < 0)
            status = lb_error_io(err, errno, "cannot read %s", path);
        else if (n > 0)
            status = lb_output_write(output, data, (size_t)n, err);
    }
    lb_sys.close(fd);
    return status;
}

static lb_status copy_firsts(struct lb_rejects *rejects, struct lb_error *err)
{
    const char *end = rejects->firsts.data + rejects->firsts.size;
    for (const char *at = rejects->firsts.data; at < end; at += strlen(at) + 1)
        LB_TRY(copy_file(rejects->output, at, err));
    return LB_OK;
}

static lb_status write_file(struct lb_rejects *rejects, struct lb_run *run, struct lb_error *err)
{
    struct chunk *chunks = (struct chunk *)(void *)rejects->chunks.data;
    size_t n = rejects->chunks.size / sizeof *chunks;
    LB_TRY(lb_output_new(rejects->path, LB_MODE_OVERWRITE, "", &rejects->output, err));
    lb_output_ask(rejects->output, run->must_stop, run);
    struct writer w = {.output = rejects->output};
    lb_line_counter_init(&w.counter);
    if (n > 0)
        qsort(chunks, n, sizeof *chunks, compare_chunks);
    lb_status status = rejects->firsts.size > 0 ? copy_firsts(rejects, err) : LB_OK;
    for (size_t i = 0; i < n && status == LB_OK; i++)
        status = write_chunk(&w, rejects->spill, &chunks[i], err);
    lb_line_counter_fini(&w.counter);
    lb_buf_fini(&w.frame);
    lb_buf_fini(&w.scratch);
    lb_buf_fini(&w.value);
    lb_buf_fini(&w.lines);
    return status;
}

static void delete (struct lb_rejects *rejects)
{
    if (rejects->output != NULL)
        lb_output_delete(rejects->output);
    if (rejects->spill != NULL)
        lb_spill_delete(rejects->spill);
    lb_buf_fini(&rejects->chunks);
    lb_buf_fini(&rejects->firsts);
    lb_strfree(rejects->path);
    pthread_mutex_destroy(&rejects->lock);
    lb_free(rejects, sizeof *rejects);
}

/* All are whole before the first of them gets its name. */
lb_status lb_rejects_write(struct lb_rejects *list, struct lb_run *run, struct lb_error *err)
{
    for (struct lb_rejects *r = list; r != NULL; r = r->next)
        LB_TRY(write_file(r, run, err));
    for (struct lb_rejects *r = list; r != NULL; r = r->next)
        LB_TRY(lb_output_commit(r->output, err));
    return LB_OK;
}

void lb_rejects_delete(struct lb_rejects *list)
{
    while (list != NULL) {
        struct lb_rejects *first = list;
        list = first->next;
        delete (first);
    }
}

struct lb_rejects *lb_rejects_hand_over(struct lb_run *run)
{
    struct lb_rejects *list = run->rejects;
    run->rejects = NULL;
    return list;
}

struct lb_rejects *lb_rejects_next(const struct lb_rejects *rejects)
{
    return rejects->next;
}

const char *lb_rejects_path(const struct lb_rejects *rejects)
{
    return rejects->path;
}

lb_status lb_rejects_redirect(struct lb_rejects *rejects, const char *path, struct lb_error *err)
{
    char *copy = lb_strdup(path);
    if (copy == NULL)
        return lb_error_memory(err, "bad records", strlen(path) + 1);
    lb_strfree(rejects->path);
    rejects->path = copy;
    return LB_OK;
}

lb_status lb_rejects_settle(struct lb_run *run, bool is_good, struct lb_error *err)
{
    struct lb_rejects *list = lb_rejects_hand_over(run);
    lb_status status = is_good ? lb_rejects_write(list, run, err) : LB_OK;
    lb_rejects_delete(list);
    return status;
}
