/* cuda_channel.h - a context's channels on the fake RM, each with a thread that executes work in order. */
#ifndef FAKE_CUDA_CHANNEL_H
#define FAKE_CUDA_CHANNEL_H

#include "cuda_work.h"
#include "rm.h"

#define CHANNELS_MAX 512

struct channel_thread;

struct context {
  int device;
  rm_handle group;
  uint32_t channel_count; /* the last one is for copies */
  struct channel_thread *channels[CHANNELS_MAX];
  struct stream *streams; /* all that were ever made */
  struct stream *legacy;  /* the default stream */
  _Atomic uint32_t next;  /* channel for the next stream */
};

/* The process's client, with all devices. CUDA_SUCCESS or an error. */
CUresult channels_connect(int devices);
/* Allocates a group and its channels and starts their threads. */
CUresult channels_open(struct context *context);
/* Ends the threads once they are idle, and frees the group. */
void channels_close(struct context *context);

/* Appends to a channel's queue; takes the work over. */
void channel_submit(struct channel_thread *channel, struct work *work);
struct channel_thread *channel_for_copies(struct context *context);

#endif
