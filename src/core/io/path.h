/* Input paths: files, directories, globs and lists of them become a list of files.
 *
 * A directory means its regular files in byte order of path, not those that start with '_' or '.', and those of its
 * folders that are columns (hive.h); it is not searched deeper otherwise. One without such files is an error, unless it has a
 * _SUCCESS: then it is an output that is empty. A glob (* ? [..] {a,b}) gives its matches in byte order, directories among them
 * as if they were named; with a component ** , which stands for any number of visible directories, the files among them. A name
 * that exists is that file, whatever its characters. "-" is standard input. Order of the arguments is kept; no match is
 * LB_ERR_USAGE with the pattern. */
#ifndef LB_IO_PATH_H
#define LB_IO_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

/* ORDER compressions */
enum lb_compression { LB_PLAIN, LB_GZIP, LB_ZSTD, LB_LZ4, LB_BZIP2 };

struct lb_file {
    char *path;
    char *label; /* the path as messages name it, where that has control characters; else NULL */
    uint64_t size_bytes;    /* 0 when not a regular file */
    uint64_t device, inode; /* of a regular file, else 0 */
    int64_t changed_ns;     /* its time of change of content */
    int64_t altered_ns;     /* and that of anything about it (ctime) */
    bool is_regular;        /* else a pipe, device or standard input: read as a stream */
    bool is_told;           /* what it is compressed by was said: its first bytes do not matter */
    enum lb_compression compression; /* by extension .gz .zst .lz4 .bz2; see lb_stream_detect */
};

struct lb_file_list {
    struct lb_file *files;
    size_t n_files;
    size_t capacity;
};

lb_status lb_file_list_add(struct lb_file_list *list, const char *path,
                           struct lb_error *err) LB_MUST_USE;
/* Whether to look again at inputs before a run, after as many attempts: the error may not come again, there were fewer than a run has,
 * and nothing was used up that can be read only once. */
bool lb_file_list_again(const struct lb_file_list *list, const struct lb_error *err,
                        int n_attempts);
/* Whether fd still is the regular file that was listed: else, and when its size or time of change is another,
 * LB_ERR_DATA. Says yes to all that is no regular file, and to files that say they are empty (as those of /proc do). */
lb_status lb_file_check(const struct lb_file *file, int fd, struct lb_error *err) LB_MUST_USE;
/* The size of all files together. False: of some it is not known. */
bool lb_file_list_bytes(const struct lb_file_list *list, uint64_t *bytes);
/* Sets *label to the path with escapes in place of control characters (free with lb_strfree), or to NULL where it has none. */
lb_status lb_path_label(const char *path, char **label, struct lb_error *err) LB_MUST_USE;
/* The path as messages name it, in one line: standard input has no path. */
const char *lb_file_label(const struct lb_file *file);
void lb_file_list_fini(struct lb_file_list *list);
enum lb_compression lb_compression_of(const char *path);
/* "none", "gzip", "zstd", "lz4" or "bzip2". False: it is no such name. */
bool lb_compression_named(const char *name, enum lb_compression *compression);
/* Says what all files are compressed by, whatever their names say: one of these names, or "auto", which says nothing. */
lb_status lb_file_list_tell(struct lb_file_list *list, const char *name,
                            struct lb_error *err) LB_MUST_USE;
/* Sets *real to where a path leads, without links and dots, and, as far as it does not exist, to where it would be (free with
 * lb_strfree). Two paths of one file that is there give the same text. */
lb_status lb_path_real(const char *path, char **real, struct lb_error *err) LB_MUST_USE;
/* Makes a folder that only its user can read, and those above it; one that is there is left as it is. */
lb_status lb_make_folders(const char *folder, struct lb_error *err) LB_MUST_USE;

#endif
