/* Input streams: any bytes as a compressed file give the same, however many bytes a read moves and is asked for, as the
 * library's own decoder over the whole file; what was compressed here comes back, and when it is damaged, cut off or has something
 * behind it, that is an error or the very same bytes, never others.
 *
 * INPUT  bytes: compression, how to read the rest (as it is, or compressed here), bytes that a read of the system moves, bytes
 *        asked for at once, level, damage and its place (3), cut into members (1); data. */
#include "core/io/output.h"
#include "core/io/stream.h"
#include "core/io/stream_codec.h"
#include "fuzz_files.h"

enum { MOST = 4000, MOST_OUT = 4 << 20 };

static void append(struct lb_buf *buf, const void *data, size_t size)
{
    MUST(lb_buf_append(buf, data, size, &fuzz_error));
}

/* Reads the whole file in memory; asks for `step` bytes at once. More than MOST_OUT are not read: *is_whole false. */
static lb_status read_all(const void *data, size_t size, enum lb_compression compression,
                          size_t step, struct lb_buf *out, bool *is_whole)
{
    char name[16];
    struct lb_stream *stream = NULL;
    size_t got = 0;
    fuzz_file_put(0, data, size);
    struct lb_file file = fuzz_file_named(name, 0, compression);
    MUST(lb_stream_open(&file, &stream, &fuzz_error));
    lb_status status;
    *is_whole = false;
    do {
        MUST(lb_buf_reserve(out, step, &fuzz_error));
        got = 0;
        status = lb_stream_read(stream, out->data + out->size, step, &got, &fuzz_error);
        CHECK(got <= step && (status == LB_OK || got < step || step == 0));
        out->size += status == LB_OK ? got : 0;
        CHECK(lb_stream_raw_bytes(stream) <= size);
    } while (status == LB_OK && got == step && out->size < MOST_OUT);
    CHECK(status == LB_OK || status == LB_ERR_DATA);
    *is_whole = status == LB_OK && got < step;
    if (*is_whole) { /* the end stays the end */
        char byte;
        MUST(lb_stream_read(stream, &byte, 1, &got, &fuzz_error));
        CHECK(got == 0);
    }
    lb_stream_close(stream);
    return status;
}

/* ---- the libraries by themselves: one member of the whole input after the other ---- */

/* Decodes the member that data begins with: the bytes it takes, 0 when it is damaged or cut off. */
static size_t member_of_gzip(const char *data, size_t size, struct lb_buf *out)
{
    z_stream zlib = {.next_in = (unsigned char *)data, .avail_in = (unsigned)size};
    CHECK(inflateInit2(&zlib, 31) == Z_OK);
    int result;
    do {
        MUST(lb_buf_reserve(out, 1 << 16, &fuzz_error));
        zlib.next_out = (unsigned char *)out->data + out->size;
        zlib.avail_out = 1 << 16;
        result = inflate(&zlib, Z_NO_FLUSH);
        out->size = (size_t)((char *)zlib.next_out - out->data);
    } while (result == Z_OK && (zlib.avail_in > 0 || zlib.avail_out == 0) && out->size < MOST_OUT);
    inflateEnd(&zlib);
    return result == Z_STREAM_END ? size - zlib.avail_in : 0;
}

static size_t member_of_bzip2(const char *data, size_t size, struct lb_buf *out)
{
    bz_stream bzip2 = {.next_in = (char *)data, .avail_in = (unsigned)size};
    CHECK(BZ2_bzDecompressInit(&bzip2, 0, 0) == BZ_OK);
    int result;
    do {
        MUST(lb_buf_reserve(out, 1 << 16, &fuzz_error));
        bzip2.next_out = out->data + out->size;
        bzip2.avail_out = 1 << 16;
        result = BZ2_bzDecompress(&bzip2);
        out->size = (size_t)(bzip2.next_out - out->data);
    } while (result == BZ_OK && (bzip2.avail_in > 0 || bzip2.avail_out == 0) &&
             out->size < MOST_OUT);
    BZ2_bzDecompressEnd(&bzip2);
    return result == BZ_STREAM_END ? size - bzip2.avail_in : 0;
}

