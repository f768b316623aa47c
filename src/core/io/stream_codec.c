/* The four decoders behind lb_stream: thin layers over zlib, zstd, lz4 and bzip2. zlib and bzip2 take their memory through our gate; the
 * stable interfaces of the other two have no such hook. What they took is charged after the step that read a frame's head: a window of up
 * to 2 GiB is then address space, of which that step can have written only what it gave. */
#include "core/io/stream_codec.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/sys.h"

/* ---- memory: blocks that remember their size ---- */

enum { MEMORY_HEAD = alignof(max_align_t) };

void *lb_codec_alloc(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    size_t total = (size_t)count * size + MEMORY_HEAD;
    char *block = lb_alloc(total);
    if (block == NULL)
        return NULL;
    *(size_t *)(void *)block = total;
    return block + MEMORY_HEAD;
}

void lb_codec_free(void *unused, void *pointer)
{
    (void)unused;
    if (pointer == NULL)
        return;
    char *block = (char *)pointer - MEMORY_HEAD;
    lb_free(block, *(size_t *)(void *)block);
}

static void *bzip2_alloc(void *unused, int count, int size)
{
    return lb_codec_alloc(unused, (unsigned)count, (unsigned)size);
}

/* Once the decoder has taken `bytes`. Given back by lb_stream_close. */
static lb_status charge(struct lb_stream *stream, size_t bytes, struct lb_error *err)
{
    if (bytes <= stream->charged_bytes)
        return LB_OK;
    if (!lb_memory_take(bytes - stream->charged_bytes)) {
        char what[64];
        (void)snprintf(what, sizeof what, "the window of %s data", stream->codec->name);
        (void)lb_error_memory(err, what, bytes);
        lb_error_prefix(err, "%s: ", stream->path);
        return LB_ERR_RESOURCE;
    }
    stream->charged_bytes = bytes;
    return LB_OK;
}

/* Sizes that the libraries' unsigned int fields can hold. */
static unsigned limit_size(size_t size)
{
    return size < 1u << 30 ? (unsigned)size : 1u << 30;
}

static char *input_of(struct lb_stream *stream, size_t *size)
{
    *size = stream->input_end - stream->input_start;
    return stream->input + stream->input_start;
}

/* ---- gzip ---- */

static bool gzip_is_magic(const unsigned char *data, size_t size)
{
    return data[0] == 0x1f && (size < 2 || data[1] == 0x8b);
}

static lb_status gzip_begin(struct lb_stream *stream, struct lb_error *err)
{
    z_stream *zlib = &stream->decoder.zlib;
    if (stream->has_decoder) {
        inflateReset(zlib);
        return LB_OK;
    }
    *zlib = (z_stream){.zalloc = lb_codec_alloc, .zfree = lb_codec_free};
    if (inflateInit2(zlib, 15 + 16) != Z_OK)
        return lb_error_memory(err, "a gzip decoder", 1 << 16);
    stream->has_decoder = true;
    return LB_OK;
}

static lb_status gzip_step(struct lb_stream *stream, char *out, size_t size, size_t *got, bool *end,
                           struct lb_error *err)
{
    z_stream *zlib = &stream->decoder.zlib;
    size_t n_input;
    zlib->next_in = (unsigned char *)input_of(stream, &n_input);
    zlib->avail_in = (unsigned)n_input;
    zlib->next_out = (unsigned char *)out;
    zlib->avail_out = limit_size(size);
    int result = inflate(zlib, Z_NO_FLUSH);
    stream->input_start = stream->input_end - zlib->avail_in;
    *got = (size_t)((char *)zlib->next_out - out);
    *end = result == Z_STREAM_END;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR)
        return LB_OK;
    if (result == Z_MEM_ERROR)
        return lb_error_memory(err, "a gzip decoder", 1 << 16);
    return lb_error_set(err, LB_ERR_DATA, "%s",
                        zlib->msg != NULL ? zlib->msg : "needs a dictionary");
}

static void gzip_stop(struct lb_stream *stream)
{
    inflateEnd(&stream->decoder.zlib);
}

/* ---- zstd and lz4: frames, and skippable frames that both share ---- */

