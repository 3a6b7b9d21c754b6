/* nvml.h - utilisation and health of GPU 0 as NVML tells them; everything is 0 where there is no NVML. */
#ifndef GPU_KIT_NVML_H
#define GPU_KIT_NVML_H

#include <stdbool.h>

/* Samples utilisation in a thread until utilisation_end(), which returns the mean in percent, or -1. */
bool utilisation_begin(void);
double utilisation_end(void);

/* The subcommand "xids": waits for the driver's error reports until SIGTERM, then records how many came and
 * the last one's number. */
int xids_main(void);

#endif
