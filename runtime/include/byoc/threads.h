/// \file
/// The threads that compute on the CPU: TVM's kernels and `dnnl` share them, other vendors may.
///
///   Parallel(body, data, 3)        calling thread    worker 1       worker 2
///                                  body, id 0        body, id 1     (another program has its core)
///                                  body, id 2   ◀──  nobody had begun it yet
///
/// A parallel region has ids 0 to n−1, as in OpenMP, but not a thread of its own for each: whoever
/// is on a core takes the next id that nobody has begun, the calling thread as well once it is done
/// with id 0. So a region waits for a thread only while that thread works, never for one that has
/// yet to get a core. (libgomp waits for all of them: beside four busy processes on two cores small
/// networks took 2 to 20 times as long, where engines that hand out work kept their speed.)
///
/// Each thread that opens regions has workers of its own, made when first needed and ended with
/// it. Idle workers spin for a while and then sleep; where spinning meets other programs that want
/// the cores, they sleep almost at once for some time. OMP_WAIT_POLICY decides instead when set.
///
/// Link with `byoc_threads`. Nothing here throws; bodies must not either.
#ifndef BYOC_THREADS_H_
#define BYOC_THREADS_H_

#define BYOC_THREADS_API __attribute__((visibility("default")))

namespace byoc {
namespace threads {

/// The work of a region: called once for every id; asks `Id` and `Count` which one it is.
using Body = void (*)(void* data);

/// Returns how many ids regions of the calling thread have unless they ask for another number: what
/// `SetMax` said, else OMP_NUM_THREADS, else the number of cores this process may use: those it may
/// run on, no more than the CPU quota of its control group.
BYOC_THREADS_API int Max();

/// Sets what `Max` returns in the calling thread; at least 1.
BYOC_THREADS_API void SetMax(int count);

/// Makes workers until regions of the calling thread can have `count` threads at the same time.
///
/// \return How many threads there are, with the calling one: fewer when the system gives no more.
///     Only regions in which ids wait for each other (`Barrier`) need them all.
BYOC_THREADS_API int Reserve(int count);

/// Runs `body` for ids 0 to `count` − 1 (0: `Max()` ids), and returns when all are done. Inside of
/// a region another one has a single id.
BYOC_THREADS_API void Parallel(Body body, void* data, int count = 0);

/// Opens a region whose id 0 the caller runs itself before it calls `End`: the two halves of
/// `Parallel`, which compilers generate calls of.
BYOC_THREADS_API void Begin(Body body, void* data, int count);

/// Closes what `Begin` opened: runs ids that nobody has begun, waits for the others.
BYOC_THREADS_API void End();

/// Waits until every id of the region has come here.
BYOC_THREADS_API void Barrier();

/// Returns the calling thread's id in the innermost region, 0 outside of any.
BYOC_THREADS_API int Id();

/// Returns the number of ids of the innermost region, 1 outside of any.
BYOC_THREADS_API int Count();

/// Whether the calling thread is in a region of more than one id.
BYOC_THREADS_API bool InParallel();

/// Whether the calling thread, or a worker of its regions, has met an invalid floating-point
/// operation (FE_INVALID, see fenv.h) since this was last called; the mark is cleared.
BYOC_THREADS_API bool TakeInvalid();

}  // namespace threads
}  // namespace byoc

#endif  // BYOC_THREADS_H_
