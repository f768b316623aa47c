/* Status codes and the error object: the one way in which anything in luabatch fails.
 *
 * A fallible function returns lb_status and takes `struct lb_error *err` last. On failure it has
 * filled err (status, message) and left its outputs untouched or safely finishable; on LB_OK it has
 * not touched err. LB_TRY forwards a failure to the caller. */
#ifndef LB_BASE_ERROR_H
#define LB_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value is also the program's exit status (api.md, section 6). ORDER status */
typedef enum lb_status {
    LB_RESTART = -2, /* no failure: the plan must run again, changed (plan.h: lb_plan_restart) */
    LB_ENOUGH = -1,  /* no failure: the sink needs no more of this morsel; travels as one does */
    LB_OK = 0,
    LB_ERR_USER = 1,         /* a user function raised, or the job did */
    LB_ERR_USAGE = 2,        /* wrong usage, missing input, refused overwrite */
    LB_ERR_COMPILE = 3,      /* the script does not compile */
    LB_ERR_DATA = 4,         /* bad input data: truncated, malformed */
    LB_ERR_RESOURCE = 5,     /* out of memory, disk or descriptors */
    LB_ERR_INTERNAL = 70,    /* a bug of ours, reported rather than crashed on */
    LB_ERR_CANCELLED = 130,  /* SIGINT, or another worker failed first */
    LB_ERR_HANGUP = 129,     /* SIGHUP */
    LB_ERR_TERMINATED = 143, /* SIGTERM */
    LB_ERR_PIPE = 141        /* the reader of our output is gone */
} lb_status;

enum { LB_ERROR_MESSAGE_BYTES = 8192 };

struct lb_error {
    lb_status status;
    uint32_t note;     /* the host's number of what it knows besides; 0: nothing */
    bool is_transient; /* the same work, done again from its inputs, may go well: see lb_error_io */
    char message[LB_ERROR_MESSAGE_BYTES]; /* NUL-terminated; cut at the end when too long */
};

#define LB_MUST_USE __attribute__((warn_unused_result))
#define LB_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Fills err and returns status. err may be NULL. */
lb_status lb_error_set(struct lb_error *err, lb_status status, const char *format, ...)
    LB_PRINTF(3, 4);

/* As lb_error_set, in one line (control characters become escapes), with ": strerror(errno_value)" appended. Status is chosen from errno_value:
 * ENOENT, ENOTDIR, EACCES, EISDIR, EEXIST -> LB_ERR_USAGE; EPIPE -> LB_ERR_PIPE; others (ENOSPC,
 * EMFILE, EIO, ENOMEM...) -> LB_ERR_RESOURCE. */
lb_status lb_error_system(struct lb_error *err, int errno_value, const char *format, ...)
    LB_PRINTF(3, 4);

/* As lb_error_system, where an input or a spill file could not be read, or a spill file not be written: EIO and the like are
 * transient. Outputs do not use it: what was published cannot be done again. */
lb_status lb_error_io(struct lb_error *err, int errno_value, const char *format, ...)
    LB_PRINTF(3, 4);

/* Out of memory: names what was wanted and how many bytes. */
lb_status lb_error_memory(struct lb_error *err, const char *what, size_t wanted_bytes);

/* Puts "text" in front of the message already in err. */
void lb_error_prefix(struct lb_error *err, const char *format, ...) LB_PRINTF(2, 3);

#define LB_TRY(call)                                      \
    do {                                                  \
        lb_status lb_try_status_ = (call);                \
        if (__builtin_expect(lb_try_status_ != LB_OK, 0)) \
            return lb_try_status_;                        \
    } while (0)

#ifdef LB_ANALYZE
/* What gcc's analyser cannot see, looking at one file (scripts/analyze): these give no LB_OK. */
#define lb_error_set(err, status, ...) (lb_error_set(err, status, __VA_ARGS__), (status))
#define lb_error_memory(...) (lb_error_memory(__VA_ARGS__), LB_ERR_RESOURCE)
#define lb_error_system(...) (lb_error_system(__VA_ARGS__), LB_ERR_RESOURCE)
#define lb_error_io(...) (lb_error_io(__VA_ARGS__), LB_ERR_RESOURCE)
#endif

#endif
