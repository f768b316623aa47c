/* Filling struct lb_error: every message is formatted aside first, so that an argument may point
 * into the error being replaced. */
#include "core/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/jail.h"
#include "core/base/memory.h"
#include "core/base/utf8.h"

static lb_status set_message(struct lb_error *err, lb_status status, const char *format,
                             va_list arguments)
{
    char text[LB_ERROR_MESSAGE_BYTES];

    if (err == NULL)
        return status;
    int n = vsnprintf(text, sizeof text, format, arguments);
    if (n < 0)
        text[0] = '\0';
    else if ((size_t)n >= sizeof text)
        text[lb_utf8_whole(text, sizeof text - 1)] = '\0';
    err->status = status;
    err->is_transient = false;
    err->note = 0;
    strcpy(err->message, text);
    return status;
}

lb_status lb_error_set(struct lb_error *err, lb_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_message(err, status, format, arguments);
    va_end(arguments);
    return status;
}

static lb_status status_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EISDIR:
    case EEXIST:
        return LB_ERR_USAGE;
    case EPIPE:
        return LB_ERR_PIPE;
    default:
        return LB_ERR_RESOURCE;
    }
}

/* Control characters become escapes (\x0a): these messages are one line, whatever the name of a file holds. */
static void make_one_line(char text[LB_ERROR_MESSAGE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char copy[LB_ERROR_MESSAGE_BYTES];
    size_t size = 0;
    strcpy(copy, text);
    for (const char *at = copy; *at != '\0' && size < LB_ERROR_MESSAGE_BYTES - 5; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 32 && c != 127) {
            text[size++] = *at;
            continue;
        }
        text[size++] = '\\';
        text[size++] = 'x';
        text[size++] = digits[c >> 4];
        text[size++] = digits[c & 15];
    }
    text[size] = '\0';
}

static lb_status set_system(struct lb_error *err, int errno_value, const char *format,
                            va_list arguments)
{
    lb_status status = status_of_errno(errno_value);
    char reason_bytes[256];
    const char *reason;
    size_t size;

    if (err == NULL)
        return status;
    set_message(err, status, format, arguments);
    make_one_line(err->message);
    reason = strerror_r(errno_value, reason_bytes, sizeof reason_bytes);
    /* The reason is worth more than the end of a very long text. */
    size = strlen(err->message);
    if (size > sizeof err->message - 256)
        size = sizeof err->message - 256;
    snprintf(err->message + size, sizeof err->message - size, ": %s%s", reason,
             errno_value == EACCES && lb_jail_is_closed()
                 ? " (safe mode: only plain files that the command line names, see --allow-read "
                   "and --allow-write)"
                 : "");
    return status;
}

lb_status lb_error_system(struct lb_error *err, int errno_value, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    lb_status status = set_system(err, errno_value, format, arguments);
    va_end(arguments);
    return status;
}

lb_status lb_error_io(struct lb_error *err, int errno_value, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    lb_status status = set_system(err, errno_value, format, arguments);
    va_end(arguments);
    /* The last three are what network file systems give when a server or a path to it is gone for a while. */
    if (err != NULL)
        err->is_transient = errno_value == EIO || errno_value == ETIMEDOUT ||
                            errno_value == ESTALE || errno_value == EREMOTEIO;
    return status;
}

lb_status lb_error_memory(struct lb_error *err, const char *what, size_t wanted_bytes)
{
    size_t limit = lb_memory_refused_by();

    if (limit == 0)
        return lb_error_set(err, LB_ERR_RESOURCE, "out of memory: %zu bytes wanted for %s",
                            wanted_bytes, what);
    return lb_error_set(err, LB_ERR_RESOURCE,
                        "out of memory: %zu bytes wanted for %s (the memory limit is %.1f MiB; see "
                        "--memory)",
                        wanted_bytes, what, (double)limit / 1048576);
}

void lb_error_prefix(struct lb_error *err, const char *format, ...)
{
    char text[LB_ERROR_MESSAGE_BYTES];
    va_list arguments;
    size_t prefix_size;
    size_t message_size;

    if (err == NULL)
        return;
    va_start(arguments, format);
    if (vsnprintf(text, sizeof text, format, arguments) < 0)
        text[0] = '\0';
    va_end(arguments);

    prefix_size = strlen(text);
    message_size = strlen(err->message);
    message_size = lb_utf8_cut(err->message, message_size, sizeof text - 1 - prefix_size);
    memcpy(text + prefix_size, err->message, message_size);
    text[prefix_size + message_size] = '\0';
    strcpy(err->message, text);
}
