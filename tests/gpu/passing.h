/* passing.h - hands a process's channels, with the open files through which RM accepts them, to another one.
 *
 * RM obeys whoever speaks through the very open file that allocated a client, and a descriptor that was
 * passed is that file.
 */
#ifndef GPU_KIT_PASSING_H
#define GPU_KIT_PASSING_H

#include <sys/types.h>

#include "stage.h"

/* The victim's side: fills in the stage's channels and sends their descriptors. 0 or -errno. */
int passing_send(int socket_fd, struct stage *stage);
/* The other side: `files` gets as many descriptors as stage->file_count says. 0 or -errno. */
int passing_receive(int socket_fd, const struct stage *stage, int files[STAGE_FILES_MAX]);
/* The same by pidfd_getfd(2), without the victim's help. */
int passing_steal(pid_t victim, const struct stage *stage, int files[STAGE_FILES_MAX]);
/* The stage's channels as reached through `files`. */
void passing_apply(const struct stage *stage, const int files[STAGE_FILES_MAX],
                   struct channel out[KIT_CHANNELS_MAX]);

#endif
