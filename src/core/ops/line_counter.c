/* Lines of offsets: see line_counter.h. */
#include "core/ops/line_counter.h"

#include <errno.h>
#include <fcntl.h>

#include "core/base/sys.h"
#include "core/io/text.h"

void lb_line_counter_init(struct lb_line_counter *counter)
{
    *counter = (struct lb_line_counter){.fd = -1};
}

void lb_line_counter_fini(struct lb_line_counter *counter)
{
    if (counter->fd >= 0)
        lb_sys.close(counter->fd);
    lb_buf_fini(&counter->path);
}

lb_status lb_line_counter_file(struct lb_line_counter *counter, const char *path, size_t size,
                               struct lb_error *err)
{
    if (counter->path.size == size + 1 && memcmp(counter->path.data, path, size) == 0)
        return LB_OK;
    if (counter->fd >= 0)
        lb_sys.close(counter->fd);
    counter->fd = -1;
    counter->path.size = 0;
    LB_TRY(lb_buf_reserve(&counter->path, size + 1, err));
    LB_TRY(lb_buf_append(&counter->path, path, size, err));
    return lb_buf_append_byte(&counter->path, '\0', err);
}

static lb_status open_file(struct lb_line_counter *counter, struct lb_error *err)
{
    if (counter->fd >= 0)
        return LB_OK;
    counter->fd = lb_sys.open(counter->path.data, O_RDONLY | O_CLOEXEC, 0);
    if (counter->fd < 0)
        return lb_error_io(err, errno, "cannot open %s", counter->path.data);
    counter->offset = 0;
    counter->line = 1;
    return LB_OK;
}

/* Adds the newlines of [from, to) to *lines. */
static lb_status count_between(const struct lb_line_counter *counter, uint64_t from, uint64_t to,
                               uint64_t *lines, struct lb_error *err)
{
    char data[16384];
    while (from < to) {
        size_t wanted = to - from < sizeof data ? (size_t)(to - from) : sizeof data;
        ssize_t got = lb_sys.pread(counter->fd, data, wanted, (off_t)from);
        if (got < 0)
            return lb_error_io(err, errno, "cannot read %s", counter->path.data);
        if (got == 0)
            return lb_error_set(err, LB_ERR_DATA, "%s has changed while it was read",
                                counter->path.data);
        *lines += lb_text_count_newlines(data, (size_t)got);
        from += (uint64_t)got;
    }
    return LB_OK;
}

lb_status lb_line_count(struct lb_line_counter *counter, uint64_t offset, uint64_t *line,
                        struct lb_error *err)
{
    LB_TRY(open_file(counter, err));
    uint64_t lines = 0;
    if (offset >= counter->offset) {
        LB_TRY(count_between(counter, counter->offset, offset, &lines, err));
        counter->line += lines;
    } else {
        LB_TRY(count_between(counter, offset, counter->offset, &lines, err));
        counter->line -= lines;
    }
    counter->offset = offset;
    *line = counter->line;
    return LB_OK;
}
