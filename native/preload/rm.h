/* rm.h - the part of the NVIDIA resource manager's (RM) ioctl interface that the shim reads and speaks.
 *
 * Layouts and numbers are those of NVIDIA/open-gpu-kernel-modules 580.95.05 (MIT): nvos.h, nv_escape.h,
 * nv-ioctl.h, ctrl2080fifo.h, ctrla06c.h, nvstatuscodes.h. All escapes are _IOWR('F', number, struct); the
 * number encodes the structure's size, so a request is recognised by its number alone.
 */
#ifndef VALVE_PRELOAD_RM_H
#define VALVE_PRELOAD_RM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

typedef uint32_t rm_handle;

/* ---- escapes (nv_escape.h) ---- */
struct rm_free { /* NVOS00 */
  rm_handle root, parent, object;
  uint32_t status;
};
struct rm_alloc21 { /* NVOS21 */
  rm_handle root, parent, object;
  uint32_t class_id;
  uint64_t params;
  uint32_t params_size;
  uint32_t status;
};
struct rm_alloc64 { /* NVOS64 */
  rm_handle root, parent, object;
  uint32_t class_id;
  uint64_t params;
  uint64_t rights_requested;
  uint32_t params_size;
  uint32_t flags;
  uint32_t status;
};
struct rm_control { /* NVOS54 */
  rm_handle client, object;
  uint32_t command;
  uint32_t flags;
  uint64_t params;
  uint32_t params_size;
  uint32_t status;
};
struct rm_dup { /* NVOS55 */
  rm_handle client, parent, object, client_source, object_source;
  uint32_t flags;
  uint32_t status;
};
struct rm_transfer { /* nv_ioctl_xfer_t: any other escape, passed by pointer */
  uint32_t command;  /* the escape's number */
  uint32_t size;
  uint64_t pointer;
};
_Static_assert(sizeof(struct rm_free) == 16, "layout");
_Static_assert(sizeof(struct rm_alloc21) == 32, "layout");
_Static_assert(sizeof(struct rm_alloc64) == 48, "layout");
_Static_assert(sizeof(struct rm_control) == 32, "layout");
_Static_assert(sizeof(struct rm_dup) == 28, "layout");
_Static_assert(sizeof(struct rm_transfer) == 16, "layout");

#define RM_ESCAPE 'F'
enum rm_escape { RM_FREE = 0x29, RM_CONTROL = 0x2a, RM_ALLOC = 0x2b, RM_DUP = 0x34, RM_TRANSFER = 211 };

#define RM_IOCTL_FREE _IOWR(RM_ESCAPE, RM_FREE, struct rm_free)
#define RM_IOCTL_ALLOC21 _IOWR(RM_ESCAPE, RM_ALLOC, struct rm_alloc21)
#define RM_IOCTL_ALLOC64 _IOWR(RM_ESCAPE, RM_ALLOC, struct rm_alloc64)
#define RM_IOCTL_CONTROL _IOWR(RM_ESCAPE, RM_CONTROL, struct rm_control)
#define RM_IOCTL_DUP _IOWR(RM_ESCAPE, RM_DUP, struct rm_dup)
#define RM_IOCTL_TRANSFER _IOWR(RM_ESCAPE, RM_TRANSFER, struct rm_transfer)

/* ---- classes (cl0000.h, cl0080.h, cl2080.h, cla06c.h, cl906f.h and later) ---- */
#define RM_CLASS_ROOT 0x0000u
#define RM_CLASS_ROOT_NON_PRIVILEGED 0x0001u
#define RM_CLASS_ROOT_CLIENT 0x0041u
#define RM_CLASS_DEVICE 0x0080u
#define RM_CLASS_SUBDEVICE 0x2080u
#define RM_CLASS_CHANNEL_GROUP 0xa06cu

static inline bool rm_is_root(uint32_t class_id) {
  return class_id == RM_CLASS_ROOT || class_id == RM_CLASS_ROOT_NON_PRIVILEGED ||
         class_id == RM_CLASS_ROOT_CLIENT;
}
/* GPFIFO channels of every generation since Fermi: 0x906f, ... 0xc56f Ampere, 0xc86f Hopper, 0xca6f. */
static inline bool rm_is_channel(uint32_t class_id) {
  return (class_id & 0xff) == 0x6f && class_id >= 0x906f && class_id <= 0xffff;
}

/* ---- controls ---- */
#define RM_CONTROL_DISABLE_CHANNELS 0x2080110bu /* on a subdevice; ctrl2080fifo.h */
#define RM_CHANNELS_MAX 64u                     /* of one such call */
struct rm_disable_channels {
  uint8_t disable;
  uint32_t channel_count;
  uint8_t only_disable_scheduling; /* 0: also preempted off the hardware, synchronously */
  uint8_t rewind_gp_put;
  uint64_t runlist_preempt_event; /* kernel clients only */
  rm_handle clients[RM_CHANNELS_MAX];
  rm_handle channels[RM_CHANNELS_MAX];
};
_Static_assert(sizeof(struct rm_disable_channels) == 536, "layout");

#define RM_CONTROL_GROUP_SCHEDULE 0xa06c0101u   /* on a channel group; ctrla06c.h */
#define RM_CONTROL_CHANNEL_SCHEDULE 0xa06f0103u /* on a channel; ctrla06fgpfifo.h */
struct rm_schedule {
  uint8_t enable;
  uint8_t skip_submit;
  uint8_t skip_enable; /* newer drivers; RM checks the size, so both are tried */
};
#define RM_SCHEDULE_SIZE_OLD 2u

/* ---- statuses (nvstatuscodes.h) ---- */
#define RM_OK 0x00u
#define RM_ERR_INSUFFICIENT_PERMISSIONS 0x1bu
#define RM_ERR_INVALID_ARGUMENT 0x1fu
#define RM_ERR_INVALID_CHANNEL 0x21u
#define RM_ERR_INVALID_CLIENT 0x23u
#define RM_ERR_INVALID_COMMAND 0x24u
#define RM_ERR_INVALID_OBJECT 0x31u
#define RM_ERR_INVALID_OBJECT_HANDLE 0x33u
#define RM_ERR_INVALID_PARAM_STRUCT 0x3au
#define RM_ERR_NOT_SUPPORTED 0x56u
#define RM_ERR_OBJECT_NOT_FOUND 0x57u
#define RM_ERR_TIMEOUT 0x65u
#define RM_ERR_PRIV_SEC_VIOLATION 0x6bu
#define RM_ERR_FEATURE_NOT_ENABLED 0x6du

#endif
