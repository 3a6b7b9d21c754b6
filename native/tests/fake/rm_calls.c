#include "rm_calls.h"

#include <errno.h>
#include <string.h>

#include "costs.h"
#include "rm_channel.h"
#include "rm_settings.h"

#define INVALID_OBJECT_PARENT 0x36u
#define INSUFFICIENT_RESOURCES 0x1au

/* ---- allocation ---- */

static bool may_hang_on(uint32_t class_id, const struct rm_object *parent) {
  uint32_t above = parent->class_id;
  if (rm_is_channel(class_id)) return above == RM_CLASS_DEVICE || above == RM_CLASS_CHANNEL_GROUP;
  if (class_id == RM_CLASS_SUBDEVICE || class_id == RM_CLASS_CHANNEL_GROUP) return above == RM_CLASS_DEVICE;
  return class_id != RM_CLASS_DEVICE || rm_is_root(above);
}

static uint32_t make_root(struct rm_file *file, struct rm_alloc64 *call) {
  struct rm_object *made = rm_object_make(file, 0, 0, call->object, call->class_id);
  if (made == NULL) return INSUFFICIENT_RESOURCES;
  call->object = made->handle;
  return RM_OK;
}

static uint32_t make_object(struct rm_file *file, struct rm_alloc64 *call) {
  if (rm_is_root(call->class_id)) return make_root(file, call);
  if (rm_object_find(file, call->root, call->root) == NULL) return RM_ERR_INVALID_CLIENT;
  struct rm_object *parent = rm_object_find(file, call->root, call->parent);
  if (parent == NULL || !may_hang_on(call->class_id, parent)) return INVALID_OBJECT_PARENT;
  uint32_t refused = rm_is_channel(call->class_id) ? rm_refusal("alloc_channel") : RM_OK;
  if (refused != RM_OK) return refused;
  struct rm_object *made = rm_object_make(file, call->root, call->parent, call->object, call->class_id);
  if (made == NULL) return INSUFFICIENT_RESOURCES;
  call->object = made->handle;
  return RM_OK;
}

static void answer_alloc64(struct rm_file *file, struct rm_alloc64 *call) {
  rm_file_lock(file);
  call->status = make_object(file, call);
  rm_file_unlock(file);
}

static void answer_alloc21(struct rm_file *file, struct rm_alloc21 *call) {
  struct rm_alloc64 wide = {
      .root = call->root, .parent = call->parent, .object = call->object, .class_id = call->class_id};
  answer_alloc64(file, &wide);
  call->object = wide.object;
  call->status = wide.status;
}

static void answer_free(struct rm_file *file, struct rm_free *call) {
  rm_file_lock(file);
  struct rm_object *object = rm_object_find(file, call->root, call->object);
  if (object != NULL) rm_object_free(file, object);
  rm_file_unlock(file);
  call->status = object != NULL ? RM_OK : RM_ERR_INVALID_CLIENT;
}

static uint32_t duplicate(struct rm_file *file, struct rm_dup *call) {
  struct rm_object *source = rm_object_find(file, call->client_source, call->object_source);
  if (source == NULL) return RM_ERR_OBJECT_NOT_FOUND;
  if (rm_object_find(file, call->client, call->parent) == NULL) return INVALID_OBJECT_PARENT;
  struct rm_object *made = rm_object_make(file, call->client, call->parent, call->object, source->class_id);
  if (made != NULL) call->object = made->handle;
  return made != NULL ? RM_OK : INSUFFICIENT_RESOURCES;
}

static void answer_dup(struct rm_file *file, struct rm_dup *call) {
  rm_file_lock(file);
  call->status = duplicate(file, call);
  rm_file_unlock(file);
}

/* ---- controls ---- */

struct chosen {
  uint32_t count;
  struct rm_object *channels[RM_OBJECTS_MAX];
};

static uint32_t stop_all(const struct chosen *chosen, uint32_t reason) {
  uint32_t status = RM_OK;
  for (uint32_t i = 0; i < chosen->count; i++) {
    uint32_t result = rm_channel_stop(chosen->channels[i], reason);
    if (result != RM_OK) status = result;
  }
  return status;
}

static uint32_t change_all(const struct chosen *chosen, uint32_t reason, bool stop) {
  if (stop) return stop_all(chosen, reason);
  for (uint32_t i = 0; i < chosen->count; i++) rm_channel_clear(chosen->channels[i], reason);
  return RM_OK;
}

static uint32_t choose_listed(struct rm_file *file, const struct rm_disable_channels *params,
                              struct chosen *chosen) {
  if (params->channel_count > RM_CHANNELS_MAX) return RM_ERR_INVALID_ARGUMENT;
  for (uint32_t i = 0; i < params->channel_count; i++) {
    struct rm_object *object = rm_object_find(file, params->clients[i], params->channels[i]);
    if (object == NULL || !rm_is_channel(object->class_id)) return RM_ERR_INVALID_CHANNEL;
    chosen->channels[chosen->count++] = object;
  }
  return RM_OK;
}

