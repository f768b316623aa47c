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
};

struct lb_tree {
    char *path;      /* the directory that is being built */
    char *extension; /* of part names */
    char *old;       /* the directory appended to, or NULL */
    uint32_t
        first_part; /* number of part 0 in its folder: beyond those of the directory appended to */
    struct lb_tree_part *parts; /* made so far; those of a folder one after the other */
    uint32_t n_parts;
    uint32_t capacity;
};

/* old: the directory whose parts are to be numbered on, or NULL. fini is allowed after a failure,
 * too. */
lb_status lb_tree_init(struct lb_tree *tree, const char *path, const char *old,
                       const char *extension, struct lb_error *err) LB_MUST_USE;
void lb_tree_fini(struct lb_tree *tree);
/* Makes and opens part n of a folder, which is made, with those above it, when it is not there. */
lb_status lb_tree_open_part(struct lb_tree *tree, const char *folder, uint32_t n, int *fd,
                            struct lb_error *err) LB_MUST_USE;
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
/* Swaps two directories. */
int lb_tree_exchange(const char *a, const char *b);

/* A directory that is the root, or holds the current directory, is not one to replace. */
lb_status lb_tree_check_replaceable(const char *path, const char *name,
                                    struct lb_error *err) LB_MUST_USE;

#endif
