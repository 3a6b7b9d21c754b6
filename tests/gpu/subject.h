/* subject.h - a victim process, from the side of the part that experiments on it. */
#ifndef GPU_KIT_SUBJECT_H
#define GPU_KIT_SUBJECT_H

#include "gatekeeper.h"
#include "stage.h"

struct subject {
  pid_t pid;
  int socket;
  struct stage *stage;
  int files[STAGE_FILES_MAX];
};

/* A memory page for a victim or a role, inherited as STAGE_FD. NULL if there is no memory. */
struct stage *stage_create(int *fd);

/* Executes "victim `kind`" (under the shim where `keeper` is not NULL), waits until it beats. 0 or -errno,
 * and the reason is in stage->message. */
int subject_start(struct subject *subject, const char *kind, const struct gatekeeper *keeper);
/* Gives an order and waits for the answer. -ETIMEDOUT after 30 s; -EPIPE: it is gone. */
int subject_order(struct subject *subject, const struct order *order, struct answer *answer);
/* Its channels, controllable from here: `stolen` takes the descriptors by pidfd_getfd. How many, or -errno.
 */
int subject_channels(struct subject *subject, bool stolen, struct channel out[KIT_CHANNELS_MAX]);
void subject_end(struct subject *subject);
void subject_kill(struct subject *subject);

#endif