static bool is_frame_magic(const unsigned char *data, size_t size, const unsigned char magic[4])
{
    static const unsigned char skippable[4] = {0x50, 0x2a, 0x4d, 0x18};
    bool is_magic = true;
    bool is_skippable = (data[0] & 0xf0) == skippable[0];
    for (size_t i = 0; i < size && i < 4; i++) {
        is_magic = is_magic && data[i] == magic[i];
        is_skippable = is_skippable && (i == 0 || data[i] == skippable[i]);
    }
    return is_magic || is_skippable;
}

static bool zstd_is_magic(const unsigned char *data, size_t size)
{
    static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    return is_frame_magic(data, size, magic);
}

static lb_status zstd_begin(struct lb_stream *stream, struct lb_error *err)
{
    if (stream->has_decoder) {
        ZSTD_DCtx_reset(stream->decoder.zstd, ZSTD_reset_session_only);
        return LB_OK;
    }
    stream->decoder.zstd = ZSTD_createDCtx();
    if (stream->decoder.zstd == NULL)
        return lb_error_memory(err, "a zstd decoder", 1 << 17);
    stream->has_decoder = true;
    /* By itself it refuses windows beyond 128 MiB. Ours to say is what the memory has room for. */
    ZSTD_bounds bounds = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    ZSTD_DCtx_setParameter(stream->decoder.zstd, ZSTD_d_windowLogMax, bounds.upperBound);
    return LB_OK;
}

static lb_status zstd_step(struct lb_stream *stream, char *out, size_t size, size_t *got, bool *end,
                           struct lb_error *err)
{
    size_t n_input;
    const char *input = input_of(stream, &n_input);
    ZSTD_inBuffer from = {input, n_input, 0};
    ZSTD_outBuffer to = {out, size, 0};
    size_t result = ZSTD_decompressStream(stream->decoder.zstd, &to, &from);
    stream->input_start += from.pos;
    *got = to.pos;
    *end = result == 0;
    if (!ZSTD_isError(result))
        return charge(stream, ZSTD_sizeof_DCtx(stream->decoder.zstd), err);
    if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return lb_error_set(err, LB_ERR_RESOURCE,
                            "%s: out of memory: its zstd data wants a window of up to 2 GiB, and "
                            "the system gives no so much",
                            stream->path);
    return lb_error_set(err, LB_ERR_DATA, "%s", ZSTD_getErrorName(result));
}

static void zstd_stop(struct lb_stream *stream)
{
    ZSTD_freeDCtx(stream->decoder.zstd);
}

static bool lz4_is_magic(const unsigned char *data, size_t size)
{
    static const unsigned char magic[4] = {0x04, 0x22, 0x4d, 0x18};
    return is_frame_magic(data, size, magic);
}

static lb_status lz4_begin(struct lb_stream *stream, struct lb_error *err)
{
    stream->is_charged = false;
    if (stream->has_decoder) {
        LZ4F_resetDecompressionContext(stream->decoder.lz4);
        return LB_OK;
    }
    if (LZ4F_isError(LZ4F_createDecompressionContext(&stream->decoder.lz4, LZ4F_VERSION)))
        return lb_error_memory(err, "an lz4 decoder", 1 << 17);
    stream->has_decoder = true;
    return LB_OK;
}

/* What the decoder has when it has read a frame's head: two buffers of a block and 64 KiB each. */
static size_t lz4_bytes(struct lb_stream *stream)
{
    LZ4F_frameInfo_t info;
    size_t none = 0;
    size_t result = LZ4F_getFrameInfo(stream->decoder.lz4, &info, NULL, &none);
    if (LZ4F_isError(result) || info.frameType == LZ4F_skippableFrame)
        return 0; /* the head is not read yet */
    return 2 * (((size_t)1 << (2 * info.blockSizeID + 8)) + (64 << 10));
}

static lb_status lz4_step(struct lb_stream *stream, char *out, size_t size, size_t *got, bool *end,
                          struct lb_error *err)
{
    size_t n_input;
    const char *input = input_of(stream, &n_input);
    size_t n_output = size;
    size_t result = LZ4F_decompress(stream->decoder.lz4, out, &n_output, input, &n_input, NULL);
    if (LZ4F_isError(result)) {
        *got = 0;
        *end = false;
        const char *name =
            LZ4F_getErrorName(result); /* the codes are no part of what is exported */
        if (strcmp(name, "ERROR_allocation_failed") == 0)
            return lb_error_memory(err, "an lz4 decoder", 1 << 17);
        return lb_error_set(err, LB_ERR_DATA, "%s", name);
    }
    stream->input_start += n_input;
    *got = n_output;
    *end = result == 0;
    if (stream->is_charged)
        return LB_OK;
    size_t bytes = lz4_bytes(stream);
    stream->is_charged = bytes > 0;
    return charge(stream, bytes, err);
}

