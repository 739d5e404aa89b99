/// \file openmp_calls.h
/// \brief oneDNN's parallel regions on byoc's threads (byoc/threads.h) in place of libgomp's.
///
///   libdnnl.so   GOMP_parallel_start ──┐                ┌── libgomp.so     (as it was linked)
///                omp_get_thread_num  ──┤ global offset  │
///                …                     │ table (GOT)  ──┴▶ this library ──▶ byoc::threads
///
/// oneDNN as pip has it is compiled for libgomp, which lets every region wait until all of its
/// threads have got a core. The functions it calls are few; the table through which it calls them
/// is rewritten once, before the first primitive is made. Whatever else uses libgomp in the process
/// keeps it.
#ifndef BYOC_DNNL_OPENMP_CALLS_H_
#define BYOC_DNNL_OPENMP_CALLS_H_

namespace byoc::onednn {

/// Make oneDNN use byoc's threads. Any thread, any number of times.
///
/// Throws ProgramError when oneDNN calls a function of OpenMP that is not served here: another
/// build of it than the one byoc is made for.
void ServeOpenMp();

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPENMP_CALLS_H_
