/* Spill files: see spill.h for the format.
 *
 * IDEA   Append only, at offsets the one appending thread keeps; reads are positioned and share
 *        nothing but the descriptor. A frame whose write failed has moved no offset, so the next
 *        append writes over it.
 * MEMORY One buffer as large as the largest frame's bound, and lz4's 16 KiB table.
 * WHY NOT keep a frame compressed that hardly shrank: reading it back would pay for nothing. Nor is one tried in vain again and
 *        again: behind one that is not worth its time only one of RETRY_FRAMES is compressed. Rows that are packed well (join_values.h)
 *        shrink by a fifth, for a sixth of all the time that a join of two large inputs takes. */
#include "core/io/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fault.h"
#include "core/base/hash.h"
#include "core/base/meter.h"
#include "core/base/sys.h"

enum {
    FRAME_MAGIC = 0x4650424c, /* "LBPF" */
    HEAD_BYTES = 24,
    NAME_ATTEMPTS = 100,
    LARGE_BYTES = 1 << 20,
    WORTH_PERCENT = 70, /* of its bytes, to which a frame must shrink to be worth its time */
    RETRY_FRAMES = 16,
    TELLING_BYTES = 4096 /* of a frame, so that others are judged by it */
};

struct frame_head {
    uint32_t magic;
    uint32_t raw_size;
    uint32_t stored_size;
    uint32_t zero;
    uint64_t hash; /* see frame_hash */
};
_Static_assert(sizeof(struct frame_head) == HEAD_BYTES, "the head has no holes");

struct lb_spill {
    int fd;
    char *tmp_dir;           /* for messages */
    struct lb_budget *space; /* where its bytes are reserved; may be NULL */
    uint64_t number;         /* random: no two files have the same */
    _Atomic uint64_t
        end_bytes;       /* where the next frame goes; written by the appending thread only */
    struct lb_buf frame; /* head and stored bytes of the frame being written */
    uint32_t n_plain;    /* frames to come that are not compressed */
    char *lz4_state;
};

static uint64_t random_number(const void *address, uint64_t i)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = lb_hash_pair((uint64_t)(uintptr_t)address ^ (uint64_t)getpid() << 48, i);
    return random;
}

/* A file without a name in tmp_dir, or -1 with errno. */
static int open_nameless(const char *tmp_dir)
{
    int fd = lb_sys.open(tmp_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    /* The file system has no such thing: a name, for a moment. */
    size_t size = strlen(tmp_dir) + 40;
    char *path = lb_alloc(size);
    if (path == NULL) {
        errno = ENOMEM;
        return -1;
    }
    for (int i = 0; i < NAME_ATTEMPTS; i++) {
        snprintf(path, size, "%s/.luabatch-%016llx", tmp_dir,
                 (unsigned long long)random_number(path, (uint64_t)i));
        fd = lb_sys.open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST)
            break;
    }
    if (fd >= 0 && lb_sys.unlink(path) != 0) {
        int errno_value = errno;
        lb_sys.close(fd);
        fd = -1;
        errno = errno_value;
    }
    lb_free(path, size);
    return fd;
}

lb_status lb_spill_new(const struct lb_spill_place *place, struct lb_spill **spill,
                       struct lb_error *err)
{
    lb_status status;
    struct lb_spill *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "a spill file", sizeof *self);
    self->fd = -1;
    self->number = random_number(self, (uint64_t)clock());
    self->space = place->space;
    self->tmp_dir = lb_strdup(place->dir);
    self->lz4_state = lb_alloc((size_t)LZ4_sizeofState());
    if (self->tmp_dir == NULL || self->lz4_state == NULL) {
        status = lb_error_memory(err, "a spill file", (size_t)LZ4_sizeofState());
        goto fail;
    }
    self->fd = open_nameless(place->dir);
    if (self->fd < 0) {
        status = lb_error_io(err, errno, "cannot make a spill file in '%s'", place->dir);
        goto fail;
    }
    *spill = self;
    return LB_OK;

fail:
    lb_spill_delete(self);
    return status;
}

void lb_spill_delete(struct lb_spill *spill)
{
    if (spill == NULL)
        return;
    if (spill->fd >= 0)
        lb_sys.close(spill->fd);
    if (spill->space != NULL)
        lb_budget_release(spill->space, (size_t)lb_spill_bytes(spill));
    lb_buf_fini(&spill->frame);
    lb_free(spill->lz4_state, (size_t)LZ4_sizeofState());
    lb_strfree(spill->tmp_dir);
    lb_free(spill, sizeof *spill);
}

