/* valve/job.h - the mechanism of a GPU job, in `valve run`: its ranks above, the freezer below.
 *
 * A rank is a process of the job with the preload shim in it: it has a row of its own, evaluates the gate
 * itself and stops its own channels (mechanism `channels`, else `launch`). The job's mechanism stops nothing
 * while ranks do: its acknowledgement is the last rank's, so all ranks of a job stop as one set. It freezes
 * the whole tree
 *   - while no rank has registered yet, or a process uses a GPU without one (vlv_job_set_unshimmed): then
 *     nothing else can stop it;
 *   - when a rank has not acknowledged within VLV_JOB_ESCALATE_NS: a frozen process cannot act for itself, so
 *     the step is taken from outside. Ranks that come later than that are not waited for.
 * On resume the tree is thawed; ranks enable their channels by themselves once they run. The next stop begins
 * with the ranks again.
 *
 * Levels: the least of the ranks' own. A frozen GPU process has only stopped submitting, so the freezer's
 * level is SUBMISSION_STOPPED here, or COMPUTE_HALTED where ranks have halted as well.
 */
#ifndef VALVE_JOB_H
#define VALVE_JOB_H

#include "valve/freezer.h"

#define VLV_JOB_ESCALATE_NS 5000000ull

struct vlv_job;

/* `freezer` is used, not owned; both it and `node` must outlive the job. `runner` is the pid that ranks name
 * as theirs (VALVE_RUNNER). 0 or -ENOMEM. */
VLV_API int vlv_job_create(const struct vlv_node *node, struct vlv_freezer *freezer, pid_t runner,
                           struct vlv_job **out);
VLV_API const struct vlv_mechanism *vlv_job_mechanism(void); /* context: the struct vlv_job */
/* How many processes use a GPU without being a rank. Any thread. */
VLV_API void vlv_job_set_unshimmed(struct vlv_job *job, uint32_t processes);
VLV_API void vlv_job_destroy(struct vlv_job *job);

#endif
