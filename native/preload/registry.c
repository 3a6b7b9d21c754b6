/* Keeps only what a channel can hang on: clients, devices, subdevices, channel groups and channels. A process
 * has some hundreds of these at most, so a flat list is searched from end to end. What a stop needs is kept
 * ready beside it, for it may not take the time that hundreds of such searches take.
 */
#include "registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct object {
  int fd; /* of a client: how it is reached; -1: not known */
  rm_handle client, parent, handle;
  uint32_t class_id;
};

struct registry {
  pthread_mutex_t lock;
  struct object *objects;
  size_t count, capacity;
  bool closed;
  struct channel *channels; /* all of them, sorted; NULL: to be made anew */
};

int registry_create(struct registry **out) {
  struct registry *registry = calloc(1, sizeof *registry);
  if (registry == NULL) return -ENOMEM;
  pthread_mutex_init(&registry->lock, NULL);
  *out = registry;
  return 0;
}

void registry_destroy(struct registry *registry) {
  if (registry == NULL) return;
  free(registry->objects);
  free(registry->channels);
  free(registry);
}

/* The list is not freed: the parent's thread may have been in the middle of growing it. */
void registry_reset_after_fork(struct registry *registry) {
  memset(registry, 0, sizeof *registry);
  pthread_mutex_init(&registry->lock, NULL);
}

static bool matters(uint32_t class_id) {
  return rm_is_root(class_id) || rm_is_channel(class_id) || class_id == RM_CLASS_DEVICE ||
         class_id == RM_CLASS_SUBDEVICE || class_id == RM_CLASS_CHANNEL_GROUP;
}

static struct object *find(struct registry *registry, rm_handle client, rm_handle handle) {
  for (size_t i = 0; i < registry->count; i++) {
    struct object *object = &registry->objects[i];
    if (object->client == client && object->handle == handle) return object;
  }
  return NULL;
}

static struct object *find_client(struct registry *registry, rm_handle client) {
  return find(registry, client, client);
}

/* The object itself, or what it hangs on, that is of `class_id`. A list that points in circles ends too. */
static struct object *find_above(struct registry *registry, struct object *object, uint32_t class_id) {
  for (size_t steps = 0; object != NULL && steps < 8; steps++) {
    if (object->class_id == class_id) return object;
    if (object->handle == object->client) return NULL;
    object = find(registry, object->client, object->parent);
  }
  return NULL;
}

static struct object *find_subdevice(struct registry *registry, const struct object *device) {
  for (size_t i = 0; i < registry->count; i++) {
    struct object *object = &registry->objects[i];
    bool below = object->client == device->client && object->parent == device->handle;
    if (below && object->class_id == RM_CLASS_SUBDEVICE) return object;
  }
  return NULL;
}

static void describe(struct registry *registry, struct object *object, struct channel *out) {
  struct object *client = find_client(registry, object->client);
  struct object *group = find_above(registry, object, RM_CLASS_CHANNEL_GROUP);
  struct object *device = find_above(registry, object, RM_CLASS_DEVICE);
  struct object *subdevice = device ? find_subdevice(registry, device) : NULL;
  *out = (struct channel){.fd = client ? client->fd : -1,
                          .client = object->client,
                          .device = device ? device->handle : 0,
                          .subdevice = subdevice ? subdevice->handle : 0,
                          .group = group ? group->handle : 0,
                          .channel = object->handle};
}

/* ---- what comes and goes ---- */

static void changed(struct registry *registry) {
  free(registry->channels);
  registry->channels = NULL;
}

static int reserve(struct registry *registry) {
  if (registry->count < registry->capacity) return 0;
  size_t capacity = registry->capacity ? registry->capacity * 2 : 64;
  struct object *objects = realloc(registry->objects, capacity * sizeof *objects);
  if (objects == NULL) return -ENOMEM;
  registry->objects = objects;
  registry->capacity = capacity;
  return 0;
}

/* A handle can be given again once its object is gone, also if we missed that. */
static int put(struct registry *registry, struct object object) {
  struct object *known = find(registry, object.client, object.handle);
  if (known == NULL) {
    if (reserve(registry) < 0) return -ENOMEM;
    known = &registry->objects[registry->count++];
  }
  *known = object;
  changed(registry);
  return rm_is_channel(object.class_id);
}

int registry_add(struct registry *registry, int fd, rm_handle client, rm_handle parent, rm_handle object,
                 uint32_t class_id) {
  if (!matters(class_id)) return 0;
  struct object entry = {
      .fd = fd, .client = client, .parent = parent, .handle = object, .class_id = class_id};
  pthread_mutex_lock(&registry->lock);
  int rc = put(registry, entry);
  pthread_mutex_unlock(&registry->lock);
  return rc;
}

int registry_dup(struct registry *registry, int fd, rm_handle client, rm_handle parent, rm_handle object,
                 rm_handle client_source, rm_handle object_source) {
  pthread_mutex_lock(&registry->lock);
  const struct object *source = find(registry, client_source, object_source);
  int rc = source == NULL ? 0 : put(registry, (struct object){fd, client, parent, object, source->class_id});
  pthread_mutex_unlock(&registry->lock);
  return rc;
}

