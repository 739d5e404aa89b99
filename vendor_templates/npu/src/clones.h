/*!
 * \file clones.h
 * \brief BYOC_NPU_CLONES: compile a function once per kind of CPU and pick at load time.
 *
 * Not under a sanitizer: the resolver would run before the sanitizer's own start.
 */
#ifndef BYOC_NPU_CLONES_H_
#define BYOC_NPU_CLONES_H_

#if defined(__x86_64__) && defined(__GNUC__)
#define BYOC_NPU_X86 1
#endif

#if defined(BYOC_NPU_X86) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define BYOC_NPU_CLONES \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define BYOC_NPU_CLONES
#endif

#endif  // BYOC_NPU_CLONES_H_