uint64_t lb_spill_bytes(const struct lb_spill *spill)
{
    return atomic_load_explicit(&spill->end_bytes, memory_order_relaxed);
}

static lb_status write_frame(struct lb_spill *spill, uint64_t offset, struct lb_error *err)
{
    size_t done = 0;
    while (done < spill->frame.size) {
        ssize_t n = lb_sys.pwrite(spill->fd, spill->frame.data + done, spill->frame.size - done,
                                  (off_t)(offset + done));
        if (n <= 0)
            return lb_error_io(err, n < 0 ? errno : ENOSPC,
                               "cannot write a spill file in '%s' (see --tmp)", spill->tmp_dir);
        done += (size_t)n;
    }
    return LB_OK;
}

/* The checksum of the bytes stored in the frame at an offset of this very file. */
static uint64_t frame_hash(const struct lb_spill *spill, uint64_t offset, const char *body,
                           size_t size)
{
    return lb_hash_pair(lb_hash_bytes(body, size) ^ spill->number, offset);
}

/* For tests: damage on purpose. It is made while writing, as a disk would make it; which bit, and how much is cut, depends on
 * the bytes. */
static void damage_before(struct lb_spill *spill, uint64_t offset)
{
    struct lb_buf *frame = &spill->frame;
    if (LB_FAULT(FRAME_FLIP, NULL)) {
        uint64_t bit = lb_hash_bytes(frame->data, frame->size) % (frame->size * 8);
        frame->data[bit / 8] ^= (char)(1 << bit % 8);
    }
    if (LB_FAULT(FRAME_FOREIGN, NULL)) {
        uint64_t hash = frame_hash(spill, offset + frame->size, frame->data + HEAD_BYTES,
                                   frame->size - HEAD_BYTES);
        memcpy(frame->data + offsetof(struct frame_head, hash), &hash, sizeof hash);
    }
}

static void damage_after(struct lb_spill *spill, uint64_t offset)
{
    const struct lb_buf *frame = &spill->frame;
    if (LB_FAULT(FRAME_CUT, NULL))
        (void)!lb_sys.ftruncate(
            spill->fd, (off_t)(offset + lb_hash_bytes(frame->data, frame->size) % frame->size));
}

static lb_status append(struct lb_spill *spill, const void *data, size_t size,
                        struct lb_frame *frame, struct lb_error *err)
{
    if (size > UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "a spilled piece of %zu bytes is too large",
                            size);
    bool is_telling = size >= TELLING_BYTES;
    bool may_shrink = size > 0 && size <= LZ4_MAX_INPUT_SIZE && !(is_telling && spill->n_plain > 0);
    if (is_telling && spill->n_plain > 0)
        spill->n_plain--;
    size_t bound = may_shrink ? (size_t)LZ4_compressBound((int)size) : size;
    spill->frame.size = 0;
    LB_TRY(lb_buf_reserve(&spill->frame, HEAD_BYTES + bound, err));
    char *body = spill->frame.data + HEAD_BYTES;
    size_t stored = 0;
    if (may_shrink)
        stored = (size_t)LZ4_compress_fast_extState(spill->lz4_state, data, body, (int)size,
                                                    (int)bound, 1);
    if (may_shrink && is_telling && stored > size / 100 * WORTH_PERCENT)
        spill->n_plain = RETRY_FRAMES - 1;
    /* Compressed bytes as many as the data would pass for bytes that are not compressed. */
    if (stored == 0 || stored >= size - size / 16) {
        if (size > 0)
            memcpy(body, data, size);
        stored = size;
    }
    uint64_t offset = lb_spill_bytes(spill);
    struct frame_head head = {
        .magic = FRAME_MAGIC,
        .raw_size = (uint32_t)size,
        .stored_size = (uint32_t)stored,
        .hash = frame_hash(spill, offset, body, stored),
    };
    memcpy(spill->frame.data, &head, HEAD_BYTES);
    spill->frame.size = HEAD_BYTES + stored;
    if (spill->space != NULL && !lb_budget_reserve(spill->space, spill->frame.size)) {
        double kib = (double)atomic_load(&spill->space->limit_bytes) / 1024;
        return lb_error_set(
            err, LB_ERR_RESOURCE,
            "spill files in '%s' would take more than the %.1f %s that --max-spill allows",
            spill->tmp_dir, kib < 1024 ? kib : kib / 1024, kib < 1024 ? "KiB" : "MiB");
    }
    damage_before(spill, offset);
    lb_status status = write_frame(spill, offset, err);
    if (status != LB_OK) {
        if (spill->space != NULL)
            lb_budget_release(spill->space, spill->frame.size);
        return status;
    }
    damage_after(spill, offset);
    atomic_store_explicit(&spill->end_bytes, offset + spill->frame.size, memory_order_relaxed);
    *frame = (struct lb_frame){offset, head.raw_size, head.stored_size};
    /* There may be as many files as runs: none keeps room for its longest row. */
    if (spill->frame.capacity > LARGE_BYTES)
        lb_buf_fini(&spill->frame);
    return LB_OK;
}

