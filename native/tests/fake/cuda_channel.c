#include "cuda_channel.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rm_calls.h"

#define CLASS_GPFIFO 0xc86fu
#define DEVICES_MAX 64

struct channel_thread {
  rm_handle handle;
  pthread_t thread;
  struct work *first, **last;
  bool ends;
};

/* Of the whole process: one open file, one client, as the real libcuda has. */
static struct {
  int control, uvm;
  rm_handle client, devices[DEVICES_MAX];
} rm;

static void (*enter)(void), (*leave)(void);

/* ---- the resource manager ---- */

static int call(unsigned long request, void *argument) {
  return ioctl(rm.control, request, argument);
}

/* Returns the handle, 0 if it was refused. */
static rm_handle allocate(rm_handle parent, uint32_t class_id) {
  struct rm_alloc64 alloc = {.root = rm.client, .parent = parent, .class_id = class_id};
  return call(RM_IOCTL_ALLOC64, &alloc) == 0 && alloc.status == RM_OK ? alloc.object : 0;
}

static rm_handle allocate_in_the_older_form(rm_handle parent, uint32_t class_id) {
  struct rm_alloc21 alloc = {.root = rm.client, .parent = parent, .class_id = class_id};
  return call(RM_IOCTL_ALLOC21, &alloc) == 0 && alloc.status == RM_OK ? alloc.object : 0;
}

static rm_handle allocate_by_pointer(rm_handle parent, uint32_t class_id) {
  struct rm_alloc64 alloc = {.root = rm.client, .parent = parent, .class_id = class_id};
  struct rm_transfer transfer = {.command = RM_ALLOC, .size = sizeof alloc, .pointer = (uintptr_t)&alloc};
  return call(RM_IOCTL_TRANSFER, &transfer) == 0 && alloc.status == RM_OK ? alloc.object : 0;
}

static void release(rm_handle object) {
  struct rm_free call_free = {.root = rm.client, .object = object};
  call(RM_IOCTL_FREE, &call_free);
}

static bool schedule(rm_handle group) {
  struct rm_schedule params = {.enable = 1};
  struct rm_control control = {.client = rm.client,
                               .object = group,
                               .command = RM_CONTROL_GROUP_SCHEDULE,
                               .params = (uintptr_t)&params,
                               .params_size = sizeof params};
  if (call(RM_IOCTL_CONTROL, &control) != 0) return false;
  if (control.status != RM_ERR_INVALID_PARAM_STRUCT) return control.status == RM_OK;
  control.params_size = RM_SCHEDULE_SIZE_OLD;
  return call(RM_IOCTL_CONTROL, &control) == 0 && control.status == RM_OK;
}

static bool find_fake_rm(void) {
  enter = (void (*)(void))dlsym(RTLD_DEFAULT, "fake_rm_enter");
  leave = (void (*)(void))dlsym(RTLD_DEFAULT, "fake_rm_leave");
  return enter != NULL && leave != NULL;
}

static bool allocate_device(int device) {
  rm.devices[device] = allocate(rm.client, RM_CLASS_DEVICE);
  return rm.devices[device] != 0 && allocate_by_pointer(rm.devices[device], RM_CLASS_SUBDEVICE) != 0;
}

CUresult channels_connect(int devices) {
  if (!find_fake_rm() || devices > DEVICES_MAX) return CUDA_ERROR_NO_DEVICE;
  rm.control = open("/dev/nvidiactl", O_RDWR | O_CLOEXEC);
  rm.uvm = open("/dev/nvidia-uvm", O_RDWR | O_CLOEXEC);
  rm.client = allocate(0, RM_CLASS_ROOT_CLIENT);
  if (rm.client == 0) return CUDA_ERROR_NO_DEVICE;
  for (int device = 0; device < devices; device++)
    if (!allocate_device(device)) return CUDA_ERROR_NO_DEVICE;
  return CUDA_SUCCESS;
}

/* ---- a channel's thread ---- */

static bool is_ready(const struct work *work) {
  for (uint32_t i = 0; i < work->dependency_count; i++)
    if (!dependency_is_met(work->dependencies[i])) return false;
  return true;
}