static uint32_t choose_below(struct rm_file *file, const struct rm_control *call, struct chosen *chosen) {
  for (uint32_t i = 0; i < RM_OBJECTS_MAX; i++) {
    struct rm_object *object = &file->objects[i];
    if (!object->used || object->client != call->client || !rm_is_channel(object->class_id)) continue;
    if (object->parent == call->object || object->handle == call->object)
      chosen->channels[chosen->count++] = object;
  }
  return RM_OK;
}

/* The call is checked as a whole before anything is done. */
static uint32_t check_disable(struct rm_file *file, const struct rm_control *call, struct chosen *chosen) {
  if (call->params_size != sizeof(struct rm_disable_channels)) return RM_ERR_INVALID_PARAM_STRUCT;
  struct rm_object *object = rm_object_find(file, call->client, call->object);
  if (object == NULL || object->class_id != RM_CLASS_SUBDEVICE) return RM_ERR_OBJECT_NOT_FOUND;
  return choose_listed(file, (const void *)(uintptr_t)call->params, chosen);
}

static uint32_t check_schedule(struct rm_file *file, const struct rm_control *call, struct chosen *chosen) {
  if (call->params_size != rm_schedule_size()) return RM_ERR_INVALID_PARAM_STRUCT;
  struct rm_object *object = rm_object_find(file, call->client, call->object);
  bool group = call->command == RM_CONTROL_GROUP_SCHEDULE;
  if (object == NULL || (object->class_id == RM_CLASS_CHANNEL_GROUP) != group) return RM_ERR_OBJECT_NOT_FOUND;
  return choose_below(file, call, chosen);
}

typedef uint32_t check(struct rm_file *file, const struct rm_control *call, struct chosen *chosen);

static uint32_t check_locked(struct rm_file *file, const struct rm_control *call, struct chosen *chosen,
                             check *checked) {
  rm_file_lock(file);
  bool known = rm_object_find(file, call->client, call->client) != NULL;
  uint32_t status = known ? checked(file, call, chosen) : RM_ERR_INVALID_CLIENT;
  rm_file_unlock(file);
  return status;
}

static uint32_t gate(struct rm_file *file, const struct rm_control *call, const char *name, check *checked,
                     uint32_t reason, bool stop) {
  static _Thread_local struct chosen chosen;
  chosen.count = 0;
  uint32_t status = check_locked(file, call, &chosen, checked);
  if (status == RM_OK) status = rm_refusal(name);
  if (status != RM_OK || rm_ignores(name)) return status;
  rm_delay(name);
  return change_all(&chosen, reason, stop);
}

static uint32_t disable(struct rm_file *file, const struct rm_control *call, bool stop) {
  uint64_t began_ns = cost_begin();
  uint32_t status = gate(file, call, "disable", check_disable, RM_STOP_DISABLED, stop);
  if (stop) cost_end("stop", began_ns);
  return status;
}

static uint32_t control(struct rm_file *file, const struct rm_control *call) {
  const void *params = (const void *)(uintptr_t)call->params;
  if (call->command == RM_CONTROL_DISABLE_CHANNELS)
    return disable(file, call, ((const struct rm_disable_channels *)params)->disable);
  if (call->command == RM_CONTROL_GROUP_SCHEDULE || call->command == RM_CONTROL_CHANNEL_SCHEDULE)
    return gate(file, call, "schedule", check_schedule, RM_STOP_UNSCHEDULED,
                !((const struct rm_schedule *)params)->enable);
  rm_log("unknown control", call->command);
  return RM_ERR_NOT_SUPPORTED;
}

/* ---- all of them ---- */

static void answer_bind(struct rm_file *file, struct rm_bind *call) {
  rm_file_lock(file);
  struct rm_object *channel = rm_object_find(file, call->client, call->channel);
  call->status = channel != NULL ? RM_OK : RM_ERR_OBJECT_NOT_FOUND;
  if (channel != NULL) rm_channel_bind(channel);
  rm_file_unlock(file);
}

int rm_answer(struct rm_file *file, uint32_t number, uint32_t size, void *data) {
  struct rm_transfer *transfer = data;
  if (number == RM_TRANSFER && size == sizeof *transfer)
    return rm_answer(file, transfer->command, transfer->size, (void *)(uintptr_t)transfer->pointer);
  if (number == RM_ALLOC && size == sizeof(struct rm_alloc64))
    answer_alloc64(file, data);
  else if (number == RM_ALLOC && size == sizeof(struct rm_alloc21))
    answer_alloc21(file, data);
  else if (number == RM_FREE && size == sizeof(struct rm_free))
    answer_free(file, data);
  else if (number == RM_DUP && size == sizeof(struct rm_dup))
    answer_dup(file, data);
  else if (number == RM_CONTROL && size == sizeof(struct rm_control))
    ((struct rm_control *)data)->status = control(file, data);
  else if (number == RM_BIND && size == sizeof(struct rm_bind))
    answer_bind(file, data);
  else
    return rm_log("unknown escape", number), -EINVAL;
  return 0;
}