/* The library looks at the size in a frame's head only where it can decode the frame at once: byte by byte it takes more. */
static size_t member_of_zstd(const char *data, size_t size, bool by_bytes, struct lb_buf *out)
{
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    ZSTD_inBuffer from = {data, by_bytes ? 1 : size, 0};
    size_t result, before;
    do {
        MUST(lb_buf_reserve(out, 1 << 16, &fuzz_error));
        ZSTD_outBuffer to = {out->data + out->size, 1 << 16, 0};
        from.size += from.pos == from.size && from.size < size;
        before = from.pos;
        result = ZSTD_decompressStream(decoder, &to, &from);
        out->size += to.pos;
        if (result != 0 && to.pos == 0 && from.pos == before)
            break;
    } while (!ZSTD_isError(result) && result != 0 && out->size < MOST_OUT);
    ZSTD_freeDCtx(decoder);
    return result == 0 ? from.pos : 0;
}

static size_t member_of_lz4(const char *data, size_t size, struct lb_buf *out)
{
    LZ4F_dctx *decoder = NULL;
    CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&decoder, LZ4F_VERSION)));
    size_t at = 0, result;
    do {
        MUST(lb_buf_reserve(out, 1 << 16, &fuzz_error));
        size_t n_out = 1 << 16, n_in = size - at;
        result = LZ4F_decompress(decoder, out->data + out->size, &n_out, data + at, &n_in, NULL);
        if (LZ4F_isError(result))
            break;
        at += n_in;
        out->size += n_out;
        if (result != 0 && n_in == 0 && n_out == 0)
            break;
    } while (result != 0 && out->size < MOST_OUT);
    LZ4F_freeDecompressionContext(decoder);
    return result == 0 ? at : 0;
}

/* Whether the whole file is good, and its bytes. */
static bool decode(const char *data, size_t size, enum lb_compression compression, bool by_bytes,
                   struct lb_buf *out)
{
    size_t at = 0;
    if (compression == LB_PLAIN) {
        append(out, data, size);
        return true;
    }
    while (at < size || at == 0) {
        size_t n = 0, left = size - at;
        if (compression == LB_GZIP && at > 0 && data[at] == 0) { /* padding up to the end */
            while (at < size && data[at] == 0)
                at++;
            return at == size;
        }
        switch (compression) {
        case LB_GZIP:
            n = member_of_gzip(data + at, left, out);
            break;
        case LB_BZIP2:
            n = member_of_bzip2(data + at, left, out);
            break;
        case LB_ZSTD:
            n = left > 0 ? member_of_zstd(data + at, left, by_bytes, out) : 0;
            break;
        default:
            n = left > 0 ? member_of_lz4(data + at, left, out) : 0;
        }
        if (n == 0 || out->size >= MOST_OUT)
            return false;
        at += n;
    }
    return true;
}

static void check_file(const char *data, size_t size, enum lb_compression compression, size_t step)
{
    struct lb_buf wanted = {0}, lenient = {0}, got = {0};
    bool is_whole = false, is_good = decode(data, size, compression, false, &wanted);
    bool may_be_good = decode(data, size, compression, true, &lenient);
    lb_status status = read_all(data, size, compression, step, &got, &is_whole);
    if (lenient.size < MOST_OUT && wanted.size < MOST_OUT && got.size < MOST_OUT) {
        CHECK(!is_good || status == LB_OK);
        CHECK(status != LB_OK || (may_be_good && is_whole && got.size == lenient.size));
    }
    size_t least = got.size < lenient.size ? got.size : lenient.size;
    CHECK(least == 0 || memcmp(got.data, lenient.data, least) == 0);
    lb_buf_fini(&wanted);
    lb_buf_fini(&lenient);
    lb_buf_fini(&got);
}

/* ---- compressed here ---- */

static void pack_lz4(const void *data, size_t size, int level, struct lb_buf *out)
{
    LZ4F_preferences_t how = {.compressionLevel = level % 12};
    how.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    how.frameInfo.blockMode = level & 1 ? LZ4F_blockIndependent : LZ4F_blockLinked;
    size_t bound = LZ4F_compressFrameBound(size, &how);
    MUST(lb_buf_reserve(out, bound, &fuzz_error));
    size_t n = LZ4F_compressFrame(out->data + out->size, bound, data, size, &how);
    CHECK(!LZ4F_isError(n));
    out->size += n;
}

