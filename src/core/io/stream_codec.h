/* What the decoders of streams look like: inside the room only. */
#ifndef LB_IO_STREAM_CODEC_H
#define LB_IO_STREAM_CODEC_H

#include <bzlib.h>
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "core/io/stream.h"

struct lb_stream {
    /* configuration */
    char *path; /* for messages; "standard input" for "-" */
    enum lb_compression compression;
    const struct lb_codec_class *codec; /* NULL: plain */
    const _Atomic int *stop;            /* non-zero: give up waiting for bytes; NULL: never */
    _Atomic uint64_t *counter;          /* grows with read_bytes; or NULL */
    struct lb_file file;                /* what was opened, for lb_file_check; its path is `path` */
    bool may_wait;                      /* a pipe, terminal or device: a read can last for ever */
    bool detects;                       /* plain, but for what its first bytes say */
    bool is_told;                       /* that the file is, and what it was told to be */
    enum lb_compression told;

    /* state */
    char *front; /* bytes that were put back: [front_start, front_end) come first */
    size_t front_start;
    size_t front_end;
    char *input; /* compressed bytes read but not decoded: [input_start, input_end) */
    size_t input_start;
    size_t input_end;
    uint64_t read_bytes; /* from the descriptor */
    uint64_t n_members;  /* begun so far */
    bool is_guessed;     /* its first bytes alone say what it is, and none was decoded yet */
    bool input_ended;    /* the descriptor gave end of file */
    bool inside;         /* a member has begun and not ended */
    bool ended;          /* nothing more will come */

    /* resources */
    int fd;
    bool owns_fd;
    bool has_decoder;
    size_t charged_bytes; /* of memory.h: what the decoder takes beside the allocator gate */
    bool is_charged;      /* lz4: with what this frame needs */
    union {
        z_stream zlib;
        ZSTD_DCtx *zstd;
        LZ4F_dctx *lz4;
        bz_stream bzip2;
    } decoder;
};

struct lb_codec_class {
    const char *name;
    /* Bytes a member must begin with. */
    bool (*is_magic)(const unsigned char *data, size_t size);
    size_t magic_bytes;
    /* Makes the decoder, or makes it ready for a further member. */
    lb_status (*begin)(struct lb_stream *stream, struct lb_error *err);
    /* Decodes from input to out; moves input_start; *got bytes were made; *end when the member is
     * complete. A failure is LB_ERR_DATA with the library's reason alone, or LB_ERR_RESOURCE. */
    lb_status (*step)(struct lb_stream *stream, char *out, size_t size, size_t *got, bool *end,
                      struct lb_error *err);
    void (*stop)(struct lb_stream *stream);
};

/* NULL for LB_PLAIN. */
const struct lb_codec_class *lb_codec_class_of(enum lb_compression compression);
/* What an input whose name does not say it is compressed by, from its first bytes: LB_CODEC_HEAD_BYTES, or all that it has. Text seldom begins so. */
enum { LB_CODEC_HEAD_BYTES = 10 };
enum lb_compression lb_codec_detect(const char *data, size_t size);

/* malloc-like functions through the allocator gate, for libraries that take such. */
void *lb_codec_alloc(void *unused, unsigned count, unsigned size);
void lb_codec_free(void *unused, void *pointer);

#endif
