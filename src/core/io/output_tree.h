/* Directories as outputs: the numbered parts, and how a tree takes another's place. Inside the room
 * only. */
#ifndef LB_IO_OUTPUT_TREE_H
#define LB_IO_OUTPUT_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

struct lb_tree_part {
    char *folder; /* inside the directory: "year=2024/month=1"; "" for the directory itself */
    uint32_t number;
    int fd; /* it has no name yet; else -1 */
};

/* Parts have no names while they are written, where the file system allows that (O_TMPFILE): so a killed process leaves none. The
 * directory is built at the end, or when more are open than may be. */
struct lb_tree {
    char *parent;    /* the directory in which nameless parts are made */
    char *path;      /* the directory that is being built; NULL: not yet */
    bool has_names;  /* nameless files cannot be had here */
    uint32_t n_held; /* parts without a name */
    char *extension; /* of part names */
    char *old;       /* the directory appended to, or NULL */
    uint32_t
        first_part; /* number of part 0 in its folder: beyond those of the directory appended to */
    struct lb_tree_part *parts; /* made so far; those of a folder one after the other */
    uint32_t n_parts;
    uint32_t capacity;
};

/* parent: where the target lies. old: the directory whose parts are to be numbered on, or NULL. fini is allowed after a failure,
 * too. */
lb_status lb_tree_init(struct lb_tree *tree, const char *parent, const char *old,
                       const char *extension, struct lb_error *err) LB_MUST_USE;
void lb_tree_fini(struct lb_tree *tree);
/* The directory is there from now on; parts get their names in it. */
lb_status lb_tree_name_parts(struct lb_tree *tree, const char *path,
                             struct lb_error *err) LB_MUST_USE;
/* Begins part n of a folder, which is made, with those above it, when it is not there. *fd is the tree's while *is_held, else the
 * caller's. *needs_path: nothing was done; name_parts must come first. */
lb_status lb_tree_open_part(struct lb_tree *tree, const char *folder, uint32_t n, int *fd,
                            bool *is_held, bool *needs_path, struct lb_error *err) LB_MUST_USE;
/* Whether parts lie in folders. */
bool lb_tree_has_folders(const struct lb_tree *tree);
/* Writes _SUCCESS. */
lb_status lb_tree_finish(struct lb_tree *tree, struct lb_error *err) LB_MUST_USE;

/* These give 0 or an errno value. */
/* Moves the parts and _SUCCESS into target; on failure, those already moved are removed there. */
int lb_tree_move_parts(struct lb_tree *tree, const char *target);
/* Removes the first n of the moved parts from target. */
void lb_tree_take_back(struct lb_tree *tree, const char *target, uint32_t n);
/* Renames; EEXIST when `to` is there. For files and directories. */
int lb_tree_rename_new(const char *from, const char *to);
/* Gives all that is in `from` a second name in `to`, folders with what they hold, and syncs these. With is_late: what `to` has already stays;
 * else that is EEXIST, but for _SUCCESS. */
int lb_tree_link_all(const char *from, const char *to, bool is_late);
/* Swaps two directories. */
int lb_tree_exchange(const char *a, const char *b);

/* A directory that is the root, or holds the current directory, is not one to replace. */
lb_status lb_tree_check_replaceable(const char *path, const char *name,
                                    struct lb_error *err) LB_MUST_USE;

#endif
