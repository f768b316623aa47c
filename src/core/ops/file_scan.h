/* What the sources over text files share: files are split, streams are cut into chunks, blocks of bytes are read with what was
 * left over of the block before, and a byte is told as file, line and offset.
 *
 * IDEA    A plain file is split at fixed offsets; a split owns the records that begin in it. Split sizes depend on the file's
 *         size alone, so nothing downstream depends on the number of threads. A stream (compressed, by its name or its first bytes, a pipe, standard input, or a
 *         file that the class wants so) is read under the stage's lock in chunks that end behind a record; the work on the
 *         chunks is parallel.
 * CALLS   lb_file_scan_open in open, lb_file_scan_close in close; lb_file_piece_init in attach, lb_file_piece_fini in detach;
 *         lb_file_scan_claim in claim, lb_file_piece_produce in produce: it calls the class's push. A struct lb_file_scan is the
 *         first member of op->shared, a struct lb_file_piece the first of local->state.
 * MEMORY  One block per worker, or one chunk. A longer record makes it grow, beyond some MiB within the budget.
 * CHANGES A file that was replaced, or has another size or time of change than when the run began, is an error, not a mix: it is
 *         looked at when a split is opened and again when it was read.
 * WHY NOT mmap: a file that shrinks while it is read would kill the process; reading costs 5 % here. */
#ifndef LB_OPS_FILE_SCAN_H
#define LB_OPS_FILE_SCAN_H

#include "core/io/stream.h"
#include "core/ops/op.h"

struct lb_file_scan;

/* What a class keeps from one chunk of a stream to the next; zero at a file's start. */
struct lb_cut_state {
    bool has_begun;  /* something was seen */
    bool is_inside;  /* a string or quoted field */
    bool is_escaped; /* the next byte is */
    uint32_t depth;
};

struct lb_file_scan_class {
    const char *record;   /* "line", "record": for messages */
    uint64_t most_bytes;  /* of a record; 0: any */
    const char *too_long; /* what may be wrong with a longer one */
    bool ends_at_blanks;  /* in files records end at any blank, not at newlines only */
    /* Whether a plain file must be read as a stream. NULL: no. */
    lb_status (*wants_stream)(struct lb_file_scan *scan, const struct lb_file *file, bool *wants,
                              struct lb_error *err);
    /* The end of the last record that ends in the stream's next bytes, 0: none does. NULL: behind the last newline. */
    size_t (*last_end)(struct lb_file_scan *scan, const char *data, size_t size,
                       struct lb_cut_state *state);
    /* Moves piece->block_offset from the split's start to its first record; *found: there is one. NULL: to behind the first
     * newline (or blank) at or after start - 1. */
    lb_status (*find_first)(struct lb_op_local *local, bool *found, struct lb_error *err);
    /* Pushes the records that are whole in the block, from *cursor on, and begin before piece->end; moves *cursor behind them.
     * at_end: nothing comes behind the block. The byte behind the block may be written. */
    lb_status (*push)(struct lb_op_local *local, const char **cursor, bool at_end,
                      struct lb_error *err);
};

struct lb_file_scan {
    const struct lb_file_scan_class *class;
    struct lb_file_list files;
    int64_t split_bytes; /* parameter: for tests; 0: by the file's size */
    /* guarded by the stage's lock */
    size_t file;     /* being split or read */
    bool is_stream;  /* that one, as soon as it was begun */
    uint64_t offset; /* of the next split, or bytes of the stream so far */
    uint64_t line;   /* stream: number of the next line, from 1 */
    size_t n_splits; /* so far, of all files */
    struct lb_stream *stream;
    struct lb_buf rest; /* stream: the unfinished record behind the last chunk */
    struct lb_cut_state cut;
};

struct lb_file_piece {
    const struct lb_file_scan *scan;
    struct lb_run *run;
    const struct lb_file *file;
    size_t file_number;    /* in scan->files */
    bool is_chunk;         /* data is in block already */
    bool is_first;         /* block_offset begins at the file's first byte */
    bool is_last;          /* chunk: the stream ends with it */
    uint64_t start, end;   /* the split; a chunk's end is UINT64_MAX */
    size_t split;          /* its number */
    char *block;           /* block_bytes + LB_TEXT_PADDING */
    size_t block_bytes;    /* room */
    size_t used;           /* bytes in block */
    uint64_t block_offset; /* of block[0] in the file or stream */
    uint64_t block_line;   /* chunk: line number of block[0] */
    int fd;
};

/* Reads the parameters `paths` and `split_bytes`. */
lb_status lb_file_scan_open(struct lb_op *self, const struct lb_file_scan_class *class,
                            struct lb_error *err) LB_MUST_USE;
void lb_file_scan_close(struct lb_file_scan *scan);
void lb_file_piece_init(struct lb_file_piece *piece, const struct lb_op_local *local);
void lb_file_piece_fini(struct lb_file_piece *piece);
lb_status lb_file_scan_claim(struct lb_op_local *local, bool *more,
                             struct lb_error *err) LB_MUST_USE;
bool lb_file_scan_progress(const struct lb_op *self, struct lb_progress *progress);
lb_status lb_file_piece_produce(struct lb_op_local *local, struct lb_error *err) LB_MUST_USE;

/* The first newline of [data, data + size), or with ends_at_blanks the first blank; NULL: none. */
const char *lb_file_scan_end(const struct lb_file_scan *scan, const char *data, size_t size);
/* Reads exactly so many bytes of the split's file. LB_ERR_DATA: it ends before. */
lb_status lb_file_piece_read(const struct lb_file_piece *piece, char *data, size_t size,
                             uint64_t offset, struct lb_error *err) LB_MUST_USE;

/* The offset of a byte of the block. */
uint64_t lb_file_piece_offset(const struct lb_file_piece *piece, const char *at);
/* Where the record that begins at a byte of the block was read. */
struct lb_origin lb_file_piece_origin(const struct lb_file_piece *piece, const char *start);
/* What a batch's locate does, for the record [start, end). */
lb_status lb_file_piece_locate(const struct lb_file_piece *piece, const char *start,
                               const char *end, struct lb_origin *origin, struct lb_buf *out,
                               struct lb_error *err) LB_MUST_USE;
/* Appends "record FILE:LINE (byte N): text" of the record [start, end). */
lb_status lb_file_piece_describe(const struct lb_file_piece *piece, const char *start,
                                 const char *end, struct lb_buf *out,
                                 struct lb_error *err) LB_MUST_USE;

#endif
