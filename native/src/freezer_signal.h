/* freezer_signal.h - the signal way to stop a tree: SIGSTOP to every process, rescanned to a fixpoint. */
#ifndef VALVE_FREEZER_SIGNAL_H
#define VALVE_FREEZER_SIGNAL_H

#include "tree.h"

/* Each as in struct vlv_mechanism. */
int vlv_signal_stop(struct vlv_tree *tree);
int vlv_signal_confirm(struct vlv_tree *tree);
int vlv_signal_resume(struct vlv_tree *tree);
int vlv_signal_guard(struct vlv_tree *tree);
uint32_t vlv_signal_unstopped_threads(const struct vlv_tree *tree);

#endif
