/* Receipts: a file that says by what an output will be known, synced before the output gets its name. Whoever finds receipt and
 * output after a kill knows whether the name was given: inodes go with what is renamed or linked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/base/sys.h"
#include "core/io/output_private.h"

enum { RECEIPT_BYTES = 128 };

/* Size and time are a file's; those of a directory change with what comes into it. */
static void describe(const struct stat *info, char text[RECEIPT_BYTES])
{
    bool is_file = S_ISREG(info->st_mode);
    snprintf(text, RECEIPT_BYTES, "%llu %llu %lld %lld.%09ld\n", (unsigned long long)info->st_dev,
             (unsigned long long)info->st_ino, is_file ? (long long)info->st_size : 0,
             is_file ? (long long)info->st_mtim.tv_sec : 0, is_file ? info->st_mtim.tv_nsec : 0);
}

static lb_status write_text(int fd, const char *path, const char *text, struct lb_error *err)
{
    size_t size = strlen(text);
    for (size_t done = 0; done < size;) {
        ssize_t n = lb_sys.write(fd, text + done, size - done);
        if (n <= 0)
            return lb_error_system(err, n < 0 ? errno : ENOSPC, "cannot write '%s'", path);
        done += (size_t)n;
    }
    if (lb_sys.fsync(fd) != 0)
        return lb_error_system(err, errno, "cannot write '%s'", path);
    return LB_OK;
}

lb_status lb_output_write_receipt(const struct lb_output *output, struct lb_error *err)
{
    char text[RECEIPT_BYTES];
    struct stat info;
    if (output->receipt == NULL)
        return LB_OK;
    int failed = output->kind == KIND_DIRECTORY ? lb_sys.stat(output->temp.path, &info)
                                                : lb_sys.fstat(output->fd, &info);
    if (failed != 0)
        return lb_output_write_error(output, errno, err);
    describe(&info, text);
    int fd = lb_sys.open(output->receipt, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return lb_error_system(err, errno, "cannot write '%s'", output->receipt);
    lb_status status = write_text(fd, output->receipt, text, err);
    lb_sys.close(fd);
    return status;
}

lb_status lb_output_want_receipt(struct lb_output *output, const char *path, struct lb_error *err)
{
    lb_strfree(output->receipt);
    output->receipt = lb_strdup(path);
    return output->receipt != NULL ? LB_OK : lb_output_name_error(err);
}

bool lb_output_is_received(const char *path, const char *receipt)
{
    char wanted[RECEIPT_BYTES] = {0}, text[RECEIPT_BYTES];
    struct stat info;
    int fd = lb_sys.open(receipt, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    size_t size = 0;
    ssize_t n = 1;
    for (; size < RECEIPT_BYTES - 1 && n > 0; size += n > 0 ? (size_t)n : 0)
        n = lb_sys.read(fd, wanted + size, RECEIPT_BYTES - 1 - size);
    lb_sys.close(fd);
    if (n < 0 || lb_sys.stat(path, &info) != 0)
        return false;
    describe(&info, text);
    return strcmp(text, wanted) == 0;
}
