/* ledger.h - a mapped ledger, and a party as its owner sees it. */
#ifndef VALVE_LEDGER_PRIVATE_H
#define VALVE_LEDGER_PRIVATE_H

#include "ownership.h"
#include "valve/ledger.h"

struct vlv_ledger {
  int fd; /* never locked itself */
  bool observes;
  struct vlv_pages_file *file;
};

struct vlv_party {
  struct ownership ownership;
  struct vlv_ledger *ledger;
  struct vlv_party_row *row;
  uint32_t index;
};

/* page.c: frees every page in which this row is named, as its new owner. */
void pages_forget_row(struct vlv_ledger *ledger, uint32_t row);

#endif