static void lz4_stop(struct lb_stream *stream)
{
    LZ4F_freeDecompressionContext(stream->decoder.lz4);
}

/* ---- bzip2 ---- */

static bool bzip2_is_magic(const unsigned char *data, size_t size)
{
    return data[0] == 'B' && (size < 2 || data[1] == 'Z') && (size < 3 || data[2] == 'h');
}

static void bzip2_stop(struct lb_stream *stream)
{
    BZ2_bzDecompressEnd(&stream->decoder.bzip2);
}

static lb_status bzip2_begin(struct lb_stream *stream, struct lb_error *err)
{
    bz_stream *bzip2 = &stream->decoder.bzip2;
    if (stream->has_decoder) {
        BZ2_bzDecompressEnd(bzip2);
        stream->has_decoder = false;
    }
    *bzip2 = (bz_stream){.bzalloc = bzip2_alloc, .bzfree = lb_codec_free};
    if (BZ2_bzDecompressInit(bzip2, 0, 0) != BZ_OK)
        return lb_error_memory(err, "a bzip2 decoder", 1 << 16);
    stream->has_decoder = true;
    return LB_OK;
}

static lb_status bzip2_step(struct lb_stream *stream, char *out, size_t size, size_t *got,
                            bool *end, struct lb_error *err)
{
    bz_stream *bzip2 = &stream->decoder.bzip2;
    size_t n_input;
    bzip2->next_in = input_of(stream, &n_input);
    bzip2->avail_in = (unsigned)n_input;
    bzip2->next_out = out;
    bzip2->avail_out = limit_size(size);
    int result = BZ2_bzDecompress(bzip2);
    stream->input_start = stream->input_end - bzip2->avail_in;
    *got = (size_t)(bzip2->next_out - out);
    *end = result == BZ_STREAM_END;
    if (result == BZ_OK || result == BZ_STREAM_END)
        return LB_OK;
    if (result == BZ_MEM_ERROR)
        return lb_error_memory(err, "a bzip2 decoder", 4 << 20);
    return lb_error_set(err, LB_ERR_DATA, "%s",
                        result == BZ_DATA_ERROR_MAGIC ? "bad block size or magic"
                                                      : "checksum or structure is wrong");
}

static const struct lb_codec_class codecs[] = {
    [LB_GZIP] = {"gzip", gzip_is_magic, 2, gzip_begin, gzip_step, gzip_stop},
    [LB_ZSTD] = {"zstd", zstd_is_magic, 4, zstd_begin, zstd_step, zstd_stop},
    [LB_LZ4] = {"lz4", lz4_is_magic, 4, lz4_begin, lz4_step, lz4_stop},
    [LB_BZIP2] = {"bzip2", bzip2_is_magic, 3, bzip2_begin, bzip2_step, bzip2_stop},
};

const struct lb_codec_class *lb_codec_class_of(enum lb_compression compression)
{
    return compression == LB_PLAIN ? NULL : &codecs[compression];
}

enum lb_compression lb_codec_detect(const char *data, size_t size)
{
    static const struct {
        enum lb_compression compression;
        const char *bytes;
        size_t size;
    } heads[] = {
        {LB_GZIP, "\x1f\x8b\x08", 3},
        {LB_ZSTD, "\x28\xb5\x2f\xfd", 4},
        {LB_LZ4, "\x04\x22\x4d\x18", 4},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (size >= heads[i].size && memcmp(data, heads[i].bytes, heads[i].size) == 0)
            return heads[i].compression;
    /* pzstd begins with a frame to be skipped. lz4 may do so, too, and is then an error and no text. */
    if (size >= 4 && (data[0] & 0xf0) == 0x50 && memcmp(data + 1, "\x2a\x4d\x18", 3) == 0)
        return LB_ZSTD;
    /* Three letters and a digit may be text; behind them a block begins, or the end of an empty file. */
    if (size >= LB_CODEC_HEAD_BYTES && memcmp(data, "BZh", 3) == 0 &&
        (memcmp(data + 4, "1AY&SY", 6) == 0 || memcmp(data + 4, "\x17rE8P\x90", 6) == 0))
        return LB_BZIP2;
    return LB_PLAIN;
}
