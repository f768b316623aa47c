/* Inputs that can be read only once: see once.h. */
#include "core/io/once.h"

#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/sys.h"

enum { MOST_INPUTS = 256 };

/* Which input it is: "-" and the pipe that it is are one. */
struct identity {
    bool is_stdin;
    bool is_pipe; /* one without a name in the file system */
    uint64_t device, inode;
};

struct once {
    struct identity of;
    struct lb_stream *kept; /* NULL: it is being read, or was */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list */
static struct once list[MOST_INPUTS];
static size_t n_list;

static struct identity identify(const struct lb_file *file)
{
    struct identity id = {.is_stdin = strcmp(file->path, "-") == 0};
    struct stat info;
    struct statfs system;
    if ((id.is_stdin ? lb_sys.fstat(STDIN_FILENO, &info) : lb_sys.stat(file->path, &info)) != 0)
        return id;
    id.device = (uint64_t)info.st_dev;
    id.inode = (uint64_t)info.st_ino;
    id.is_pipe =
        S_ISFIFO(info.st_mode) &&
        (id.is_stdin ? fstatfs(STDIN_FILENO, &system) : statfs(file->path, &system)) == 0 &&
        system.f_type == PIPEFS_MAGIC;
    return id;
}

/* The input's place in the list, or n_list. */
static size_t find(const struct identity *id)
{
    size_t i = 0;
    while (i < n_list) {
        const struct identity *known = &list[i].of;
        bool is_same_file =
            id->inode != 0 && known->device == id->device && known->inode == id->inode;
        if (known->is_stdin && id->is_stdin)
            break;
        /* Of a terminal, "-" and /dev/stdin may both be read. */
        if (is_same_file && known->is_pipe == id->is_pipe &&
            (known->is_pipe || known->is_stdin == id->is_stdin))
            break;
        i++;
    }
    return i;
}

static lb_status add(const struct identity *id, struct lb_stream *kept, struct lb_error *err)
{
    if (n_list == MOST_INPUTS)
        return lb_error_set(err, LB_ERR_RESOURCE, "more than %d inputs that can be read only once",
                            MOST_INPUTS);
    list[n_list++] = (struct once){.of = *id, .kept = kept};
    return LB_OK;
}

lb_status lb_once_begin(const struct lb_file *file, struct lb_stream **kept, struct lb_error *err)
{
    struct identity id = identify(file);
    lb_status status = LB_OK;
    *kept = NULL;
    pthread_mutex_lock(&lock);
    size_t i = find(&id);
    bool stays = id.is_stdin || id.is_pipe;
    if (i == n_list) {
        status = stays ? add(&id, NULL, err) : LB_OK;
    } else if (list[i].kept == NULL) {
        status =
            lb_error_set(err, LB_ERR_USAGE, "%s was read already; keep its records with cache()",
                         lb_file_label(file));
    } else {
        *kept = list[i].kept;
        list[i].kept = NULL;
        if (!stays)
            list[i] = list[--n_list];
    }
    pthread_mutex_unlock(&lock);
    return status;
}

lb_status lb_once_keep(const struct lb_file *file, struct lb_stream *stream, struct lb_error *err)
{
    struct identity id = identify(file);
    lb_status status = LB_OK;
    pthread_mutex_lock(&lock);
    size_t i = find(&id);
    if (i == n_list)
        status = add(&id, stream, err);
    else if (list[i].kept == NULL)
        list[i].kept = stream;
    else
        status = lb_error_set(err, LB_ERR_USAGE, "%s is being read already", lb_file_label(file));
    pthread_mutex_unlock(&lock);
    return status;
}
