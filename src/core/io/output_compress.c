/* Self-contained compressed members for output, and what they may stand behind: see output.h. */
#include <bzlib.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lz4frame.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "core/base/memory.h"
#include "core/base/sys.h"
#include "core/io/output.h"
#include "core/io/stream_codec.h"

enum {
    GZIP_LEVEL = 6, /* the levels of the command line tools */
    ZSTD_LEVEL = 3,
    ZSTD_BYTES = 2 << 20, /* an encoder of that level takes less beside the gate */
    BZIP2_LEVEL = 9,
    PIECE_BYTES = 1 << 30, /* what fits the libraries' unsigned int fields */
    OUTPUT_STEP_BYTES = 64 << 10
};

static unsigned next_piece(size_t left)
{
    return left < PIECE_BYTES ? (unsigned)left : PIECE_BYTES;
}

static lb_status gzip_member(const char *data, size_t size, struct lb_buf *out,
                             struct lb_error *err)
{
    z_stream zlib = {.zalloc = lb_codec_alloc, .zfree = lb_codec_free};
    if (deflateInit2(&zlib, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return lb_error_memory(err, "a gzip encoder", 1 << 18);
    lb_status status = LB_OK;
    int result = Z_OK;
    zlib.next_in = (unsigned char *)(uintptr_t)data;
    while (result != Z_STREAM_END) {
        if (zlib.avail_in == 0) {
            zlib.avail_in = next_piece(size);
            size -= zlib.avail_in;
        }
        size_t room = zlib.avail_in / 4 + OUTPUT_STEP_BYTES;
        status = lb_buf_reserve(out, room, err);
        if (status != LB_OK)
            break;
        zlib.next_out = (unsigned char *)out->data + out->size;
        zlib.avail_out = (unsigned)room;
        result = deflate(&zlib, size == 0 ? Z_FINISH : Z_NO_FLUSH);
        out->size += room - zlib.avail_out;
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
            status = lb_error_set(err, LB_ERR_INTERNAL, "gzip encoder failed (%d)", result);
            break;
        }
    }
    deflateEnd(&zlib);
    return status;
}

static lb_status zstd_member(const char *data, size_t size, struct lb_buf *out,
                             struct lb_error *err)
{
    size_t bound = ZSTD_compressBound(size);
    LB_TRY(lb_buf_reserve(out, bound, err));
    if (!lb_memory_take(ZSTD_BYTES))
        return lb_error_memory(err, "a zstd encoder", ZSTD_BYTES);
    ZSTD_CCtx *encoder = ZSTD_createCCtx();
    if (encoder == NULL) {
        lb_memory_give(ZSTD_BYTES);
        return lb_error_memory(err, "a zstd encoder", ZSTD_BYTES);
    }
    ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(encoder, ZSTD_c_checksumFlag, 1);
    size_t made = ZSTD_compress2(encoder, out->data + out->size, bound, data, size);
    ZSTD_freeCCtx(encoder);
    lb_memory_give(ZSTD_BYTES);
    if (ZSTD_isError(made))
        return lb_error_set(err, LB_ERR_RESOURCE, "zstd encoder: %s", ZSTD_getErrorName(made));
    out->size += made;
    return LB_OK;
}

static lb_status lz4_member(const char *data, size_t size, struct lb_buf *out, struct lb_error *err)
{
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    preferences.frameInfo.blockSizeID = LZ4F_max4MB;
    preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    preferences.frameInfo.contentSize = size;
    size_t bound = LZ4F_compressFrameBound(size, &preferences);
    LB_TRY(lb_buf_reserve(out, bound, err));
    size_t made = LZ4F_compressFrame(out->data + out->size, bound, data, size, &preferences);
    if (LZ4F_isError(made))
        return lb_error_set(err, LB_ERR_RESOURCE, "lz4 encoder: %s", LZ4F_getErrorName(made));
    out->size += made;
    return LB_OK;
}

static void *bzip2_alloc(void *unused, int count, int size)
{
    return lb_codec_alloc(unused, (unsigned)count, (unsigned)size);
}

static lb_status bzip2_member(const char *data, size_t size, struct lb_buf *out,
                              struct lb_error *err)
{
    bz_stream bzip2 = {.bzalloc = bzip2_alloc, .bzfree = lb_codec_free};
    if (BZ2_bzCompressInit(&bzip2, BZIP2_LEVEL, 0, 0) != BZ_OK)
        return lb_error_memory(err, "a bzip2 encoder", 8 << 20);
    lb_status status = LB_OK;
    int result = BZ_RUN_OK;
    bzip2.next_in = (char *)(uintptr_t)data;
    while (result != BZ_STREAM_END) {
        if (bzip2.avail_in == 0 && size > 0) {
            bzip2.avail_in = next_piece(size);
            size -= bzip2.avail_in;
        }
        status = lb_buf_reserve(out, OUTPUT_STEP_BYTES, err);
        if (status != LB_OK)
            break;
        bzip2.next_out = out->data + out->size;
        bzip2.avail_out = OUTPUT_STEP_BYTES;
        result = BZ2_bzCompress(&bzip2, size == 0 ? BZ_FINISH : BZ_RUN);
        out->size += OUTPUT_STEP_BYTES - bzip2.avail_out;
        if (result < 0) {
            status = lb_error_set(err, LB_ERR_INTERNAL, "bzip2 encoder failed (%d)", result);
            break;
        }
    }
    BZ2_bzCompressEnd(&bzip2);
    return status;
}

lb_status lb_output_compress(enum lb_compression compression, const void *data, size_t size,
                             struct lb_buf *out, struct lb_error *err)
{
    switch (compression) {
    case LB_GZIP:
        return gzip_member(data, size, out, err);
    case LB_ZSTD:
        return zstd_member(data, size, out, err);
    case LB_LZ4:
        return lz4_member(data, size, out, err);
    case LB_BZIP2:
        return bzip2_member(data, size, out, err);
    default:
        return lb_buf_append(out, data, size, err);
    }
}

/* The first bytes of a file: as many as there are. */
static lb_status read_head(const char *path, char *head, size_t size, size_t *got,
                           struct lb_error *err)
{
    lb_status status = LB_OK;
    ssize_t n = 1;
    int fd = lb_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return lb_error_system(err, errno, "cannot read '%s'", path);
    for (*got = 0; n > 0 && *got<size; *got += n> 0 ? (size_t)n : 0)
        n = lb_sys.read(fd, head + *got, size - *got);
    if (n < 0)
        status = lb_error_system(err, errno, "cannot read '%s'", path);
    lb_sys.close(fd);
    return status;
}

static const char *kind_of(enum lb_compression compression)
{
    return compression == LB_PLAIN ? "plain" : lb_codec_class_of(compression)->name;
}

lb_status lb_output_check_mix(const char *path, enum lb_compression compression,
                              struct lb_error *err)
{
    struct stat info;
    char head[LB_CODEC_HEAD_BYTES], *label;
    size_t got = 0;
    if (!lb_output_exists(path) || lb_sys.stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return LB_OK; /* what is wrong with it lb_output_check says */
    LB_TRY(read_head(path, head, sizeof head, &got, err));
    enum lb_compression old = lb_codec_detect(head, got);
    const struct lb_codec_class *codec = lb_codec_class_of(compression);
    /* Frames to be skipped may begin files of two kinds. */
    bool is_member = codec != NULL && got >= codec->magic_bytes &&
                     codec->is_magic((const unsigned char *)head, got);
    if (got == 0 || is_member || old == compression)
        return LB_OK;
    LB_TRY(lb_path_label(path, &label, err));
    lb_error_set(err, LB_ERR_USAGE, "%s holds %s data: %s data cannot be appended to it",
                 label != NULL ? label : path, kind_of(old), kind_of(compression));
    lb_strfree(label);
    return LB_ERR_USAGE;
}
