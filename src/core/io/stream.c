/* Sequential reading and decompression: see stream.h.
 *
 * IDEA   The user or the name of a file says how it is compressed; where they say nothing, the first bytes do, and a failure says so.
 * STATES A compressed stream is between members (at the start, and after each) or inside one. End
 *        of file is good only between members, after at least one; an empty file is a truncated
 *        one (gzip, zstd and bzip2 say so, too; the lz4 tool lets it pass). The magic bytes are
 *        checked here, so that "garbage after" does not depend on what a library makes of it. */
#include "core/io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/meter.h"
#include "core/base/sys.h"
#include "core/io/once.h"
#include "core/io/stream_codec.h"

#ifdef LB_TINY
enum { INPUT_BYTES = 61 };
#else
enum { INPUT_BYTES = 256 << 10 };
#endif

/* Linux moves at most 2 GiB - 4096 in one call. */
enum { READ_LIMIT = 1 << 30 };

void lb_stream_watch(struct lb_stream *stream, const _Atomic int *stop)
{
    stream->stop = stop;
}

void lb_stream_count(struct lb_stream *stream, _Atomic uint64_t *bytes)
{
    stream->counter = bytes;
    atomic_fetch_add_explicit(bytes, stream->read_bytes, memory_order_relaxed);
}

/* What was read of an input to find its columns was read as the user said then. Else the stream waits on. */
static lb_status check_told(const struct lb_file *file, struct lb_stream **stream,
                            struct lb_error *err)
{
    struct lb_stream *kept = *stream;
    if (kept->is_told == file->is_told && kept->told == file->compression)
        return LB_OK;
    *stream = NULL;
    lb_status status = lb_once_keep(file, kept, err);
    if (status != LB_OK)
        lb_stream_close(kept);
    LB_TRY(status);
    return lb_error_set(err, LB_ERR_USAGE, "%s is being read with another 'compression'",
                        lb_file_label(file));
}

lb_status lb_stream_open(const struct lb_file *file, struct lb_stream **stream,
                         struct lb_error *err)
{
    bool is_stdin = strcmp(file->path, "-") == 0;
    lb_status status;
    if (is_stdin || !file->is_regular) {
        LB_TRY(lb_once_begin(file, stream, err));
        if (*stream != NULL)
            return check_told(file, stream, err);
    }
    struct lb_stream *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "an input stream", sizeof *self);
    self->compression = file->compression;
    self->codec = lb_codec_class_of(file->compression);
    self->fd = STDIN_FILENO;
    self->path = lb_strdup(lb_file_label(file));
    self->is_told = file->is_told;
    self->told = file->compression;
    self->is_guessed =
        !file->is_told && self->codec != NULL && lb_compression_of(file->path) == LB_PLAIN;
    self->detects = self->codec == NULL && !file->is_told && (is_stdin || !file->is_regular);
    bool has_input = self->codec != NULL || self->detects;
    if (has_input)
        self->input = lb_alloc(INPUT_BYTES);
    if (self->path == NULL || (has_input && self->input == NULL)) {
        status = lb_error_memory(err, "an input stream", INPUT_BYTES);
        goto fail;
    }
    if (!is_stdin) {
        self->fd = lb_sys.open(file->path, O_RDONLY | O_CLOEXEC, 0);
        if (self->fd < 0) {
            status =
                file->is_regular && errno == ENOENT
                    ? lb_error_set(err, LB_ERR_DATA, "%s was removed while it was read", self->path)
                    : lb_error_io(err, errno, "cannot open '%s'", file->path);
            goto fail;
        }
        self->owns_fd = true;
        self->file = *file;
        self->file.path = self->path;
        self->file.label = NULL;
        status = lb_file_check(&self->file, self->fd, err);
        if (status != LB_OK)
            goto fail;
    }
    self->may_wait = is_stdin || !file->is_regular;
    *stream = self;
    return LB_OK;

fail:
    lb_stream_close(self);
    return status;
}

void lb_stream_close(struct lb_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->has_decoder)
        stream->codec->stop(stream);
    lb_memory_give(stream->charged_bytes);
    if (stream->owns_fd)
        lb_sys.close(stream->fd);
    lb_free(stream->front, stream->front_end);
    lb_free(stream->input, stream->input != NULL ? INPUT_BYTES : 0);
    lb_strfree(stream->path);
    lb_free(stream, sizeof *stream);
}

lb_status lb_stream_detect(struct lb_file *file, struct lb_error *err)
{
    if (!file->is_regular || file->is_told || file->compression != LB_PLAIN ||
        file->size_bytes == 0)
        return LB_OK;
    struct lb_stream *stream = NULL;
    char head[LB_CODEC_HEAD_BYTES];
    size_t got = 0;
    LB_TRY(lb_stream_open(file, &stream, err));
    lb_status status = lb_stream_read(stream, head, sizeof head, &got, err);
    lb_stream_close(stream);
    if (status == LB_OK)
        file->compression = lb_codec_detect(head, got);
    return status;
}

