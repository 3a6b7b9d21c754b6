/* list.h - a list through its members, oldest first. */
#ifndef VALVE_LIST_H
#define VALVE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
  struct link *next, *previous; /* NULL: in no list */
};

#define member_of(type, name, address) ((type *)((char *)(address) - offsetof(type, name)))

static inline void list_init(struct link *list) {
  list->next = list->previous = list;
}

static inline bool list_empty(const struct link *list) {
  return list->next == list;
}

static inline void list_remove(struct link *link) {
  if (link->next == NULL) return;
  link->next->previous = link->previous;
  link->previous->next = link->next;
  link->next = link->previous = NULL;
}

static inline void list_append(struct link *list, struct link *link) {
  list_remove(link);
  link->previous = list->previous;
  link->next = list;
  list->previous->next = link;
  list->previous = link;
}

#endif
