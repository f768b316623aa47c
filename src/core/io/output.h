/* Atomic output: a file, a directory of parts, or standard output, that appears whole or not at
 * all.
 *
 * CALLS  new; (part_open, (write)*, part_close)*; then commit, or delete without commit: nothing
 *        stays. A single file has just part 0.
 * IDEA   Bytes go to a hidden temporary beside the target (".NAME.luabatch-XXXXXX"), are synced
 *        and renamed by commit, then the directory is synced. A directory target is built as a
 *        temporary directory and renamed; it gets an empty _SUCCESS. Plain, uncompressed output
 *        may be written from several threads at given offsets; compressed and standard output are
 *        written in order by whoever has the turn.
 * MODES  ORDER modes: error: the target must not exist (checked at new); overwrite: replaced at
 *        commit; append: a file's old bytes are copied first (a plain or member-wise compressed
 *        file grows), a directory gets further parts numbered on; ignore: the caller asks
 *        lb_output_exists first. An existing special file (/dev/null, a FIFO) is written straight
 *        to in every mode; a FIFO is opened with its first bytes, or at commit: that waits for its reader.
 * FORMAT bytes are written as given. A compressed output is made of self-contained members (gzip,
 *        zstd, lz4 frames, bzip2), which any thread makes with lb_output_compress; one that would
 *        stay empty needs one member of 0 bytes, since an empty file is a truncated one.
 * THREADS claim and write_at: any. All else: one thread at a time. The process must ignore
 *         SIGPIPE. */
#ifndef LB_IO_OUTPUT_H
#define LB_IO_OUTPUT_H

#include "core/base/buf.h"
#include "core/io/path.h"

enum lb_output_mode { LB_MODE_ERROR, LB_MODE_OVERWRITE, LB_MODE_APPEND, LB_MODE_IGNORE };

struct lb_output;

/* What an output that cannot be taken back (standard output, a pipe) has let out, for another attempt of the run: that lets out
 * what comes behind it. Begins as { .fd = -1 }. */
struct lb_delivery {
    uint64_t n_bytes;
    uint64_t hash; /* of these: lb_running_hash */
    int fd;        /* of a special file that must not seem closed meanwhile, or -1 */
};
void lb_delivery_fini(struct lb_delivery *delivery);

bool lb_output_exists(const char *path);
/* path "-" is standard output; a path that ends in '/' is a directory. extension (such as
 * ".txt.gz") is for the parts' names, part-00000.txt.gz. */
lb_status lb_output_new(const char *path, enum lb_output_mode mode, const char *extension,
                        struct lb_output **output, struct lb_error *err) LB_MUST_USE;
/* What lb_output_new refuses about the target, without making anything: for a run whose output is opened late. What killed runs have
 * left beside it is removed, as there. */
lb_status lb_output_check(const char *path, enum lb_output_mode mode,
                          struct lb_error *err) LB_MUST_USE;
/* Mode append: refuses data of another compression than the file at path has, which nobody could read then. Says yes to what is
 * no file, or an empty one. */
lb_status lb_output_check_mix(const char *path, enum lb_compression compression,
                              struct lb_error *err) LB_MUST_USE;
/* Removes all temporaries of this process, which is about to end. */
void lb_output_clear(void);
/* Removes the temporaries that dead processes left beside it, as lb_output_new does. */
void lb_output_sweep(const char *path);
/* Of an output just made: bytes that the delivery says are out are not written but compared; others are LB_ERR_RESOURCE. lb_output_delete
 * notes there what is out by then. Borrows. Does nothing for files and directories. */
lb_status lb_output_deliver(struct lb_output *output, struct lb_delivery *delivery,
                            struct lb_error *err) LB_MUST_USE;
/* Who waits for the reader of a pipe asks this now and then; true: give up with LB_ERR_CANCELLED. Borrows state. */
void lb_output_ask(struct lb_output *output, bool (*must_stop)(void *state), void *state);
/* Of a file or directory: commit writes to the file `path`, before the output gets its name, by what it will be known. So
 * whoever finds both after a kill can tell whether the output appeared. */
lb_status lb_output_want_receipt(struct lb_output *output, const char *path,
                                 struct lb_error *err) LB_MUST_USE;
/* Whether what is at path is the output of the receipt. */
bool lb_output_is_received(const char *path, const char *receipt);
bool lb_output_is_directory(const struct lb_output *output);
/* True when write_at may be used: a regular file of ours. */
bool lb_output_is_seekable(const struct lb_output *output);
/* Begins part n (0-based). One thread at a time. Single files and standard output: opened by new; n must be 0 and folder "".
 * Of a directory, folder is "" or such as "year=2024/month=1", whose parts are numbered by themselves: n is 0 for its
 * first. All parts of a folder come one after the other. Their data is synced at commit. */
lb_status lb_output_part(struct lb_output *output, const char *folder, uint32_t n,
                         struct lb_error *err) LB_MUST_USE;
/* Appends to the current part. EPIPE gives LB_ERR_PIPE, ENOSPC LB_ERR_RESOURCE. */
lb_status lb_output_write(struct lb_output *output, const void *data, size_t size,
                          struct lb_error *err) LB_MUST_USE;
/* Claims size bytes at the end of the current part, to be written with write_at by any thread. */
uint64_t lb_output_claim(struct lb_output *output, size_t size);
lb_status lb_output_write_at(struct lb_output *output, uint64_t offset, const void *data,
                             size_t size, struct lb_error *err) LB_MUST_USE;
lb_status lb_output_commit(struct lb_output *output, struct lb_error *err) LB_MUST_USE;
void lb_output_delete(struct lb_output *output);

/* Appends data as one whole member of the compression (LB_PLAIN copies; LB_BZIP2 too is allowed).
 * Thread-safe. */
lb_status lb_output_compress(enum lb_compression compression, const void *data, size_t size,
                             struct lb_buf *out, struct lb_error *err) LB_MUST_USE;

#endif