uint64_t lb_stream_raw_bytes(const struct lb_stream *stream)
{
    return stream->read_bytes - (stream->input_end - stream->input_start);
}

/* Waits until there is something to read, or the stream is told to stop. */
static lb_status wait_for_bytes(struct lb_stream *stream, struct lb_error *err)
{
    struct pollfd ready = {.fd = stream->fd, .events = POLLIN};
    while (atomic_load(stream->stop) == 0)
        if (poll(&ready, 1, 50) != 0) /* errors show in the read */
            return LB_OK;
    return lb_error_set(err, LB_ERR_CANCELLED, "reading '%s' was stopped", stream->path);
}

/* Reads once; *got 0 is the end of the file. */
static lb_status read_once(struct lb_stream *stream, char *data, size_t size, size_t *got,
                           struct lb_error *err)
{
    if (stream->stop != NULL && stream->may_wait)
        LB_TRY(wait_for_bytes(stream, err));
    ssize_t n = lb_sys.read(stream->fd, data, size < READ_LIMIT ? size : READ_LIMIT);
    if (n < 0)
        return lb_error_io(err, errno, "cannot read '%s' at byte %llu", stream->path,
                           (unsigned long long)stream->read_bytes);
    stream->read_bytes += (uint64_t)n;
    if (stream->counter != NULL)
        atomic_fetch_add_explicit(stream->counter, (uint64_t)n, memory_order_relaxed);
    *got = (size_t)n;
    return lb_file_check(&stream->file, stream->fd, err);
}

static lb_status read_some(struct lb_stream *stream, char *data, size_t size, size_t *got,
                           struct lb_error *err)
{
    struct lb_meter_place before = lb_meter_enter(NULL, LB_TIME_WAIT);
    lb_status status = read_once(stream, data, size, got, err);
    lb_meter_leave(before);
    return status;
}

static lb_status read_plain(struct lb_stream *stream, char *data, size_t size, size_t *got,
                            struct lb_error *err)
{
    size_t done = 0;
    while (done < size && !stream->ended) {
        size_t n;
        LB_TRY(read_some(stream, data + done, size - done, &n, err));
        stream->ended = n == 0;
        done += n;
    }
    *got = done;
    return LB_OK;
}

/* Reads until at least `wanted` bytes of input are at hand, or the file ends. */
static lb_status fill_input(struct lb_stream *stream, size_t wanted, struct lb_error *err)
{
    size_t held = stream->input_end - stream->input_start;
    if (held >= wanted || stream->input_ended)
        return LB_OK;
    memmove(stream->input, stream->input + stream->input_start, held);
    stream->input_start = 0;
    stream->input_end = held;
    while (stream->input_end < wanted && !stream->input_ended) {
        size_t n;
        LB_TRY(read_some(stream, stream->input + stream->input_end, INPUT_BYTES - stream->input_end,
                         &n, err));
        stream->input_ended = n == 0;
        stream->input_end += n;
    }
    return LB_OK;
}

/* Puts bytes before all that is to be read. */
static lb_status put_back(struct lb_stream *stream, const char *data, size_t size,
                          struct lb_error *err)
{
    size_t held = stream->front_end - stream->front_start;
    if (size == 0)
        return LB_OK;
    char *front = lb_alloc(size + held);
    if (front == NULL)
        return lb_error_memory(err, "the first bytes of an input", size + held);
    memcpy(front, data, size);
    if (held > 0)
        memcpy(front + size, stream->front + stream->front_start, held);
    lb_free(stream->front, stream->front_end);
    stream->front = front;
    stream->front_start = 0;
    stream->front_end = size + held;
    return LB_OK;
}

/* Looks at the first bytes of an input whose name says nothing. */
static lb_status detect(struct lb_stream *stream, struct lb_error *err)
{
    LB_TRY(fill_input(stream, LB_CODEC_HEAD_BYTES, err));
    size_t held = stream->input_end;
    stream->compression = lb_codec_detect(stream->input, held);
    stream->codec = lb_codec_class_of(stream->compression);
    stream->detects = false;
    stream->is_guessed = stream->codec != NULL;
    if (stream->is_guessed)
        return LB_OK;
    LB_TRY(put_back(stream, stream->input, held, err));
    stream->ended = stream->input_ended;
    stream->input_end = 0;
    lb_free(stream->input, INPUT_BYTES);
    stream->input = NULL;
    return LB_OK;
}

static lb_status data_error(const struct lb_stream *stream, const char *what, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_DATA, "%s: %s %s data at byte %llu", stream->path, what,
                        stream->codec->name, (unsigned long long)lb_stream_raw_bytes(stream));
}

/* gzip members may be padded with zero bytes up to the end of the file (tapes, block devices). */
static lb_status skip_padding(struct lb_stream *stream, struct lb_error *err)
{
    for (;;) {
        while (stream->input_start < stream->input_end) {
            if (stream->input[stream->input_start] != 0)
                return data_error(stream, "garbage after", err);
            stream->input_start++;
        }
        if (stream->input_ended)
            return LB_OK;
        LB_TRY(fill_input(stream, 1, err));
    }
}

