/*!
 * \brief One pool for everything: TVM's parallel kernels on the OpenMP threads oneDNN uses.
 *
 * Compiled kernels reach their thread pool through context symbols, pointers that tvm-ffi writes
 * into a library when it is loaded. `Install` makes them point here, so kernels need no
 * libtvm_runtime and never start a second pool beside libgomp's.
 */
#ifndef BYOC_RUNTIME_THREAD_POOL_H_
#define BYOC_RUNTIME_THREAD_POOL_H_

namespace byoc {
namespace thread_pool {

/*!
 * \brief Serve libraries loaded from now on. Call before every load: TVM's own runtime claims the
 * same symbols whenever it is loaded, and the last one wins.
 */
void Install();

/*!
 * \brief Threads used by parallel work: what `SetNumThreads` said, else BYOC_NUM_THREADS, else
 * OMP_NUM_THREADS, else the cores this process may run on. Throws ValueError on a bad value.
 */
int NumThreads();

/*! \brief Set the number of threads for work that starts after this. Throws ValueError. */
void SetNumThreads(int count);

/*! \brief Give the calling processor thread its OpenMP width: all threads for "cpu", else one. */
void ApplyToThisThread(bool is_cpu);

}  // namespace thread_pool
}  // namespace byoc

#endif  // BYOC_RUNTIME_THREAD_POOL_H_
