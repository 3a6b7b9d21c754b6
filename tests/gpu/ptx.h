/* ptx.h - the text of the kernels. .version 6.4 and sm_70: what any driver since CUDA 10.1 compiles.
 *
 * beat holds 32 KiB of shared memory a block and keeps registers busy, so that there is state to save when it
 * is preempted; a beat's value tells launch, round and block, so any two writes differ.
 */
#ifndef GPU_KIT_PTX_H
#define GPU_KIT_PTX_H

#define PTX_HEAD ".version 6.4\n.target sm_70\n.address_size 64\n"

#define PTX_FMA "  fma.rn.f32 %f2, %f2, 0f3F7FFFFE, 0f3F000000;\n"

/* Thread 0 writes the beat and reads the host's stop flag; the whole block learns it. */
#define PTX_BEAT_AND_STOP                    \
  "  @!%p1 bra TOLD;\n"                      \
  "  shl.b64 %rd5, %rd4, 16;\n"              \
  "  add.u64 %rd5, %rd5, %rd6;\n"            \
  "  st.volatile.global.u64 [%rd1], %rd5;\n" \
  "  ld.volatile.global.u32 %r6, [%rd2];\n"  \
  "  st.shared.u32 [ended], %r6;\n"          \
  "TOLD:\n"                                  \
  "  bar.sync 0;\n"                          \
  "  ld.shared.u32 %r7, [ended];\n"          \
  "  bar.sync 0;\n"                          \
  "  add.u64 %rd4, %rd4, 1;\n"               \
  "  setp.eq.u32 %p4, %r7, 0;\n"

#define PTX_BEAT                                                                         \
  ".visible .entry beat(.param .u64 beat_p, .param .u64 stop_p, .param .u64 rounds_p,\n" \
  "                     .param .u64 salt_p)\n{\n"                                        \
  "  .shared .align 8 .b8 held[32768];\n  .shared .align 4 .u32 ended;\n"                \
  "  .reg .pred %p<6>;\n  .reg .b32 %r<10>;\n  .reg .b64 %rd<10>;\n  .reg .f32 %f<4>;\n" \
  "  ld.param.u64 %rd1, [beat_p];\n  ld.param.u64 %rd2, [stop_p];\n"                     \
  "  ld.param.u64 %rd3, [rounds_p];\n  ld.param.u64 %rd6, [salt_p];\n"                   \
  "  mov.u32 %r1, %tid.x;\n  mov.u32 %r2, %ctaid.x;\n"                                   \
  "  cvt.u64.u32 %rd7, %r2;\n  add.u64 %rd6, %rd6, %rd7;\n"                              \
  "  mov.u64 %rd4, 0;\n  setp.eq.u32 %p1, %r1, 0;\n"                                     \
  "  cvt.rn.f32.u32 %f2, %r1;\n  mov.u32 %r3, held;\n"                                   \
  "  shl.b32 %r4, %r1, 2;\n  add.u32 %r3, %r3, %r4;\n  st.shared.f32 [%r3], %f2;\n"      \
  "ROUND:\n"                                                                             \
  "  setp.ge.u64 %p2, %rd4, %rd3;\n  @%p2 bra DONE;\n"                                   \
  "  ld.volatile.shared.f32 %f2, [%r3];\n  mov.u32 %r5, 0;\n"                            \
  "WORK:\n" PTX_FMA PTX_FMA PTX_FMA PTX_FMA PTX_FMA PTX_FMA PTX_FMA PTX_FMA              \
  "  add.u32 %r5, %r5, 8;\n  setp.lt.u32 %p3, %r5, 2000;\n  @%p3 bra WORK;\n"            \
  "  st.volatile.shared.f32 [%r3], %f2;\n" PTX_BEAT_AND_STOP "  @%p4 bra ROUND;\nDONE:\n  ret;\n}\n"

#define PTX_WALK                                                                          \
  ".visible .entry walk(.param .u64 beat_p, .param .u64 stop_p, .param .u64 range_p,\n"   \
  "                     .param .u64 words_p)\n{\n"                                        \
  "  .shared .align 4 .u32 ended;\n"                                                      \
  "  .reg .pred %p<6>;\n  .reg .b32 %r<10>;\n  .reg .b64 %rd<14>;\n"                      \
  "  ld.param.u64 %rd1, [beat_p];\n  ld.param.u64 %rd2, [stop_p];\n"                      \
  "  ld.param.u64 %rd3, [range_p];\n  ld.param.u64 %rd8, [words_p];\n"                    \
  "  mov.u32 %r1, %tid.x;\n  mov.u32 %r2, %ctaid.x;\n  mov.u32 %r3, %ntid.x;\n"           \
  "  mov.u32 %r4, %nctaid.x;\n  cvt.u64.u32 %rd6, %r2;\n  mov.u64 %rd4, 1;\n"             \
  "  setp.eq.u32 %p1, %r1, 0;\n"                                                          \
  "PASS:\n"                                                                               \
  "  mad.lo.u32 %r5, %r2, %r3, %r1;\n  cvt.u64.u32 %rd9, %r5;\n"                          \
  "  mul.lo.u32 %r5, %r3, %r4;\n  cvt.u64.u32 %rd10, %r5;\n"                              \
  "WORD:\n"                                                                               \
  "  setp.ge.u64 %p2, %rd9, %rd8;\n  @%p2 bra TELL;\n"                                    \
  "  shl.b64 %rd11, %rd9, 3;\n  add.u64 %rd11, %rd11, %rd3;\n"                            \
  "  ld.volatile.global.u64 %rd12, [%rd11];\n  add.u64 %rd12, %rd12, 1;\n"                \
  "  st.volatile.global.u64 [%rd11], %rd12;\n  add.u64 %rd9, %rd9, %rd10;\n  bra WORD;\n" \
  "TELL:\n" PTX_BEAT_AND_STOP "  @%p4 bra PASS;\n  ret;\n}\n"