/* Between members: begins the next one, or finds the good end. */
static lb_status begin_member(struct lb_stream *stream, struct lb_error *err)
{
    const struct lb_codec_class *codec = stream->codec;
    LB_TRY(fill_input(stream, codec->magic_bytes, err));
    size_t held = stream->input_end - stream->input_start;
    const unsigned char *head = (unsigned char *)stream->input + stream->input_start;
    if (held == 0) {
        if (stream->n_members == 0)
            return data_error(stream, "truncated", err);
        stream->ended = true;
        return LB_OK;
    }
    if (stream->compression == LB_GZIP && stream->n_members > 0 && head[0] == 0) {
        LB_TRY(skip_padding(stream, err));
        stream->ended = true;
        return LB_OK;
    }
    if (!codec->is_magic(head, held)) {
        if (stream->n_members > 0)
            return data_error(stream, "garbage after", err);
        return lb_error_set(err, LB_ERR_DATA, "%s: this is not %s data (byte 0)", stream->path,
                            codec->name);
    }
    if (held < codec->magic_bytes) {
        stream->input_start = stream->input_end; /* the byte named is where the file ends */
        return data_error(stream, "truncated", err);
    }
    LB_TRY(codec->begin(stream, err));
    stream->inside = true;
    stream->n_members++;
    return LB_OK;
}

/* Inside a member: decodes some bytes. */
static lb_status decode_some(struct lb_stream *stream, char *data, size_t size, size_t *got,
                             struct lb_error *err)
{
    bool member_ended = false;
    LB_TRY(fill_input(stream, 1, err));
    size_t before = stream->input_start;
    lb_status status = stream->codec->step(stream, data, size, got, &member_ended, err);
    if (status == LB_ERR_DATA) {
        lb_error_prefix(err, "%s: damaged %s data at byte %llu: ", stream->path,
                        stream->codec->name, (unsigned long long)lb_stream_raw_bytes(stream));
        return status;
    }
    LB_TRY(status);
    stream->inside = !member_ended;
    if (*got > 0)
        stream->is_guessed = false; /* text would hardly come this far */
    /* Without input, output or end it will never go on. */
    if (!member_ended && *got == 0 && stream->input_start == before && stream->input_ended)
        return data_error(stream, "truncated", err);
    return LB_OK;
}

lb_status lb_stream_keep(struct lb_stream *stream, const struct lb_file *file, const char *data,
                         size_t size, struct lb_error *err)
{
    stream->stop = NULL;
    stream->counter = NULL;
    lb_status status = put_back(stream, data, size, err);
    if (status == LB_OK)
        status = lb_once_keep(file, stream, err);
    if (status != LB_OK)
        lb_stream_close(stream);
    return status;
}

/* Gives what was put back. */
static size_t read_front(struct lb_stream *stream, char *data, size_t size)
{
    size_t held = stream->front_end - stream->front_start;
    size_t n = size < held ? size : held;
    if (n > 0)
        memcpy(data, stream->front + stream->front_start, n);
    stream->front_start += n;
    return n;
}

static lb_status read_on(struct lb_stream *stream, char *data, size_t size, size_t *got,
                         struct lb_error *err)
{
    if (stream->codec == NULL)
        return read_plain(stream, data, size, got, err);
    size_t done = 0;
    while (done < size && !stream->ended) {
        if (!stream->inside) {
            LB_TRY(begin_member(stream, err));
            continue;
        }
        size_t n = 0;
        LB_TRY(decode_some(stream, data + done, size - done, &n, err));
        done += n;
    }
    *got = done;
    return LB_OK;
}

/* What is wrong with the data of a file that changed is that it changed; text may begin as compressed data does. */
static lb_status blame(const struct lb_stream *stream, lb_status status, struct lb_error *err)
{
    if (status != LB_ERR_DATA || err == NULL)
        return status;
    struct lb_error changed;
    if (stream->owns_fd && lb_file_check(&stream->file, stream->fd, &changed) == LB_ERR_DATA) {
        *err = changed;
    } else if (stream->is_guessed) {
        size_t size = strlen(err->message);
        snprintf(
            err->message + size, sizeof err->message - size,
            "\n  its first bytes are those of %s data; compression = \"none\" reads it as it is",
            stream->codec->name);
    }
    return status;
}

lb_status lb_stream_read(struct lb_stream *stream, char *data, size_t size, size_t *got,
                         struct lb_error *err)
{
    if (stream->detects)
        LB_TRY(detect(stream, err));
    size_t front = read_front(stream, data, size);
    *got = front;
    if (front == size)
        return LB_OK;
    lb_status status = read_on(stream, data + front, size - front, got, err);
    if (status != LB_OK)
        return blame(stream, status, err);
    *got += front;
    return LB_OK;
}