static void pack_zstd(const void *data, size_t size, int level, struct lb_buf *out)
{
    ZSTD_CCtx *coder = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(size);
    MUST(lb_buf_reserve(out, bound, &fuzz_error));
    ZSTD_CCtx_setParameter(coder, ZSTD_c_compressionLevel, level % 4);
    ZSTD_CCtx_setParameter(coder, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(coder, out->data + out->size, bound, data, size);
    CHECK(!ZSTD_isError(n));
    out->size += n;
    ZSTD_freeCCtx(coder);
}

static void pack_bzip2(const void *data, size_t size, struct lb_buf *out)
{
    unsigned n = (unsigned)size * 2 + 600;
    MUST(lb_buf_reserve(out, n, &fuzz_error));
    CHECK(BZ2_bzBuffToBuffCompress(out->data + out->size, &n, (char *)data, (unsigned)size, 1, 0,
                                   0) == BZ_OK);
    out->size += n;
}

static void pack_gzip(const void *data, size_t size, int level, struct lb_buf *out)
{
    z_stream zlib = {.next_in = (unsigned char *)data, .avail_in = (unsigned)size};
    CHECK(deflateInit2(&zlib, level % 10, Z_DEFLATED, 31, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t bound = deflateBound(&zlib, size) + 64;
    MUST(lb_buf_reserve(out, bound, &fuzz_error));
    zlib.next_out = (unsigned char *)out->data + out->size;
    zlib.avail_out = (unsigned)bound;
    CHECK(deflate(&zlib, Z_FINISH) == Z_STREAM_END);
    out->size = (size_t)((char *)zlib.next_out - out->data);
    deflateEnd(&zlib);
}

static void pack(const void *data, size_t size, enum lb_compression compression, int level,
                 struct lb_buf *out)
{
    if (compression == LB_GZIP)
        pack_gzip(data, size, level, out);
    else if (compression == LB_ZSTD)
        pack_zstd(data, size, level, out);
    else if (compression == LB_LZ4)
        pack_lz4(data, size, level, out);
    else if (compression == LB_BZIP2)
        pack_bzip2(data, size, out);
    else
        append(out, data, size);
}

/* Returns whether the file is still a good one, whatever is in it. */
static bool damage(struct lb_buf *file, uint32_t kind, uint32_t where, const size_t *ends,
                   size_t n_ends)
{
    bool is_end = false;
    switch (kind) {
    case 1:
        file->data[where / 8 % file->size] ^= (char)(1 << where % 8);
        return false;
    case 2:
        file->size = where % file->size;
        for (size_t i = 0; i < n_ends; i++)
            is_end = is_end || file->size == ends[i];
        return is_end;
    case 3:
        append(file, "\1garbage", 1 + where % 8);
        return false;
    default:
        return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    enum lb_compression compression = (enum lb_compression)fuzz_below(&input, 5);
    bool is_made = fuzz_byte(&input) & 1;
    size_t move = fuzz_byte(&input), step = 1 + fuzz_byte(&input);
    int level = fuzz_byte(&input);
    uint32_t kind = fuzz_below(&input, 4), where = fuzz_below(&input, 65536);
    size_t member_size = 1 + fuzz_byte(&input), n_ends = 0, ends[MOST];
    if (input.size > MOST)
        return 0;
    fuzz_files_begin(move == 0 ? SIZE_MAX : move);
    const char *bytes = (const char *)input.data;
    if (!is_made) {
        check_file(bytes, input.size, compression, step);
        return fuzz_files_end();
    }
    struct lb_buf file = {0}, got = {0};
    member_size *= 16;
    for (size_t at = 0; at < input.size || at == 0; at += member_size) {
        size_t left = input.size - at;
        pack(bytes + at, left < member_size ? left : member_size, compression, level, &file);
        ends[n_ends++] = file.size;
    }
    bool is_whole = false;
    MUST(read_all(file.data, file.size, compression, step, &got, &is_whole));
    CHECK(is_whole && got.size == input.size);
    CHECK(got.size == 0 || memcmp(got.data, bytes, got.size) == 0);
    if (file.size > 0 && compression != LB_PLAIN) {
        bool is_good = damage(&file, kind, where, ends, n_ends);
        got.size = 0;
        lb_status status = read_all(file.data, file.size, compression, step, &got, &is_whole);
        CHECK(!is_good || status == LB_OK);
        CHECK(kind < 2 || (status == LB_OK) == is_good);
        CHECK(kind != 1 || status != LB_OK || got.size == input.size);
        CHECK(status != LB_OK || got.size <= input.size);
        CHECK(status != LB_OK || got.size == 0 || memcmp(got.data, bytes, got.size) == 0);
        check_file(file.data, file.size, compression, step);
    }
    lb_buf_fini(&file);
    lb_buf_fini(&got);
    return fuzz_files_end();
}
