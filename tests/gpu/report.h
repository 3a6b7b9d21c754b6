/* report.h - what a part of the kit found out: one record a line.
 *
 * A record goes to the file KIT_RECORDS as one line of JSON, written whole in one append, and to KIT_ROWS as
 * one line for people. What a part that is cut off has found out by then is kept.
 */
#ifndef GPU_KIT_REPORT_H
#define GPU_KIT_REPORT_H

#include "figures.h"

struct record {
  char json[8192];
  char row[2048];
};

/* `name` tells what was tried: "disable, passed descriptor". */
void record_begin(struct record *record, const char *name);
void record_text(struct record *record, const char *key, const char *value);
void record_number(struct record *record, const char *key, double value);
/* As {"n","p50","p90","p99","max"}; sorts. Nothing if there are no values. */
void record_figures(struct record *record, const char *key, struct figures *figures);
/* `verdict`: ok, failed, refused, go, no-go, skipped. */
void record_end(struct record *record, const char *verdict);

#endif