static void drop(struct registry *registry, size_t index) {
  registry->objects[index] = registry->objects[--registry->count];
  changed(registry);
}

static void drop_client(struct registry *registry, rm_handle client) {
  for (size_t i = registry->count; i-- > 0;)
    if (registry->objects[i].client == client) drop(registry, i);
}

static void drop_object(struct registry *registry, rm_handle client, rm_handle handle) {
  for (size_t i = registry->count; i-- > 0;)
    if (registry->objects[i].client == client && registry->objects[i].handle == handle) drop(registry, i);
}

/* Until nothing hangs in the air. */
static void drop_orphans(struct registry *registry, rm_handle client) {
  size_t before;
  do {
    before = registry->count;
    for (size_t i = registry->count; i-- > 0;) {
      struct object *object = &registry->objects[i];
      if (object->client != client || object->handle == client) continue;
      if (object->parent != client && find(registry, client, object->parent) == NULL) drop(registry, i);
    }
  } while (registry->count != before);
}

void registry_remove(struct registry *registry, rm_handle client, rm_handle object) {
  pthread_mutex_lock(&registry->lock);
  if (client == object)
    drop_client(registry, client);
  else if (find(registry, client, object) != NULL) {
    drop_object(registry, client, object);
    drop_orphans(registry, client);
  }
  pthread_mutex_unlock(&registry->lock);
}

void registry_seen(struct registry *registry, int fd, rm_handle client) {
  pthread_mutex_lock(&registry->lock);
  struct object *known = find_client(registry, client);
  if (known != NULL && known->fd != fd) {
    known->fd = fd;
    changed(registry);
  }
  pthread_mutex_unlock(&registry->lock);
}

void registry_fd_closed(struct registry *registry, int fd) {
  pthread_mutex_lock(&registry->lock);
  for (size_t i = 0; i < registry->count; i++)
    if (registry->objects[i].fd == fd) registry->objects[i].fd = -1;
  changed(registry);
  pthread_mutex_unlock(&registry->lock);
}

/* ---- what there is ---- */

static uint32_t count_channels(const struct registry *registry) {
  uint32_t channels = 0;
  for (size_t i = 0; i < registry->count; i++) channels += rm_is_channel(registry->objects[i].class_id);
  return channels;
}

uint32_t registry_channels(struct registry *registry) {
  pthread_mutex_lock(&registry->lock);
  uint32_t channels = count_channels(registry);
  pthread_mutex_unlock(&registry->lock);
  return channels;
}

static int order(const void *left, const void *right) {
  const struct channel *a = left, *b = right;
  if (a->client != b->client) return a->client < b->client ? -1 : 1;
  if (a->subdevice != b->subdevice) return a->subdevice < b->subdevice ? -1 : 1;
  if (a->group != b->group) return a->group < b->group ? -1 : 1;
  return (a->channel > b->channel) - (a->channel < b->channel);
}

static int list_channels(struct registry *registry, uint32_t count) {
  uint32_t next = 0;
  if (registry->channels != NULL) return 0;
  registry->channels = malloc(count * sizeof *registry->channels);
  if (registry->channels == NULL) return -ENOMEM;
  for (size_t i = 0; i < registry->count; i++)
    if (rm_is_channel(registry->objects[i].class_id))
      describe(registry, &registry->objects[i], &registry->channels[next++]);
  qsort(registry->channels, count, sizeof *registry->channels, order);
  return 0;
}

static int copy_channels(struct registry *registry, struct channel **out) {
  uint32_t count = count_channels(registry);
  *out = NULL;
  if (count == 0) return 0;
  if (list_channels(registry, count) < 0) return -ENOMEM;
  *out = malloc(count * sizeof **out);
  if (*out == NULL) return -ENOMEM;
  memcpy(*out, registry->channels, count * sizeof **out);
  return (int)count;
}

int registry_set_closed(struct registry *registry, bool closed, struct channel **out) {
  pthread_mutex_lock(&registry->lock);
  registry->closed = closed;
  int rc = copy_channels(registry, out);
  pthread_mutex_unlock(&registry->lock);
  return rc;
}

int registry_snapshot(struct registry *registry, struct channel **out) {
  pthread_mutex_lock(&registry->lock);
  int rc = copy_channels(registry, out);
  pthread_mutex_unlock(&registry->lock);
  return rc;
}

bool registry_is_closed(struct registry *registry) {
  pthread_mutex_lock(&registry->lock);
  bool closed = registry->closed;
  pthread_mutex_unlock(&registry->lock);
  return closed;
}

int registry_find(struct registry *registry, rm_handle client, rm_handle channel, struct channel *out) {
  pthread_mutex_lock(&registry->lock);
  struct object *object = find(registry, client, channel);
  bool found = object != NULL && rm_is_channel(object->class_id);
  if (found) describe(registry, object, out);
  pthread_mutex_unlock(&registry->lock);
  return found;
}