/* NULL: the channel ends. Work whose turn has not come holds up what is behind it, as on a GPU. */
static struct work *take(struct channel_thread *channel) {
  while (channel->first == NULL || !is_ready(channel->first)) {
    if (channel->first == NULL && channel->ends) return NULL;
    work_wait();
  }
  struct work *work = channel->first;
  channel->first = work->next;
  if (channel->first == NULL) channel->last = &channel->first;
  return work;
}

static struct work *take_next(struct channel_thread *channel) {
  work_lock();
  struct work *work = take(channel);
  work_unlock();
  return work;
}

static void finish(struct work *work) {
  work_lock();
  work->stream->done = work->number;
  work_wake();
  work_unlock();
  free(work);
}

/* A GPU waits for no processor: with FAKE_GPU_URGENT before all threads that are not, where that is
 * permitted. */
static void be_as_a_gpu(void) {
  const struct sched_param highest = {.sched_priority = 2};
  if (getenv("FAKE_GPU_URGENT") != NULL) sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &highest);
}

/* Only what runs between enter() and leave() can be stopped, and there is nothing in between but the task. */
static void *serve(void *argument) {
  struct channel_thread *channel = argument;
  struct rm_bind bind = {.client = rm.client, .channel = channel->handle};
  call(RM_IOCTL_BIND, &bind);
  be_as_a_gpu();
  for (struct work *work; (work = take_next(channel)) != NULL; finish(work)) {
    enter();
    task_run(&work->task);
    leave();
  }
  return NULL;
}

static CUresult start_thread(struct channel_thread *channel) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* the application's signals are not for us */
  int error = pthread_create(&channel->thread, NULL, serve, channel);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error == 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static struct channel_thread *open_channel(rm_handle group, uint32_t index) {
  struct channel_thread *channel = calloc(1, sizeof *channel);
  if (channel == NULL) return NULL;
  channel->last = &channel->first;
  channel->handle =
      index % 2 == 0 ? allocate(group, CLASS_GPFIFO) : allocate_in_the_older_form(group, CLASS_GPFIFO);
  if (channel->handle == 0 || start_thread(channel) != CUDA_SUCCESS) return free(channel), NULL;
  return channel;
}

/* ---- a context's channels ---- */

static uint32_t wanted_channels(void) {
  const char *text = getenv("FAKE_CHANNELS");
  int wanted = text != NULL ? atoi(text) : 4;
  return wanted < 1 ? 1 : wanted > CHANNELS_MAX ? CHANNELS_MAX : (uint32_t)wanted;
}

/* The mapping in which a channel's doorbell is: what shows that a process uses the GPU. */
static bool map_doorbell(int device) {
  char path[32] = "/dev/nvidia0";
  path[11] = (char)('0' + device % 10);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  return fd >= 0 && mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
}

CUresult channels_open(struct context *context) {
  if (!map_doorbell(context->device)) return CUDA_ERROR_OUT_OF_MEMORY;
  context->group = allocate(rm.devices[context->device], RM_CLASS_CHANNEL_GROUP);
  for (uint32_t i = 0; i < wanted_channels(); i++) {
    context->channels[i] = open_channel(context->group, i);
    if (context->channels[i] == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
    context->channel_count++;
  }
  return schedule(context->group) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static void end_threads(struct context *context) {
  work_lock();
  for (uint32_t i = 0; i < context->channel_count; i++) context->channels[i]->ends = true;
  work_wake();
  work_unlock();
  for (uint32_t i = 0; i < context->channel_count; i++) pthread_join(context->channels[i]->thread, NULL);
}

void channels_close(struct context *context) {
  end_threads(context);
  release(context->group);
  for (uint32_t i = 0; i < context->channel_count; i++) free(context->channels[i]);
}

void channel_submit(struct channel_thread *channel, struct work *work) {
  work->next = NULL;
  *channel->last = work;
  channel->last = &work->next;
}

struct channel_thread *channel_for_copies(struct context *context) {
  return context->channels[context->channel_count - 1];
}