lb_status lb_spill_append(struct lb_spill *spill, const void *data, size_t size,
                          struct lb_frame *frame, struct lb_error *err)
{
    struct lb_meter_place before = lb_meter_enter_spill();
    lb_status status = append(spill, data, size, frame, err);
    lb_meter_leave_spill(before, status == LB_OK ? HEAD_BYTES + (uint64_t)frame->stored_size : 0,
                         0);
    return status;
}

static lb_status damaged(const struct lb_spill *spill, const struct lb_frame *frame,
                         const char *what, struct lb_error *err)
{
    lb_error_set(err, LB_ERR_RESOURCE, "spill file damaged at byte %llu: %s (in '%s')",
                 (unsigned long long)frame->offset, what, spill->tmp_dir);
    if (err != NULL)
        err->is_transient = true;
    return LB_ERR_RESOURCE;
}

static lb_status read_frame(struct lb_spill *spill, const struct lb_frame *frame, void *out,
                            struct lb_buf *scratch, struct lb_error *err)
{
    size_t size = HEAD_BYTES + (size_t)frame->stored_size;
    scratch->size = 0;
    LB_TRY(lb_buf_reserve(scratch, size, err));
    for (size_t done = 0; done < size;) {
        ssize_t n = lb_sys.pread(spill->fd, scratch->data + done, size - done,
                                 (off_t)(frame->offset + done));
        if (n < 0)
            return lb_error_io(err, errno, "cannot read a spill file in '%s'", spill->tmp_dir);
        if (n == 0)
            return damaged(spill, frame, "it ends early", err);
        done += (size_t)n;
    }

    struct frame_head head;
    const char *body = scratch->data + HEAD_BYTES;
    memcpy(&head, scratch->data, HEAD_BYTES);
    if (head.magic != FRAME_MAGIC || head.raw_size != frame->raw_size ||
        head.stored_size != frame->stored_size || head.zero != 0)
        return damaged(spill, frame, "wrong frame head", err);
    if (frame_hash(spill, frame->offset, body, head.stored_size) != head.hash)
        return damaged(spill, frame, "wrong checksum", err);
    if (head.stored_size == head.raw_size) {
        if (head.raw_size > 0)
            memcpy(out, body, head.raw_size);
    } else if (LZ4_decompress_safe(body, out, (int)head.stored_size, (int)head.raw_size) !=
               (int)head.raw_size) {
        return damaged(spill, frame, "wrong lz4 data", err);
    }
    return LB_OK;
}

lb_status lb_spill_read(struct lb_spill *spill, const struct lb_frame *frame, void *out,
                        struct lb_buf *scratch, struct lb_error *err)
{
    struct lb_meter_place before = lb_meter_enter_spill();
    lb_status status = read_frame(spill, frame, out, scratch, err);
    lb_meter_leave_spill(before, 0, HEAD_BYTES + (uint64_t)frame->stored_size);
    return status;
}

lb_status lb_spill_read_buf(struct lb_spill *spill, const struct lb_frame *frame,
                            struct lb_buf *out, struct lb_buf *scratch, struct lb_error *err)
{
    out->size = 0;
    LB_TRY(lb_buf_reserve(out, frame->raw_size, err));
    LB_TRY(lb_spill_read(spill, frame, out->data, scratch, err));
    out->size = frame->raw_size;
    return LB_OK;
}