#define PTX_STEP(a, b)                                                  \
  "  ld.shared.f32 %f3, [%r10+" #a "];\n  ld.shared.f32 %f4, [%r11+" #b \
  "];\n"                                                                \
  "  fma.rn.f32 %f5, %f3, %f4, %f5;\n"

#define PTX_MULTIPLY \
  ".visible .entry multiply(.param .u64 a_p, .param .u64 b_p, .param .u64 c_p,\n"              \
  "                         .param .u32 size_p)\n{\n"                                          \
  "  .shared .align 4 .b8 tile_a[1024];\n  .shared .align 4 .b8 tile_b[1024];\n"               \
  "  .reg .pred %p<2>;\n  .reg .b32 %r<16>;\n  .reg .b64 %rd<12>;\n  .reg .f32 %f<8>;\n"       \
  "  ld.param.u64 %rd1, [a_p];\n  ld.param.u64 %rd2, [b_p];\n  ld.param.u64 %rd3, [c_p];\n"    \
  "  ld.param.u32 %r1, [size_p];\n"                                                            \
  "  mov.u32 %r2, %tid.x;\n  mov.u32 %r3, %tid.y;\n  mov.u32 %r4, %ctaid.x;\n"                 \
  "  mov.u32 %r5, %ctaid.y;\n"                                                                 \
  "  mad.lo.u32 %r6, %r5, 16, %r3;\n  mad.lo.u32 %r7, %r4, 16, %r2;\n"                         \
  "  mad.lo.u32 %r8, %r6, %r1, %r2;\n  mul.wide.u32 %rd4, %r8, 4;\n"                           \
  "  add.u64 %rd1, %rd1, %rd4;\n"                                                              \
  "  mad.lo.u32 %r8, %r3, %r1, %r7;\n  mul.wide.u32 %rd4, %r8, 4;\n"                           \
  "  add.u64 %rd2, %rd2, %rd4;\n"                                                              \
  "  mad.lo.u32 %r8, %r6, %r1, %r7;\n  mul.wide.u32 %rd4, %r8, 4;\n"                           \
  "  add.u64 %rd3, %rd3, %rd4;\n"                                                              \
  "  mul.wide.u32 %rd5, %r1, 64;\n"                                                            \
  "  mov.u32 %r10, tile_a;\n  mov.u32 %r11, tile_b;\n"                                         \
  "  mad.lo.u32 %r8, %r3, 16, %r2;\n  shl.b32 %r8, %r8, 2;\n"                                  \
  "  add.u32 %r12, %r10, %r8;\n  add.u32 %r13, %r11, %r8;\n"                                   \
  "  shl.b32 %r8, %r3, 6;\n  add.u32 %r10, %r10, %r8;\n"                                       \
  "  shl.b32 %r8, %r2, 2;\n  add.u32 %r11, %r11, %r8;\n"                                       \
  "  mov.f32 %f5, 0f00000000;\n  mov.u32 %r9, 0;\n"                                            \
  "TILE:\n"                                                                                    \
  "  ld.global.f32 %f1, [%rd1];\n  ld.global.f32 %f2, [%rd2];\n"                               \
  "  st.shared.f32 [%r12], %f1;\n  st.shared.f32 [%r13], %f2;\n  bar.sync 0;\n"                \
  PTX_STEP(0, 0) PTX_STEP(4, 64) PTX_STEP(8, 128) PTX_STEP(12, 192)                            \
  PTX_STEP(16, 256) PTX_STEP(20, 320) PTX_STEP(24, 384) PTX_STEP(28, 448)                      \
  PTX_STEP(32, 512) PTX_STEP(36, 576) PTX_STEP(40, 640) PTX_STEP(44, 704)                      \
  PTX_STEP(48, 768) PTX_STEP(52, 832) PTX_STEP(56, 896) PTX_STEP(60, 960)                      \
  "  bar.sync 0;\n  add.u64 %rd1, %rd1, 64;\n  add.u64 %rd2, %rd2, %rd5;\n"                    \
  "  add.u32 %r9, %r9, 16;\n  setp.lt.u32 %p1, %r9, %r1;\n  @%p1 bra TILE;\n"                  \
  "  st.global.f32 [%rd3], %f5;\n  ret;\n}\n"

