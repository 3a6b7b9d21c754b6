/* interposed.h - the one list of what the shim interposes in libcuda: every call that submits work.
 *
 * X(name, variant, arity, stream): `name` and `name##variant` (the same with the per-thread default stream)
 * take `arity` arguments, of which number `stream` (from 0) is the stream; NO_STREAM: the default one. All
 * arguments are integers or pointers, so wrappers pass them on as machine words: on x86-64 and aarch64 such
 * an argument takes one register or one 8-byte slot of the stack whatever its own width. Names are those of
 * the exported symbols in cuda.h of CUDA 13.0; older releases have a part of them.
 */
#ifndef VALVE_PRELOAD_INTERPOSED_H
#define VALVE_PRELOAD_INTERPOSED_H

#define NO_STREAM (-1)
#define STREAM_IN_CONFIG (-2) /* CUlaunchConfig.hStream of argument 0 */

#define INTERPOSED(X)                                          \
  X(cuLaunchKernel, _ptsz, 11, 8)                              \
  X(cuLaunchKernelEx, _ptsz, 4, STREAM_IN_CONFIG)              \
  X(cuLaunchCooperativeKernel, _ptsz, 10, 8)                   \
  X(cuLaunchCooperativeKernelMultiDevice, _ptsz, 3, NO_STREAM) \
  X(cuLaunch, _ptsz, 1, NO_STREAM)                             \
  X(cuLaunchGrid, _ptsz, 3, NO_STREAM)                         \
  X(cuLaunchGridAsync, _ptsz, 4, 3)                            \
  X(cuLaunchHostFunc, _ptsz, 3, 0)                             \
  X(cuGraphLaunch, _ptsz, 2, 1)                                \
  X(cuMemcpy, _ptds, 3, NO_STREAM)                             \
  X(cuMemcpyPeer, _ptds, 5, NO_STREAM)                         \
  X(cuMemcpyHtoD_v2, _ptds, 3, NO_STREAM)                      \
  X(cuMemcpyDtoH_v2, _ptds, 3, NO_STREAM)                      \
  X(cuMemcpyDtoD_v2, _ptds, 3, NO_STREAM)                      \
  X(cuMemcpyDtoA_v2, _ptds, 4, NO_STREAM)                      \
  X(cuMemcpyAtoD_v2, _ptds, 4, NO_STREAM)                      \
  X(cuMemcpyHtoA_v2, _ptds, 4, NO_STREAM)                      \
  X(cuMemcpyAtoH_v2, _ptds, 4, NO_STREAM)                      \
  X(cuMemcpyAtoA_v2, _ptds, 5, NO_STREAM)                      \
  X(cuMemcpy2D_v2, _ptds, 1, NO_STREAM)                        \
  X(cuMemcpy2DUnaligned_v2, _ptds, 1, NO_STREAM)               \
  X(cuMemcpy3D_v2, _ptds, 1, NO_STREAM)                        \
  X(cuMemcpy3DPeer, _ptds, 1, NO_STREAM)                       \
  X(cuMemcpyAsync, _ptsz, 4, 3)                                \
  X(cuMemcpyPeerAsync, _ptsz, 6, 5)                            \
  X(cuMemcpyHtoDAsync_v2, _ptsz, 4, 3)                         \
  X(cuMemcpyDtoHAsync_v2, _ptsz, 4, 3)                         \
  X(cuMemcpyDtoDAsync_v2, _ptsz, 4, 3)                         \
  X(cuMemcpyHtoAAsync_v2, _ptsz, 5, 4)                         \
  X(cuMemcpyAtoHAsync_v2, _ptsz, 5, 4)                         \
  X(cuMemcpy2DAsync_v2, _ptsz, 2, 1)                           \
  X(cuMemcpy3DAsync_v2, _ptsz, 2, 1)                           \
  X(cuMemcpy3DPeerAsync, _ptsz, 2, 1)                          \
  X(cuMemcpyBatchAsync, _ptsz, 9, 8)                           \
  X(cuMemcpyBatchAsync_v2, _ptsz, 8, 7)                        \
  X(cuMemcpy3DBatchAsync, _ptsz, 5, 4)                         \
  X(cuMemcpy3DBatchAsync_v2, _ptsz, 4, 3)                      \
  X(cuMemsetD8_v2, _ptds, 3, NO_STREAM)                        \
  X(cuMemsetD16_v2, _ptds, 3, NO_STREAM)                       \
  X(cuMemsetD32_v2, _ptds, 3, NO_STREAM)                       \
  X(cuMemsetD2D8_v2, _ptds, 5, NO_STREAM)                      \
  X(cuMemsetD2D16_v2, _ptds, 5, NO_STREAM)                     \
  X(cuMemsetD2D32_v2, _ptds, 5, NO_STREAM)                     \
  X(cuMemsetD8Async, _ptsz, 4, 3)                              \
  X(cuMemsetD16Async, _ptsz, 4, 3)                             \
  X(cuMemsetD32Async, _ptsz, 4, 3)                             \
  X(cuMemsetD2D8Async, _ptsz, 6, 5)                            \
  X(cuMemsetD2D16Async, _ptsz, 6, 5)                           \
  X(cuMemsetD2D32Async, _ptsz, 6, 5)

#define INTERPOSED_NUMBER(name, variant, arity, stream) CALL_##name, CALL_##name##variant,
enum interposed_call { INTERPOSED(INTERPOSED_NUMBER) INTERPOSED_COUNT };

/* Of a call, as exported: "cuLaunchKernel_ptsz". */
extern const char *const interposed_names[INTERPOSED_COUNT];

#endif
