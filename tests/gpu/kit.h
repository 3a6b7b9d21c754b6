/* kit.h - the kit's subcommands. Each returns the exit status: 0 all was tried, 1 something failed, 3 no GPU.
 */
#ifndef GPU_KIT_KIT_H
#define GPU_KIT_KIT_H

int probe_main(void);
int gate_main(void);
int correct_main(void);
int sharing_main(void);
int vmm_main(void);
int end_to_end_main(void);
/* Runs a program that is not ours under the shim and works its gate at random; `name` is the record's. */
int flip_main(const char *name, const char *seconds, char **command);

/* Not for people: processes that the parts above start. */
int victim_main(const char *kind);
int role_main(const char *role);

#endif