#define PTX_ACTIVATE                                                                \
  ".visible .entry activate(.param .u64 x_p)\n{\n"                                  \
  "  .reg .b32 %r<6>;\n  .reg .b64 %rd<4>;\n  .reg .f32 %f<6>;\n"                   \
  "  ld.param.u64 %rd1, [x_p];\n  mov.u32 %r1, %tid.x;\n  mov.u32 %r2, %ctaid.x;\n" \
  "  mov.u32 %r3, %ntid.x;\n  mad.lo.u32 %r4, %r2, %r3, %r1;\n"                     \
  "  mul.wide.u32 %rd2, %r4, 4;\n  add.u64 %rd1, %rd1, %rd2;\n"                     \
  "  ld.global.f32 %f1, [%rd1];\n  mul.f32 %f2, %f1, 0fBFB8AA3B;\n"                 \
  "  ex2.approx.f32 %f2, %f2;\n  add.f32 %f2, %f2, 0f3F800000;\n"                   \
  "  div.rn.f32 %f3, %f1, %f2;\n  st.global.f32 [%rd1], %f3;\n  ret;\n}\n"

/* One block of 256 threads a row; the sums are added in a fixed order. */
#define PTX_NORMALISE                                                                         \
  ".visible .entry normalise(.param .u64 x_p, .param .u64 r_p, .param .u32 size_p)\n{\n"      \
  "  .shared .align 4 .b8 sums[1024];\n"                                                      \
  "  .reg .pred %p<6>;\n  .reg .b32 %r<12>;\n  .reg .b64 %rd<8>;\n  .reg .f32 %f<8>;\n"       \
  "  ld.param.u64 %rd1, [x_p];\n  ld.param.u64 %rd2, [r_p];\n  ld.param.u32 %r1, [size_p];\n" \
  "  mov.u32 %r2, %tid.x;\n  mov.u32 %r3, %ctaid.x;\n  mul.lo.u32 %r4, %r3, %r1;\n"           \
  "  mul.wide.u32 %rd3, %r4, 4;\n  add.u64 %rd1, %rd1, %rd3;\n  add.u64 %rd2, %rd2, %rd3;\n"  \
  "  mov.f32 %f1, 0f00000000;\n  mov.u32 %r5, %r2;\n"                                         \
  "SUM:\n  setp.ge.u32 %p1, %r5, %r1;\n  @%p1 bra SUMMED;\n"                                  \
  "  mul.wide.u32 %rd3, %r5, 4;\n  add.u64 %rd4, %rd1, %rd3;\n  add.u64 %rd5, %rd2, %rd3;\n"  \
  "  ld.global.f32 %f2, [%rd4];\n  ld.global.f32 %f3, [%rd5];\n  add.f32 %f2, %f2, %f3;\n"    \
  "  st.global.f32 [%rd4], %f2;\n  fma.rn.f32 %f1, %f2, %f2, %f1;\n"                          \
  "  add.u32 %r5, %r5, 256;\n  bra SUM;\n"                                                    \
  "SUMMED:\n  mov.u32 %r6, sums;\n  shl.b32 %r7, %r2, 2;\n  add.u32 %r8, %r6, %r7;\n"         \
  "  st.shared.f32 [%r8], %f1;\n  mov.u32 %r9, 128;\n"                                        \
  "FOLD:\n  bar.sync 0;\n  setp.ge.u32 %p2, %r2, %r9;\n  @%p2 bra FOLDED;\n"                  \
  "  shl.b32 %r10, %r9, 2;\n  add.u32 %r10, %r10, %r8;\n  ld.shared.f32 %f2, [%r10];\n"       \
  "  ld.shared.f32 %f3, [%r8];\n  add.f32 %f2, %f2, %f3;\n  st.shared.f32 [%r8], %f2;\n"      \
  "FOLDED:\n  shr.u32 %r9, %r9, 1;\n  setp.ne.u32 %p3, %r9, 0;\n  @%p3 bra FOLD;\n"           \
  "  bar.sync 0;\n  ld.shared.f32 %f1, [%r6];\n  cvt.rn.f32.u32 %f2, %r1;\n"                  \
  "  div.rn.f32 %f1, %f1, %f2;\n  add.f32 %f1, %f1, 0f358637BD;\n  sqrt.rn.f32 %f1, %f1;\n"   \
  "  mov.u32 %r5, %r2;\n"                                                                     \
  "SCALE:\n  setp.ge.u32 %p4, %r5, %r1;\n  @%p4 bra DONE;\n"                                  \
  "  mul.wide.u32 %rd3, %r5, 4;\n  add.u64 %rd4, %rd1, %rd3;\n  ld.global.f32 %f2, [%rd4];\n" \
  "  div.rn.f32 %f2, %f2, %f1;\n  st.global.f32 [%rd4], %f2;\n"                               \
  "  add.u32 %r5, %r5, 256;\n  bra SCALE;\nDONE:\n  ret;\n}\n"

#define PTX PTX_HEAD PTX_BEAT PTX_WALK PTX_MULTIPLY PTX_ACTIVATE PTX_NORMALISE

#endif
